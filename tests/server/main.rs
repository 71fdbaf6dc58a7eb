//! The server over TCP: handshake, locks, leases, streams, and what becomes of malformed and hostile input.
//!
//! Each test starts a server of its own on a free port and speaks frames to it. Tests wait for what the server says,
//! with a deadline, and never for time to pass, but for the leases that say why.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod crossing;
mod deadlocks;
mod greed;
mod history;
mod hostile;
mod judged;
mod leases;
mod locks;
mod long_waits;
mod memory;
mod orphans;
mod resume;
mod rings;
mod speaker;
mod storm;
mod streams;
mod waits;
