//! What a server with a journal has answered is on disk: real processes that are killed, starved and lied to by the system.
//!
//! Each test starts `enqd --data-dir` on the loopback, does something to the process, its disk or its directory, and starts
//! it again on what is left. Short forms run in the gate; the variables that make them longer stand at each file's head and
//! in `docs/testing.md`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed, and says where")]

mod aborts;
mod books;
mod faults;
mod kills;
mod pace;
mod refused;
mod room;
mod stage;
mod stops;
mod work;
mod world;
