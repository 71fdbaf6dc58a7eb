//! Any message with its header's numbers: one type, so that tests can write, read and compare them all alike.

use bytes::BytesMut;
use enq_protocol::vocabulary::Place;
use enq_protocol::wire::{
    Answer, Event, FRAME_LEN_MAX, Fatal, Frame, FromClient, FromServer, Hello, Kind, Look, Request, Seen,
    Welcome, acknowledge, cut,
};

/// A message and the numbers it travels with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said<'a> {
    Hello(Hello),
    Ack { kind: Kind, ack: u64 },
    Look { tag: u32, ack: u64, look: Look },
    Request { number: u64, ack: u64, request: Request<'a> },
    Welcome(Welcome),
    Seen { tag: u32, ack: u64, seen: Seen },
    Answer { number: u64, ack: u64, answer: Answer },
    Event { number: u64, ack: u64, place: Place, event: Event },
    Fatal(Fatal),
}

impl<'a> Said<'a> {
    /// The message as one frame, or nothing if it cannot be sent.
    pub(crate) fn bytes(&self) -> Option<Vec<u8>> {
        let mut out = BytesMut::new();
        let encoded = match self {
            Said::Hello(hello) => hello.encode(&mut out),
            Said::Ack { kind, ack } => acknowledge(*kind, *ack, &mut out),
            Said::Look { tag, ack, look } => look.encode(*tag, *ack, &mut out),
            Said::Request { number, ack, request } => request.encode(*number, *ack, &mut out),
            Said::Welcome(welcome) => welcome.encode(&mut out),
            Said::Seen { tag, ack, seen } => seen.encode(*tag, *ack, &mut out),
            Said::Answer { number, ack, answer } => answer.encode(*number, *ack, &mut out),
            Said::Event { number, ack, place, event } => event.encode(*place, *number, *ack, &mut out),
            Said::Fatal(fatal) => fatal.encode(&mut out),
        };
        encoded.ok().map(|()| out.to_vec())
    }

    /// The message of a frame, from whichever side it comes; the status that refuses it otherwise.
    pub(crate) fn read(frame: &Frame<'a>) -> Result<Said<'a>, String> {
        let (number, ack, kind) = (frame.header.number, frame.header.ack, frame.header.kind);
        if kind.is_from_client() {
            return match FromClient::decode(&frame.header, frame.body).map_err(|error| error.to_string())? {
                FromClient::Hello(hello) => Ok(Said::Hello(hello)),
                FromClient::Ack => Ok(Said::Ack { kind, ack }),
                FromClient::Look { tag, look: Ok(look) } => Ok(Said::Look { tag, ack, look: *look }),
                FromClient::Look { look: Err(error), .. } => Err(error.to_string()),
                FromClient::Request(Request::Refused(status)) => Err(status.to_string()),
                FromClient::Request(request) => Ok(Said::Request { number, ack, request }),
            };
        }
        match FromServer::decode(&frame.header, frame.body).map_err(|error| error.to_string())? {
            FromServer::Welcome(welcome) => Ok(Said::Welcome(welcome)),
            FromServer::Acked => Ok(Said::Ack { kind, ack }),
            FromServer::Seen { tag, seen } => Ok(Said::Seen { tag, ack, seen }),
            FromServer::Answer(answer) => Ok(Said::Answer { number, ack, answer }),
            FromServer::Event { place, event } => Ok(Said::Event { number, ack, place, event }),
            FromServer::Fatal(fatal) => Ok(Said::Fatal(fatal)),
            FromServer::Unknown(kind) => Err(format!("unknown kind {kind}")),
        }
    }
}

/// The one frame that these bytes are.
pub(crate) fn frame(bytes: &[u8]) -> Frame<'_> {
    let frame = cut(bytes, FRAME_LEN_MAX).unwrap().unwrap();
    assert_eq!(frame.len, bytes.len(), "one frame and nothing behind it");
    frame
}
