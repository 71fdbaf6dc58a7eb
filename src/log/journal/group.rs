//! Many append, one thread writes: whatever has come while it synced is the next batch.
//!
//! A record has its position as soon as it is taken, and is durable when the audience hears of its batch, in order. There is
//! no lingering: a record that comes alone is written alone. After a failure nobody hears of anything but the failure.

use super::{
    batch::{Batch, Body},
    error::{AppendError, Failure, SnapshotError},
    layout::RECORD_OVERHEAD,
    snapshot::SnapshotWriter,
    store::{Room, Store},
    writer::Writer,
};
use parking_lot::{Condvar, Mutex};
use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

/// Who is told, in the thread that writes. It should be quick: the next batch waits for it.
pub trait Audience: Send + 'static {
    /// This batch is about to be written. For whoever measures how long it takes.
    fn writing(&mut self, batch: Batch<'_>) {
        let _ = batch;
    }
    /// This batch is durable. Batches follow each other without gaps.
    fn durable(&mut self, batch: Batch<'_>);
    /// The disk has failed, and the process has to end: nothing that was not told of will be durable.
    fn failed(&mut self, failure: &Failure);
}

/// A journal that many threads append to.
pub struct Journal {
    common: Arc<Common>,
    thread: Mutex<Option<thread::JoinHandle<()>>>,
}

struct Common {
    store: Arc<Store>,
    queue: Mutex<Queue>,
    /// As many bytes as the queue has, for who only looks.
    queued: AtomicUsize,
    /// There is something to write, or to end.
    filled: Condvar,
    /// Something became durable, or nothing will.
    advanced: Condvar,
}

struct Queue {
    /// Batches that wait; the last one may grow.
    bodies: VecDeque<Body>,
    bytes: usize,
    /// The position of the next record.
    next: u64,
    is_closed: bool,
    /// Has the thread ended?
    has_ended: bool,
}

impl Journal {
    /// Starts the thread.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn start(writer: Writer, audience: impl Audience) -> io::Result<Journal> {
        let queue = Queue {
            bodies: VecDeque::new(),
            bytes: 0,
            next: writer.next(),
            is_closed: false,
            has_ended: false,
        };
        let common = Arc::new(Common {
            store: Arc::clone(writer.store()),
            queue: Mutex::new(queue),
            queued: AtomicUsize::new(0),
            filled: Condvar::new(),
            advanced: Condvar::new(),
        });
        let of_alarm = Arc::downgrade(&common);
        common.store.set_alarm(Box::new(move || {
            if let Some(common) = of_alarm.upgrade() {
                // Whoever has looked and found nothing waits by then, or looks again.
                drop(common.queue.lock());
                common.filled.notify_one();
            }
        }));
        let of_thread = Arc::clone(&common);
        let thread = thread::Builder::new()
            .name("journal".into())
            .spawn(move || of_thread.write_until_closed(writer, audience))?;
        Ok(Journal { common, thread: Mutex::new(Some(thread)) })
    }

    /// Takes a record and says which position it has. It is not durable yet.
    ///
    /// # Errors
    /// It is too long, too much is waiting, or the journal has come to its end.
    pub fn append(&self, record: &[u8]) -> Result<u64, AppendError> {
        let settings = &self.common.store.settings;
        let (bytes, bytes_max) = (record.len(), settings.record_bytes_max());
        if bytes > bytes_max {
            return Err(AppendError::TooLong { bytes, bytes_max });
        }
        self.common.store.check()?;
        let mut queue = self.common.queue.lock();
        if queue.is_closed {
            return Err(AppendError::Closed);
        }
        let bytes = bytes + RECORD_OVERHEAD;
        if queue.bytes + bytes > settings.queue_bytes {
            return Err(AppendError::QueueFull);
        }
        let position = queue.next;
        if queue.bodies.back().is_none_or(|body| body.length() + bytes > settings.batch_bytes) {
            queue.bodies.push_back(Body::new(position));
        }
        queue.bodies.back_mut().expect("there is one now").push(record);
        queue.bytes += bytes;
        self.common.queued.store(queue.bytes, Ordering::Relaxed);
        queue.next += 1;
        drop(queue);
        self.common.filled.notify_one();
        Ok(position)
    }

    /// Returns when this position is durable.
    ///
    /// # Errors
    /// It never will be, or nobody knows.
    pub fn wait(&self, position: u64) -> Result<(), AppendError> {
        let mut queue = self.common.queue.lock();
        while self.durable() < position {
            self.common.store.check()?;
            if queue.has_ended {
                return Err(AppendError::Closed);
            }
            self.common.advanced.wait(&mut queue);
        }
        Ok(())
    }

    /// The last position that is durable.
    #[must_use]
    pub fn durable(&self) -> u64 {
        self.common.store.durable()
    }

    /// What waits to be written, in bytes.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.common.queued.load(Ordering::Relaxed)
    }

    /// Begins a snapshot of everything up to this position. It is written in the thread of the caller.
    ///
    /// # Errors
    /// It is not durable, another one is being written, or the disk is full or has failed.
    pub fn snapshot(&self, position: u64) -> Result<SnapshotWriter, SnapshotError> {
        SnapshotWriter::begin(Arc::clone(&self.common.store), position)
    }

    /// Fills the reserve of segments, if there is room. It takes as long as writing them, in the thread of the caller.
    ///
    /// # Errors
    /// The disk has failed; that it is full is none.
    pub fn prepare(&self) -> Result<Room, Failure> {
        self.common.store.prepare()
    }

    /// What can still be written if the disk is full.
    #[must_use]
    pub fn room(&self) -> Room {
        self.common.store.room()
    }

    /// Takes nothing more, writes what waits, notes that it is durable and ends the thread.
    ///
    /// # Errors
    /// The disk has failed, now or before.
    pub fn close(&self) -> Result<(), Failure> {
        self.common.queue.lock().is_closed = true;
        self.common.filled.notify_one();
        let thread = self.thread.lock().take();
        if let Some(Err(panicked)) = thread.map(thread::JoinHandle::join) {
            std::panic::resume_unwind(panicked);
        }
        self.common.store.check()
    }
}

impl Drop for Journal {
    /// Ends the thread, too; who wants to know how it came out closes it.
    fn drop(&mut self) {
        self.common.queue.lock().is_closed = true;
        self.common.filled.notify_one();
    }
}

/// When the thread ends, by whatever way, nobody waits for it any more.
struct Ending<'a>(&'a Common);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        let mut queue = self.0.queue.lock();
        (queue.is_closed, queue.has_ended) = (true, true);
        self.0.advanced.notify_all();
    }
}

impl Common {
    fn write_until_closed(&self, mut writer: Writer, mut audience: impl Audience) {
        let _ending = Ending(self);
        if let Err(failure) = self.write_all(&mut writer, &mut audience) {
            audience.failed(&failure);
        }
    }

    fn write_all(&self, writer: &mut Writer, audience: &mut impl Audience) -> Result<(), Failure> {
        loop {
            let Some(mut body) = self.next_batch(writer.is_noted()) else {
                // Nothing has come for a while, or nothing will.
                writer.note()?;
                if self.is_over() {
                    return Ok(());
                }
                continue;
            };
            audience.writing(body.batch());
            writer.write(&mut body)?;
            audience.durable(body.batch());
            let queue = self.queue.lock();
            self.advanced.notify_all();
            drop(queue);
        }
    }

    /// Waits for a batch; not for ever, if there is something to note, or the disk has failed somebody else.
    fn next_batch(&self, is_noted: bool) -> Option<Body> {
        let mut queue = self.queue.lock();
        while queue.bodies.is_empty() && !queue.is_closed && self.store.check().is_ok() {
            if is_noted {
                self.filled.wait(&mut queue);
            } else if self.filled.wait_for(&mut queue, self.store.settings.idle).timed_out() {
                break;
            }
        }
        let body = queue.bodies.pop_front()?;
        queue.bytes -= body.record_bytes();
        self.queued.store(queue.bytes, Ordering::Relaxed);
        Some(body)
    }

    fn is_over(&self) -> bool {
        let queue = self.queue.lock();
        queue.is_closed && queue.bodies.is_empty()
    }
}
