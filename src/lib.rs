//! enq: a distributed lock manager in the OpenVMS tradition, for the network.
//!
//! [`client`] is for programs that lock; the other rooms are the server's and promise nothing. `ARCHITECTURE.md` has
//! the map.

#![forbid(unsafe_code)]

/// The README's program compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub mod admin;
pub mod client;
pub mod engine;
pub mod load;
pub mod log;
pub mod server;
pub mod table;
