//! The Rust client: sessions, locks, looks, gates and recipes. The one room of this crate, with `enq-protocol`, that
//! promises stability.
//!
//! ```no_run
//! use enq::client::{LockMode, Session, Wait};
//! use std::time::Duration;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let session = Session::builder("billing").purpose("nightly run").connect(&["127.0.0.1:21065"]).await?;
//! let lock = session.lock("db/orders").mode(LockMode::Pw).wait(Wait::UpTo(Duration::from_secs(5))).await?;
//! // ... read and write, showing `lock.fence()` to whatever is written to ...
//! let lock = match lock.convert(LockMode::Ex).wait(Wait::No).await {
//!     Ok(exclusive) => exclusive,
//!     Err(refused) => refused.lock, // the old lock, as it was
//! };
//! lock.release().await?;
//! # Ok(())
//! # }
//! ```
//!
//! *What is promised.* The server grants no two incompatible locks at one point of a resource's history: server-order
//! exclusion, always. Two clients never both answer `held()` for conflicting modes as long as their clocks run at most
//! one per cent wrong: belief exclusion. Neither says anything about a program that asked, slept, and wrote: that is
//! what [`Lock::fence`] and a [`FenceGate`] at the protected resource are for, fenced-effect exclusion.
//!
//! *What there is to know.* A guard is a lock: dropping it releases, dropping a request that waits withdraws it, and
//! nothing is re-entrant. Nothing polls the server. This room knows nothing of the engine, the table or the server.

mod backoff;
mod clock;
mod connection;
mod error;
mod gate;
mod history;
mod kept;
mod lease;
mod link;
mod lock;
mod look;
mod mailbox;
mod orphan;
mod owner;
pub mod peer;
pub mod recipes;
mod reconnect;
mod request;
mod session;

pub use clock::{Moment, now, wall_ms};
pub use connection::DEFAULT_PORT;
pub use enq_protocol::{
    vocabulary::{
        ConversionDeadlock, Counter, DeadlockView, Edge, EdgeWhy, Fence, Flags, ForeseenGrant, ForeseenView,
        Grant, Handle, LockFilter, LockId, LockMode, LockView, LockspaceId, LockspaceView, ModeSet,
        NEVER_REFUSED, NameError, Owner, PathLevel, Policy, Queue, ResourceName, ResourceView, Scanned, Seq,
        SessionId, SessionView, StandingView, Statistics, Status, ValueBlock, VictimRule, WaitLine, WaitView,
        WaitsFrom, WaitsView, WhatIf,
    },
    wire::Welcome,
};
pub use error::{ConnectError, LockLost, LookError, LossCause, NotGranted, Refused};
pub use gate::{FenceGate, NotMarks, SeqGate, Stale};
pub use kept::Credentials;
pub use lease::{Lease, LockState};
pub use link::Traffic;
pub use lock::Lock;
pub use look::{Edges, Locks, PAGE_MAX};
pub use orphan::Adoption;
pub use request::{Conversion, LockRequest, PathRequest, Wait};
pub use session::{Client, Lockspace, Session, SessionBuilder, TTL_DEFAULT};
