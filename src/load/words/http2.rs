//! HTTP/2 as far as a unary gRPC call needs it: requests out, frames in.
//!
//! Header fields are sent literally, so that there is no table to keep; those that come are not looked at. Both sides'
//! windows are opened as far as they go when the connection begins, and what is in flight here is far below that.

use bytes::BytesMut;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;

/// Flags: the sender has said all on this stream, or this answers settings or a ping; all header fields are there; there is
/// padding; there is a priority.
const END: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;

const HEADER_LEN: usize = 9;

/// One frame, as far as it matters.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame<'a> {
    /// A part of an answer.
    Data {
        /// Of which request.
        stream: u32,
        /// The part.
        bytes: &'a [u8],
        /// Is it the last frame of this stream?
        ends: bool,
    },
    /// Header fields.
    Headers {
        /// Of which request.
        stream: u32,
        /// Is it the last frame of this stream?
        ends: bool,
    },
    /// Something that has to be answered, with its answer.
    Owes(Vec<u8>),
    /// The connection, or a request, is over before its time.
    Ends(&'static str),
    /// Something else.
    Other,
}

/// What a connection begins with.
pub(super) fn preface(out: &mut BytesMut) {
    const WINDOW: u32 = i32::MAX.cast_unsigned();
    const WINDOW_AT_FIRST: u32 = 65_535;
    out.extend_from_slice(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    let initial_window = [&4_u16.to_be_bytes()[..], &WINDOW.to_be_bytes()].concat();
    put(SETTINGS, 0, 0, &initial_window, out);
    put(WINDOW_UPDATE, 0, 0, &(WINDOW - WINDOW_AT_FIRST).to_be_bytes(), out);
}

/// A call and all that it says.
pub(super) fn request(stream: u32, authority: &str, path: &str, body: &[u8], out: &mut BytesMut) {
    // By the static table of HPACK: POST is 3, http is 6, :path 4, :authority 1, content-type 31.
    let mut fields = vec![0x83, 0x86, 0x04];
    literal(path, &mut fields);
    fields.push(0x01);
    literal(authority, &mut fields);
    fields.extend_from_slice(&[0x0F, 31 - 15]);
    literal("application/grpc", &mut fields);
    fields.push(0x00);
    literal("te", &mut fields);
    literal("trailers", &mut fields);
    put(HEADERS, END_HEADERS, stream, &fields, out);
    put(DATA, END, stream, body, out);
}

/// A text shorter than 127 bytes, as it is.
fn literal(text: &str, out: &mut Vec<u8>) {
    let text = &text.as_bytes()[..text.len().min(126)];
    out.push(u8::try_from(text.len()).unwrap_or(0));
    out.extend_from_slice(text);
}

fn put(kind: u8, flags: u8, stream: u32, payload: &[u8], out: &mut BytesMut) {
    let [_, len @ ..] = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    out.extend_from_slice(&len);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// The frame at the front and its length, if it is all there.
pub(super) fn frame(bytes: &[u8]) -> Option<(Frame<'_>, usize)> {
    let [a, b, c, kind, flags, rest @ ..] = *bytes.first_chunk::<HEADER_LEN>()?;
    let len = HEADER_LEN + usize::try_from(u32::from_be_bytes([0, a, b, c])).ok()?;
    let payload = bytes.get(HEADER_LEN..len)?;
    let stream = u32::from_be_bytes(rest) & (u32::MAX >> 1);
    let ends = flags & END != 0;
    let frame = match kind {
        DATA => Frame::Data { stream, bytes: unpadded(payload, flags), ends },
        HEADERS => Frame::Headers { stream, ends },
        SETTINGS | PING if !ends => {
            let mut answer = BytesMut::new();
            put(kind, END, 0, if kind == PING { payload } else { &[] }, &mut answer);
            Frame::Owes(answer.to_vec())
        }
        RST_STREAM => Frame::Ends("a request that was broken off"),
        GOAWAY => Frame::Ends("that the connection is over"),
        _ => Frame::Other,
    };
    Some((frame, len))
}

fn unpadded(payload: &[u8], flags: u8) -> &[u8] {
    if flags & PADDED == 0 {
        return payload;
    }
    let Some((padding, rest)) = payload.split_first() else { return payload };
    rest.get(..rest.len().saturating_sub(usize::from(*padding))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_header_fields_and_a_body() {
        let mut out = BytesMut::new();
        request(5, "h:1", "/p", b"body", &mut out);
        let fields = b"\x83\x86\x04\x02/p\x01\x03h:1\x0F\x10\x10application/grpc\x00\x02te\x08trailers";
        let expected =
            [&[0, 0, 43, 1, 4, 0, 0, 0, 5][..], fields, &[0, 0, 4, 0, 1, 0, 0, 0, 5], b"body"].concat();
        assert_eq!(fields.len(), 43);
        assert_eq!(&out[..], expected);
    }

    #[test]
    fn frames_are_cut_where_they_end_and_not_before() {
        let all: [(&[u8], Frame<'_>); 6] = [
            (&[0, 0, 2, 0, 0, 0, 0, 0, 3, 7, 8], Frame::Data { stream: 3, bytes: &[7, 8], ends: false }),
            (&[0, 0, 4, 0, 9, 0, 0, 0, 3, 2, 7, 0, 0], Frame::Data { stream: 3, bytes: &[7], ends: true }),
            (&[0, 0, 1, 1, 5, 0, 0, 0, 3, 0x88], Frame::Headers { stream: 3, ends: true }),
            (&[0, 0, 0, 4, 0, 0, 0, 0, 0], Frame::Owes(vec![0, 0, 0, 4, 1, 0, 0, 0, 0])),
            (&[0, 0, 0, 4, 1, 0, 0, 0, 0], Frame::Other),
            (&[0, 0, 4, 3, 0, 0, 0, 0, 9, 0, 0, 0, 1], Frame::Ends("a request that was broken off")),
        ];
        for (bytes, wanted) in all {
            for len in 0..bytes.len() {
                assert_eq!(frame(&bytes[..len]), None, "{len} of {bytes:?}");
            }
            let longer = [bytes, &[1, 2, 3]].concat();
            assert_eq!(frame(&longer), Some((wanted, bytes.len())));
        }
    }
}
