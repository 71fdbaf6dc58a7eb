//! A session for scripts: kept by a process in the background, used by one verb after the other.
//!
//! ```text
//!  shell    evaluates what `enq session open` prints, and so knows the way to the keeper: $ENQ_SESSION
//!    |
//!    +-- `enq lock`, `enq deq`: ask the keeper one thing over its socket, print, and go
//!
//!  keeper   a process of its own session, without terminal, that holds the session with the server and all its locks.
//!           It ends with `enq session close`, or with the shell.
//! ```
//!
//! Nobody but the same user gets through: the socket is alone in a directory of that user's, and both ends ask the system
//! who the other one is. The session's secret stays in the keeper. Whoever asks for a lock and goes before it heard the
//! answer does not have it: a request is withdrawn when its process dies, and a grant that nobody took is released.
//!
//! A lost session is not opened again: what the script believes about its locks is wrong then, and it has to hear that.

mod keeper;
mod line;
mod locks;
mod open;
mod parent;
mod verbs;

pub(super) use keeper::keep;
pub(super) use open::open;
pub(super) use verbs::{cancel, close, convert, deq, lock, own, try_now};

/// Where a shell finds its keeper.
const VARIABLE: &str = "ENQ_SESSION";

/// The inner step that becomes a keeper.
pub(super) const STEP: &str = "session";
