//! The threads of a journal that is served: one writes and applies batches (`journal/group.rs`), this one does what nobody
//! should wait for: snapshots, and room for segments to come.

use super::{
    Applier, Pipe,
    apply::Common,
    journal::{AppendError, Failure, Journal, Room, SnapshotError, Writer},
};
use crate::engine::Instant;
use parking_lot::Mutex;
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{self, Sender},
    },
    thread,
};

/// What waits to be written beyond this lets those wait who bring more.
const CROWDED_BYTES: usize = 4 << 20;

/// What is to be done beside.
pub(super) enum Chore {
    /// A snapshot of this position.
    Snapshot(u64, Vec<u8>),
    /// Spare segments.
    Prepare,
}

/// A journal with its threads.
pub struct Keeper {
    journal: Arc<Journal>,
    chores: Mutex<Option<Sender<Chore>>>,
    thread: Mutex<Option<thread::JoinHandle<()>>>,
    common: Arc<Common>,
    room: Arc<Supply>,
}

/// Whether there is room for segments to come.
#[derive(Default)]
struct Supply {
    /// Somebody is seeing to it.
    is_prepared: AtomicBool,
    /// There was none when somebody saw to it last.
    is_lacking: AtomicBool,
    /// When that is to be done again. Whoever found room does not wait: the disk may be full by now.
    next: AtomicU64,
}

/// How long after a lack of room it is looked whether there is some, in milliseconds.
const LACK_MS: u32 = 1_000;

impl Keeper {
    pub(super) fn start(mut applier: Applier, writer: Writer, common: Arc<Common>) -> io::Result<Keeper> {
        let (chores, to_do) = mpsc::channel();
        applier.send_chores(chores.clone());
        let journal = Arc::new(Journal::start(writer, applier)?);
        let room = Arc::new(Supply::default());
        let worker =
            Worker { journal: Arc::clone(&journal), common: Arc::clone(&common), room: Arc::clone(&room) };
        let builder = thread::Builder::new().name("snapshots".into());
        let thread = builder.spawn(move || to_do.iter().for_each(|chore| worker.work(chore)))?;
        let (chores, thread) = (Mutex::new(Some(chores)), Mutex::new(Some(thread)));
        Ok(Keeper { journal, chores, thread, common, room })
    }

    /// What the next start reads instead of all records since the last snapshot. Without it nothing is lost.
    fn take_last_snapshot(&self) -> Result<(), Failure> {
        if self.common.since_snapshot.load(Ordering::Relaxed) == 0 {
            return Ok(());
        }
        let position = self.journal.durable();
        let image = self.common.image();
        let taken = take_snapshot(&self.journal, position, &image);
        self.common.measures.took_snapshot(position, image.len(), taken.is_ok());
        match taken {
            Ok(()) => Ok(()),
            Err(SnapshotError::Failed(failure)) => Err(failure),
            Err(error) => {
                tracing::warn!(%error, position, "no snapshot was taken at the end");
                Ok(())
            }
        }
    }
}

/// Who does the chores.
struct Worker {
    journal: Arc<Journal>,
    common: Arc<Common>,
    room: Arc<Supply>,
}

impl Worker {
    /// A failure of the disk is told by the thread that writes.
    fn work(&self, chore: Chore) {
        match chore {
            Chore::Snapshot(position, image) => {
                let bytes = image.len();
                let taken = take_snapshot(&self.journal, position, &image);
                self.common.measures.took_snapshot(position, bytes, taken.is_ok());
                match taken {
                    Ok(()) => tracing::debug!(position, bytes, "a snapshot was taken"),
                    Err(error) => tracing::warn!(%error, position, "no snapshot was taken"),
                }
                self.common.is_taking_snapshot.store(false, Ordering::Relaxed);
            }
            Chore::Prepare => {
                match self.journal.prepare() {
                    Ok(room) => {
                        let was_lacking = self.room.is_lacking.swap(room.is_short, Ordering::Relaxed);
                        if room.is_short && !was_lacking {
                            tracing::error!(
                                bytes = room.bytes,
                                "the disk is full: new locks are refused, so that releases still have room"
                            );
                        } else if was_lacking && !room.is_short {
                            tracing::info!("there is room on the disk again");
                        }
                    }
                    Err(error) => tracing::error!(%error, "no room could be made for the journal"),
                }
                self.room.is_prepared.store(false, Ordering::Relaxed);
            }
        }
    }
}

fn take_snapshot(journal: &Journal, position: u64, image: &[u8]) -> Result<(), SnapshotError> {
    let mut snapshot = journal.snapshot(position)?;
    snapshot.add(image)?;
    snapshot.finish()
}

impl Pipe for Keeper {
    fn append(&self, record: &[u8]) -> Result<u64, AppendError> {
        self.journal.append(record)
    }

    fn is_crowded(&self) -> bool {
        self.journal.queued() > CROWDED_BYTES
    }

    fn room(&self) -> Option<Room> {
        let room = self.journal.room();
        // A spare segment that is being made is no lack.
        Some(Room { is_short: self.is_short_of_room(), ..room })
    }

    fn is_short_of_room(&self) -> bool {
        self.room.is_lacking.load(Ordering::Relaxed)
    }

    fn tend(&self, now: Instant) {
        let is_due = || {
            !self.room.is_lacking.load(Ordering::Relaxed) || self.room.next.load(Ordering::Relaxed) <= now.0
        };
        if self.journal.room().is_short
            && is_due()
            && !self.room.is_prepared.swap(true, Ordering::Relaxed)
            && let Some(chores) = &*self.chores.lock()
        {
            self.room.next.store(now.after_ms(LACK_MS).0, Ordering::Relaxed);
            let _ = chores.send(Chore::Prepare);
        }
    }

    fn close(&self) -> Result<(), Failure> {
        let closed = self.journal.close();
        // The applier has gone with the other sender.
        drop(self.chores.lock().take());
        if let Some(Err(panicked)) = self.thread.lock().take().map(thread::JoinHandle::join) {
            std::panic::resume_unwind(panicked);
        }
        closed?;
        self.take_last_snapshot()
    }
}
