//! How the work is said to each kind of server. The one place that knows how they differ.
//!
//! Words are put behind each other in a buffer that somebody else writes, and are heard in a buffer that somebody else has
//! read: nothing here waits, so that many requests share one write. For Redis and etcd that is why the few words of their
//! protocols are spelled out in `resp` and `http2`: a library would bring its own connection, with its own queue and its own
//! writes.

mod echo;
mod etcd;
mod http2;
mod redis;
pub(super) mod resp;
mod session;

use bytes::BytesMut;
use enq_protocol::vocabulary::LockMode;

pub use super::error::Wrong;
pub use echo::Echo;
pub use etcd::Etcd;
pub use redis::{COMPARE_AND_DELETE, Redis};
pub use session::Enq;
pub(super) use session::TTL;

/// The length of a name: what the names of a real application have.
pub const NAME_LEN: usize = 24;

/// What all names of one run begin with, so that they are nobody else's.
#[derive(Clone, Copy, Debug)]
pub struct Root([u8; NAME_LEN]);

impl Root {
    /// Of the run with this number.
    #[must_use]
    pub fn of_run(run: u32) -> Root {
        let mut bytes = [0; NAME_LEN];
        bytes.copy_from_slice(format!("bench/{run:08x}/000000000").as_bytes());
        Root(bytes)
    }

    /// The name with this number, of which the last nine digits count.
    #[must_use]
    pub fn name(&self, number: u32) -> [u8; NAME_LEN] {
        let mut bytes = self.0;
        let mut rest = number;
        for digit in bytes.iter_mut().rev().take(9) {
            *digit = b'0' + u8::try_from(rest % 10).unwrap_or(0);
            rest /= 10;
        }
        bytes
    }

    /// What all of them begin with.
    #[must_use]
    pub fn prefix(&self) -> String {
        String::from_utf8_lossy(&self.0[..15]).into_owned()
    }
}

/// A step of the work on one slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Before all pairs, and not counted: take what the pairs work on.
    Prepare,
    /// The first half of a pair: ask.
    Ask,
    /// The second half: give it up.
    GiveUp,
}

/// One step to be said.
#[derive(Clone, Copy, Debug)]
pub struct Said {
    /// Which step.
    pub step: Step,
    /// On which slot of the connection.
    pub slot: u32,
    /// The number of the name.
    pub name: u32,
    /// The mode asked for.
    pub mode: LockMode,
}

/// What was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The oldest request that had no answer has one, and is done.
    Answered,
    /// The oldest request that had no answer has to wait.
    Queued,
    /// A request of this slot that had to wait is granted.
    GrantedLater(u32),
}

/// A grant of the one lock that is handed on: when its request was taken in, and when it was granted, both in the order of
/// the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Handed {
    /// The place of the request.
    pub asked: u64,
    /// The number of the grant.
    pub granted: u64,
}

/// The words of one connection to one kind of server.
pub trait Words: Send {
    /// What goes first; says how many answers it has.
    ///
    /// # Errors
    /// It cannot be said, which is a mistake of this program.
    fn greet(&mut self, out: &mut BytesMut) -> Result<usize, Wrong>;

    /// One step; says how many answers it has, none if there is nothing to say.
    ///
    /// # Errors
    /// It cannot be said, which is a mistake of this program.
    fn say(&mut self, said: Said, out: &mut BytesMut) -> Result<u32, Wrong>;

    /// Says nothing but that the session is still there, which has one answer.
    ///
    /// # Errors
    /// It cannot be said, which is a mistake of this program.
    fn renew(&mut self, out: &mut BytesMut) -> Result<(), Wrong>;

    /// What goes last; says how many answers it has.
    ///
    /// # Errors
    /// It cannot be said, which is a mistake of this program.
    fn leave(&mut self, out: &mut BytesMut) -> Result<usize, Wrong>;

    /// Eats all whole answers.
    ///
    /// # Errors
    /// The server refuses something, or says what does not belong there.
    fn hear(&mut self, input: &mut BytesMut, heard: &mut Vec<Heard>) -> Result<(), Wrong>;

    /// The most requests that may be in flight, if the server has said so.
    fn window(&self) -> Option<u32> {
        None
    }

    /// The grants of the one lock that is handed on, where the server tells their order.
    fn handed(&mut self) -> Vec<Handed> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_one_length_and_differ_in_their_numbers() {
        let root = Root::of_run(0xBEEF);
        assert_eq!(&root.name(0), b"bench/0000beef/000000000");
        assert_eq!(&root.name(123_456_789), b"bench/0000beef/123456789");
        assert!(root.name(7).starts_with(root.prefix().as_bytes()));
    }
}
