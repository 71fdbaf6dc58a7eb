//! The journal's storage: what a crash may leave, what damage looks like, and a disk that fails at every call.
//!
//! `tests/disk` is a disk that keeps every operation and can be crashed at each; `book.rs` says what must be found again. The
//! rest asks: after every crash (`crash.rs`), after every damage (`damage.rs`), after every failing call (`faults.rs`), in
//! random histories (`history.rs`), by name on a real disk (`stories.rs`), of backups (`backups.rs`), of a session that ends with
//! something under way (`ends.rs`); and whether the questions are sharp enough
//! (`museum.rs`).

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod backups;
mod book;
mod crash;
mod damage;
#[path = "../disk/mod.rs"]
#[expect(dead_code, reason = "the worlds of the simulation draw crashes where these tests build all of them")]
mod disk;
mod ends;
mod faults;
mod history;
mod museum;
mod run;
mod stories;
mod vectors;
