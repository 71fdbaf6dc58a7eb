//! Frames and their codec: the words of [`crate::vocabulary`] as bytes, and back.
//!
//! Used at the two doors only, the client's and the server's. Nothing here allocates more than it was sent, loops on
//! an unchecked number, panics on any bytes, or knows what a socket is. `PROTOCOL.md` says the same for strangers.

mod codec;
mod error;
mod event;
mod extension;
mod frame;
mod hello;
mod look;
mod reply;
mod request;
mod session;

pub use codec::{FromClient, FromServer, acknowledge, lock_view_len};
pub use error::{DecodeError, EncodeError, Fault, Outcome};
pub use event::Event;
pub use extension::{EXTENSIONS_MAX, Extension, Extensions};
pub use frame::{
    FRAME_LEN_MAX, FRAME_LEN_MAX_BEFORE_SESSION, Family, Frame, HEADER_LEN, Header, Kind, KindRow, cut,
};
pub use hello::{Fatal, Hello, MAGIC, PROTOCOL_VERSION, Welcome};
pub use look::{Look, Seen};
pub use reply::{Answer, Reply};
pub use request::{Adopt, Cancel, Convert, Deq, DeqAll, Enq, EnqPath, Purge, Request};
pub use session::{Administer, ORPHAN_KEY_LEN_MAX, OpenSession, Opened, Resume, Resumed, Space, SpaceReply};
