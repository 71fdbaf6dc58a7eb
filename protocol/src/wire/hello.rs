//! The connection itself: HELLO from the client, WELCOME from the server, and the ERROR it may end with.

use crate::vocabulary::Status;
use alloc::{boxed::Box, string::String, vec::Vec};

/// The first four bytes of a HELLO's body.
pub const MAGIC: [u8; 4] = *b"ENQ\x01";

/// The one version there is so far.
pub const PROTOCOL_VERSION: u16 = 1;

/// The client's first frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The lowest version the client speaks.
    pub version_min: u16,
    /// The highest version the client speaks.
    pub version_max: u16,
    /// Optional features the client understands, as bits; none are defined yet.
    pub features: u64,
    /// How the client proves who it is: 0 nothing; others are reserved.
    pub method: u8,
    /// What that method needs.
    pub credentials: Box<[u8]>,
    /// What the client is, for logs: program and version.
    pub agent: String,
}

/// The server's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// The version both speak.
    pub version: u16,
    /// The features both understand.
    pub features: u64,
    /// The longest frame, in bytes.
    pub frame_len_max: u32,
    /// Requests in flight a session.
    pub window_requests: u32,
    /// Bytes in flight a session.
    pub window_bytes: u32,
    /// Locks a session.
    pub locks_max: u32,
    /// Waiting and converting locks a session.
    pub waiting_max: u32,
    /// The shortest lease, in milliseconds.
    pub ttl_min_ms: u32,
    /// The longest lease, in milliseconds.
    pub ttl_max_ms: u32,
    /// What the server calls itself.
    pub server: String,
    /// 0 for a server that stands alone.
    pub role: u8,
    /// Where the leader is, if it is elsewhere; empty otherwise.
    pub leader: String,
    /// All servers of the cluster; empty for one that stands alone.
    pub members: Vec<String>,
    /// The log that serves this connection: 0 volatile.
    pub log: u8,
    /// Settings that weaken a promise, by name.
    pub unsafe_settings: Vec<String>,
}

/// ERROR: the last frame of a connection that the server ends, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fatal {
    /// Why.
    pub status: Status,
    /// Two numbers that belong to it: for VERSION the lowest and highest the server speaks; otherwise 0.
    pub detail: [u32; 2],
    /// The same in words, for a log.
    pub text: String,
}
