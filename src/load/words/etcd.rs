//! The words of etcd, as its own lock recommends them, on one HTTP/2 connection.
//!
//! A lock is a key under a lease, put in a transaction if it is not there; it is released by deleting it. The few messages
//! are spelled out here as Protocol Buffers, and the frames around them in `http2`: a library would bring its own
//! connection, with its own queue and its own writes, and the peer would not be handed the same batches.

use bytes::{Buf as _, BytesMut};
use enq_protocol::vocabulary::Status;

use super::{
    Heard, Root, Said, Step, Words, Wrong,
    http2::{self, Frame},
};

/// What grants a lease, takes a key, gives it up, says that the lease is still there.
const LEASE_GRANT: &str = "/etcdserverpb.Lease/LeaseGrant";
const TXN: &str = "/etcdserverpb.KV/Txn";
const DELETE: &str = "/etcdserverpb.KV/DeleteRange";

/// How long the lease is, in seconds.
const TTL_S: u64 = 60;

/// What a gRPC message has before it: whether it is compressed, and its length.
const PREFIX_LEN: usize = 5;

/// One connection.
pub struct Etcd {
    root: Root,
    authority: String,
    /// Its lease, once it is granted.
    lease: u64,
    /// The stream of the next request.
    stream: u32,
    /// What the other side is owed: it is said with the next request.
    owed: BytesMut,
    /// Parts of messages whose rest has not come.
    parts: Vec<(u32, BytesMut)>,
}

impl Etcd {
    /// One to this address.
    #[must_use]
    pub fn new(root: Root, authority: &str) -> Etcd {
        let (owed, parts) = (BytesMut::new(), Vec::new());
        Etcd { root, authority: authority.into(), lease: 0, stream: 1, owed, parts }
    }

    fn ask(&mut self, path: &str, message: &[u8], out: &mut BytesMut) {
        out.extend_from_slice(&self.owed);
        self.owed.clear();
        let mut body = Vec::with_capacity(PREFIX_LEN + message.len());
        body.push(0);
        body.extend_from_slice(&u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
        body.extend_from_slice(message);
        http2::request(self.stream, &self.authority, path, &body, out);
        self.stream += 2;
    }

    /// A whole answer: all that is asked here is answered with a number in field 2 that is not 0 if it was done. That of a
    /// lease is its name, and the first of them is the one that locks are under.
    fn answer(&mut self, message: &[u8]) -> Result<Heard, Wrong> {
        let payload = message.get(PREFIX_LEN..).unwrap_or_default();
        let Some(done @ 1..) = field(payload, 2) else {
            // The key is there, or is not: nobody else has a key with such a name.
            return Err(Wrong::Refused("a lock", Status::NotQueued));
        };
        if self.lease == 0 {
            self.lease = done;
        }
        Ok(Heard::Answered)
    }
}

impl Words for Etcd {
    fn greet(&mut self, out: &mut BytesMut) -> Result<usize, Wrong> {
        http2::preface(out);
        self.ask(LEASE_GRANT, &number(1, TTL_S), out);
        Ok(1)
    }

    fn say(&mut self, said: Said, out: &mut BytesMut) -> Result<u32, Wrong> {
        let name = self.root.name(said.name);
        match said.step {
            Step::Prepare => return Ok(0),
            Step::Ask => {
                // The revision in which the key was made is 0: it is not there.
                let absent = [number(2, 1), text(3, &name), number(5, 0)].concat();
                let put = [text(1, &name), text(2, b"held"), number(3, self.lease)].concat();
                let txn = [text(1, &absent), text(2, &text(2, &put))].concat();
                self.ask(TXN, &txn, out);
            }
            Step::GiveUp => self.ask(DELETE, &text(1, &name), out),
        }
        Ok(1)
    }

    fn renew(&mut self, out: &mut BytesMut) -> Result<(), Wrong> {
        // The turns are shorter than the lease; another lease is something to say that has an answer.
        self.ask(LEASE_GRANT, &number(1, TTL_S), out);
        Ok(())
    }

    fn leave(&mut self, _: &mut BytesMut) -> Result<usize, Wrong> {
        Ok(0)
    }

    fn hear(&mut self, input: &mut BytesMut, heard: &mut Vec<Heard>) -> Result<(), Wrong> {
        let mut at = 0;
        while let Some((frame, len)) = http2::frame(&input[at..]) {
            at += len;
            match frame {
                Frame::Data { stream, bytes, ends } => {
                    let known = self.parts.iter().position(|(of, _)| *of == stream);
                    let mut message =
                        known.map_or_else(BytesMut::new, |known| self.parts.swap_remove(known).1);
                    message.extend_from_slice(bytes);
                    if ends {
                        return Err(Wrong::Nonsense("an answer without a word about how it went".into()));
                    }
                    self.parts.push((stream, message));
                }
                // The first says that an answer comes, the last how it went: that there was one tells as much.
                Frame::Headers { stream, ends: true } => {
                    let known = self.parts.iter().position(|(of, _)| *of == stream);
                    let known = known.ok_or_else(|| Wrong::Nonsense("a request that failed".into()))?;
                    let (_, message) = self.parts.swap_remove(known);
                    heard.push(self.answer(&message)?);
                }
                Frame::Headers { ends: false, .. } | Frame::Other => {}
                Frame::Owes(answer) => self.owed.extend_from_slice(&answer),
                Frame::Ends(why) => return Err(Wrong::Nonsense(why.into())),
            }
        }
        input.advance(at);
        Ok(())
    }
}

/// A field of a message: a number.
fn number(field: u8, value: u64) -> Vec<u8> {
    let mut bytes = vec![field << 3];
    put(value, &mut bytes);
    bytes
}

/// A field of a message: bytes, or a message.
fn text(field: u8, value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![field << 3 | 2];
    put(value.len() as u64, &mut bytes);
    bytes.extend_from_slice(value);
    bytes
}

fn put(mut value: u64, bytes: &mut Vec<u8>) {
    while value >= 0x80 {
        bytes.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    bytes.push(value.to_le_bytes()[0]);
}

fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7F) << shift;
        if *byte < 0x80 {
            return Some(value);
        }
    }
    None
}

/// The number in this field of a message, if it has one.
fn field(mut message: &[u8], wanted: u64) -> Option<u64> {
    while !message.is_empty() {
        let key = take(&mut message)?;
        match key & 7 {
            0 => {
                let value = take(&mut message)?;
                if key >> 3 == wanted {
                    return Some(value);
                }
            }
            2 => {
                let len = usize::try_from(take(&mut message)?).ok()?;
                message = message.get(len..)?;
            }
            // There are no others in what is answered here.
            _ => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use enq_protocol::vocabulary::LockMode;

    fn framed(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&len[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    }

    /// An answer as etcd gives it: headers, a message in two parts, trailers.
    fn answered(stream: u32, message: &[u8]) -> Vec<u8> {
        let mut body = vec![0, 0, 0, 0, u8::try_from(message.len()).unwrap()];
        body.extend_from_slice(message);
        let (one, other) = body.split_at(3);
        [
            framed(1, 4, stream, &[0x88]),
            framed(0, 0, stream, one),
            framed(0, 0, stream, other),
            framed(1, 5, stream, &[]),
        ]
        .concat()
    }

    #[test]
    fn messages_are_protocol_buffers() {
        assert_eq!(number(5, 0), [0x28, 0]);
        assert_eq!(number(2, 300), [0x10, 0xAC, 0x02]);
        assert_eq!(text(1, b"ab"), [0x0A, 2, b'a', b'b']);
        let message = [text(1, &[0xFF; 200]), number(2, 1), number(3, 9)].concat();
        assert_eq!((field(&message, 2), field(&message, 3), field(&message, 4)), (Some(1), Some(9), None));
        assert_eq!(field(&message[..150], 2), None, "it is cut off");
    }

    #[test]
    fn answers_may_come_in_any_order_and_in_pieces() {
        let mut etcd = Etcd::new(Root::of_run(1), "there:2379");
        let mut out = BytesMut::new();
        assert_eq!(etcd.greet(&mut out), Ok(1));
        let granted = [text(1, &[8, 1]), number(2, 77)].concat();
        etcd.hear(&mut BytesMut::from(&answered(1, &granted)[..]), &mut Vec::new()).unwrap();
        assert_eq!(etcd.lease, 77);
        let said = Said { step: Step::Ask, slot: 0, name: 7, mode: LockMode::Ex };
        assert_eq!((etcd.say(said, &mut out), etcd.say(said, &mut out)), (Ok(1), Ok(1)));
        let header = text(1, &[8, 1]);
        let done = [header.clone(), number(2, 1)].concat();
        let all = [framed(4, 0, 0, &[]), answered(5, &done), answered(3, &done)].concat();
        let (mut input, mut heard) = (BytesMut::new(), Vec::new());
        for byte in all {
            input.extend_from_slice(&[byte]);
            etcd.hear(&mut input, &mut heard).unwrap();
        }
        assert_eq!((heard.len(), input.len()), (2, 0));
        let before = out.len();
        etcd.say(Said { step: Step::GiveUp, ..said }, &mut out).unwrap();
        assert_eq!(&out[before..before + 9], framed(4, 1, 0, &[]), "settings are acknowledged");
        input.extend_from_slice(&answered(7, &header));
        assert!(etcd.hear(&mut input, &mut heard).is_err(), "nothing was deleted");
    }
}
