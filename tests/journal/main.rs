//! The journal's storage: what a crash may leave, what damage looks like, and a disk that fails at every call.
//!
//! `disk.rs` is a disk that keeps every operation and can be crashed at each; `book.rs` says what must be found again. The
//! rest asks: after every crash (`crash.rs`), after every damage (`damage.rs`), after every failing call (`faults.rs`), in
//! random histories (`history.rs`), by name on a real disk (`stories.rs`); and whether the questions are sharp enough
//! (`museum.rs`).

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod book;
mod crash;
mod damage;
mod disk;
mod faults;
mod history;
mod museum;
mod run;
mod stories;
mod vectors;
