//! The journal's storage: records in order, and snapshots that stand for everything up to a position, in one directory.
//!
//! A record is bytes without meaning here; so is a snapshot. Records have positions 1, 2, 3 and so on, without gaps. What
//! is promised, for any crash and any loss of what was not synced: whatever was called durable is found again, in order, and
//! what is found is a beginning of what was appended. Whatever is damaged is refused, never cut off; only a batch that
//! nobody was told of may be missing. `docs/journal.md` has the bytes and the argument.
//!
//! Read in this order:
//!
//! | file | what it is about |
//! |---|---|
//! | `disk.rs`, `directory.rs` | what is asked of a file system, and the real one |
//! | `layout.rs` | names, limits, the plate that every file begins with |
//! | `batch.rs`, `segment.rs` | records on disk: one batch is one write and one sync |
//! | `head.rs` | the epoch and the newest segment, in two slots |
//! | `contents.rs` | what a directory has, without changing it |
//! | `survey.rs` | all of it to the last byte, for who looks after a journal |
//! | `snapshot.rs` | the pieces of a snapshot, written and read |
//! | `backup.rs` | the same in a file of its own, and a journal that is made of one |
//! | `store.rs` | making, naming, recycling files: every order that a crash could turn round |
//! | `writer.rs` | one batch after the other; then `group.rs`, the thread that many append to |
//! | `reading.rs` | what is there, in order and judged: a torn tail, or damage |
//! | `recovery.rs` | the start: a torn tail is cut, damage is refused |
//! | `attempts.rs` | what was being applied when the process ended |
//! | `error.rs`, `planted.rs` | what goes wrong by itself, and what tests make go wrong |
//!
//! Nothing here reads a clock, knows a lock, or decides when a snapshot is due. A first failure of a write or a sync is the
//! last thing a journal does.

mod attempts;
mod backup;
mod batch;
mod contents;
mod directory;
mod disk;
mod error;
mod group;
mod head;
mod layout;
mod planted;
mod reading;
mod recovery;
mod segment;
mod snapshot;
mod store;
mod survey;
mod writer;

pub use attempts::Attempts;
pub use backup::{Backup, make};
pub use batch::{Batch, Body};
pub use contents::{Contents, Walk, Walked};
pub use directory::Directory;
pub use disk::{Disk, File};
pub use error::{AppendError, Damage, Failure, OpenError, SnapshotError};
pub use group::{Audience, Journal};
pub use layout::{BATCH_BYTES_MAX, RECORD_OVERHEAD, Settings};
pub use planted::{Mistake, Planted};
pub use reading::{Reading, Report, Tail};
pub use recovery::{Recovery, Started};
pub use snapshot::{SnapshotReader, SnapshotWriter};
pub use store::Room;
pub use survey::{Entry, Seen, SegmentEnd, Sort, Survey};
pub use writer::Writer;
