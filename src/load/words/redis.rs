//! The words of Redis, as its manual recommends them for locks.
//!
//! A lock is a key that is set only if it is not there (`SET NX PX`), with a value that is its holder's own; it is released
//! by a script that deletes the key only if the value is still that one. The hand-off of one lock is a list with one token in it,
//! taken with BLPOP and put back with RPUSH: Redis serves those who wait in their order, and nobody has to try again.

use std::sync::Arc;

use bytes::{Buf as _, BytesMut};
use enq_protocol::vocabulary::Status;

use super::{
    Heard, Root, Said, Step, Words, Wrong,
    resp::{Reply, command, reply},
};

/// Deletes a key if it has this value. Redis calls it by its SHA-1.
pub const COMPARE_AND_DELETE: &str =
    "if redis.call('get',KEYS[1])==ARGV[1] then return redis.call('del',KEYS[1]) else return 0 end";

/// One connection.
pub struct Redis {
    root: Root,
    script: Arc<str>,
    token: String,
    is_handoff: bool,
}

impl Redis {
    /// With the digest of the script, and a number that no other connection has.
    #[must_use]
    pub fn new(root: Root, script: Arc<str>, connection: u32, is_handoff: bool) -> Redis {
        Redis { root, script, token: format!("holder-{connection:013}"), is_handoff }
    }
}

impl Words for Redis {
    fn greet(&mut self, _: &mut BytesMut) -> Result<usize, Wrong> {
        Ok(0)
    }

    fn say(&mut self, said: Said, out: &mut BytesMut) -> Result<u32, Wrong> {
        let name = &self.root.name(said.name);
        let token = self.token.as_bytes();
        match (said.step, self.is_handoff) {
            (Step::Prepare, _) => return Ok(0),
            (Step::Ask, false) => command(&[b"SET", name, token, b"NX", b"PX", b"60000"], out),
            (Step::GiveUp, false) => command(&[b"EVALSHA", self.script.as_bytes(), b"1", name, token], out),
            (Step::Ask, true) => command(&[b"BLPOP", name, b"0"], out),
            (Step::GiveUp, true) => command(&[b"RPUSH", name, b"token"], out),
        }
        Ok(1)
    }

    fn renew(&mut self, out: &mut BytesMut) -> Result<(), Wrong> {
        command(&[b"PING"], out);
        Ok(())
    }

    fn leave(&mut self, _: &mut BytesMut) -> Result<usize, Wrong> {
        Ok(0)
    }

    fn hear(&mut self, input: &mut BytesMut, heard: &mut Vec<Heard>) -> Result<(), Wrong> {
        let mut at = 0;
        while let Some((reply, len)) = reply(&input[at..])? {
            match reply {
                Reply::Error(text) => return Err(Wrong::Nonsense(text.escape_ascii().to_string())),
                // The key is there, or is not this holder's: nobody else has a key with such a name.
                Reply::Nil | Reply::Number(0) => return Err(Wrong::Refused("a lock", Status::NotQueued)),
                Reply::Simple(_) | Reply::Number(_) | Reply::Bulk(_) => heard.push(Heard::Answered),
            }
            at += len;
        }
        input.advance(at);
        Ok(())
    }
}
