//! How each message is written and read, one file a family; the order of the fields is that of `PROTOCOL.md`.
//!
//! A reader takes field after field from the front of a body and cannot look past it; the first field that is wrong
//! decides. Counts are measured against the bytes that are left before anything is made of them. A writer appends one
//! whole frame to a buffer, or nothing.

mod answer;
mod connection;
mod history;
mod look;
mod message;
mod reader;
mod request;
mod seen;
mod view;
mod waits;
mod word;
mod writer;

pub use connection::acknowledge;
pub use message::{FromClient, FromServer};
pub use view::lock_view_len;
