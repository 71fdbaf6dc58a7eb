//! Any bytes, as if a peer had sent them: cut into frames, read, and what could be read said again.
//!
//! Nothing may panic. What was read must be read again from what is written of it, and must not have been longer.

use bytes::BytesMut;
use enq_protocol::wire::{
    FRAME_LEN_MAX, Frame, FromClient, FromServer, Kind, Outcome, Request, acknowledge, cut,
};

/// Hands each whole frame to `read` until the bytes, or the connection, end.
fn frames<'a>(mut bytes: &'a [u8], mut read: impl FnMut(&Frame<'a>) -> bool) {
    while let Ok(Some(frame)) = cut(bytes, FRAME_LEN_MAX) {
        assert!(
            frame.len <= bytes.len() && frame.body.len() < frame.len,
            "a frame is of the bytes it was cut from"
        );
        if !read(&frame) {
            return;
        }
        bytes = &bytes[frame.len..];
    }
}

/// Bytes as a server receives them.
pub fn client(bytes: &[u8]) {
    frames(bytes, |frame| {
        let header = frame.header;
        let read = match FromClient::decode(&header, frame.body) {
            Ok(read) => read,
            // Something is always said about it, in words that name the message.
            Err(error) => {
                assert!(error.to_string().starts_with(&error.message.to_string()));
                return false;
            }
        };
        let mut out = BytesMut::new();
        let written = match &read {
            FromClient::Hello(hello) => hello.encode(&mut out),
            FromClient::Ack => acknowledge(Kind::ACK, header.ack, &mut out),
            FromClient::Look { tag, look: Ok(look) } => look.encode(*tag, header.ack, &mut out),
            FromClient::Look { look: Err(error), .. } => {
                assert!(error.offset <= frame.len, "{error}");
                return true;
            }
            FromClient::Request(Request::Refused(status)) => {
                let error = Request::decode(&header, frame.body).expect_err("it was refused");
                assert_eq!((error.status(), error.outcome()), (*status, Outcome::Refuse));
                assert!(error.offset <= frame.len, "{error}");
                return true;
            }
            FromClient::Request(request) => request.encode(header.number, header.ack, &mut out),
        };
        written.expect("what was read fits into a frame");
        assert!(out.len() <= frame.len, "nothing is added");
        let again = cut(&out, FRAME_LEN_MAX).expect("a length").expect("a whole frame");
        assert_eq!(FromClient::decode(&again.header, again.body), Ok(read));
        true
    });
}

/// Bytes as a client receives them.
pub fn server(bytes: &[u8]) {
    frames(bytes, |frame| {
        let header = frame.header;
        let Ok(read) = FromServer::decode(&header, frame.body) else { return false };
        let mut out = BytesMut::new();
        let written = match &read {
            FromServer::Welcome(welcome) => welcome.encode(&mut out),
            FromServer::Acked => acknowledge(Kind::ACKED, header.ack, &mut out),
            FromServer::Seen { tag, seen } => seen.encode(*tag, header.ack, &mut out),
            FromServer::Answer(answer) => answer.encode(header.number, header.ack, &mut out),
            FromServer::Event { place, event } => event.encode(*place, header.number, header.ack, &mut out),
            FromServer::Fatal(fatal) => fatal.encode(&mut out),
            FromServer::Unknown(_) => return true,
        };
        written.expect("what was read fits into a frame");
        assert!(out.len() <= frame.len, "nothing is added");
        let again = cut(&out, FRAME_LEN_MAX).expect("a length").expect("a whole frame");
        assert_eq!(FromServer::decode(&again.header, again.body), Ok(read));
        true
    });
}
