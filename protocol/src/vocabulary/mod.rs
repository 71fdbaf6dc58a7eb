//! The words every room speaks.
//!
//! One word, one thing: each type here is a noun of `docs/glossary.md`. Nothing here knows how a word is written
//! on the wire, and nothing here needs more than `core` and `alloc`.

mod flags;
mod grant;
mod history;
mod id;
mod mode;
mod name;
mod policy;
mod status;
mod value_block;
mod view;

pub use flags::Flags;
pub use grant::{Grant, PathLevel};
pub use history::{Happened, HistoryCursor, HistoryOf, HistoryPart, HistoryView, PastSession};
pub use id::{Fence, Handle, LockId, LockspaceId, Owner, Place, Seq, Serial, SessionId, Stamp};
pub use mode::{LockMode, ModeSet};
pub use name::{NAME_LEN_MAX, NameError, ResourceName};
pub use policy::{ConversionDeadlock, LOCK_DELAY_MS_MAX, NEVER_REFUSED, Policy, VictimRule};
pub use status::{Status, StatusRow};
pub use value_block::{VALUE_LEN_DEFAULT, VALUE_LEN_MAX, ValueBlock};
pub use view::{
    Counter, DeadlockView, Edge, EdgeWhy, ForeseenGrant, ForeseenView, LockFilter, LockPage, LockView,
    LockspaceView, Queue, ResourceView, Scanned, SessionView, StandingView, Statistics, WaitLine, WaitView,
    WaitsFrom, WaitsView, WhatIf,
};
