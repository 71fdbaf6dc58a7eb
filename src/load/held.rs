//! Locks that are held beside the load, to see what they cost it.
//!
//! They stand on names of their own, in sessions of their own, kept by a thread that does nothing but renew their leases. What is held
//! only grows; all of it is released when the value is dropped, or its process ends.

use std::{sync::mpsc, thread, time::Duration};

use super::{
    error::LoadError,
    line::Line,
    server::Server,
    words::{Enq, Root},
    workload::{Work, Workload},
};

/// The first of the names that are held: no slot of a load has such a number.
const NAMES_FROM: u32 = 100_000_000;
/// Locks at most: names have nine digits.
const HELD_MAX: u32 = 100_000_000;
/// Locks in one session: below what a server allows by itself.
const LOCKS_A_SESSION: u32 = 50_000;
/// Requests in one write: well below any window.
const BATCH: u32 = 256;
/// How often the sessions say that they are there: well within their lease.
const RENEW_EVERY: Duration = Duration::from_secs(3);

/// The locks that are held.
#[derive(Debug)]
pub struct Held {
    grow: Option<mpsc::Sender<u32>>,
    grown: mpsc::Receiver<Result<(), LoadError>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Held {
    /// None yet, on this server.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn none(server: &Server, root: Root) -> Result<Held, LoadError> {
        let (grow, orders) = mpsc::channel();
        let (report, grown) = mpsc::channel();
        let (name, address) = (server.name, server.address.clone());
        let keep = move || {
            let keeper = Keeper { name, address, root, lines: Vec::new(), count: 0 };
            if let Err(error) = keeper.keep(&orders, &report) {
                let _ = report.send(Err(error));
            }
        };
        let thread = thread::Builder::new().spawn(keep).map_err(LoadError::system("a thread"))?;
        Ok(Held { grow: Some(grow), grown, thread: Some(thread) })
    }

    /// Takes more, until there are so many.
    ///
    /// # Errors
    /// The server grants no more, or does not answer; or a lease could not be renewed since.
    pub fn grow_to(&self, count: u32) -> Result<(), LoadError> {
        let gone = || LoadError::Impossible(String::from("the sessions of the locks held beside have gone"));
        if count > HELD_MAX {
            return Err(LoadError::Impossible(format!("{count} locks held; {HELD_MAX} are the most")));
        }
        // A thread that has failed has said so before it went.
        let _ = self.grow.as_ref().map(|grow| grow.send(count));
        self.grown.recv().unwrap_or_else(|_| Err(gone()))
    }

    /// Releases all.
    ///
    /// # Errors
    /// They were lost before, so that what was measured beside them was not measured beside them.
    pub fn release(mut self) -> Result<(), LoadError> {
        self.end();
        self.grown.try_iter().collect()
    }

    fn end(&mut self) {
        self.grow = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.end();
    }
}

/// The thread's own.
struct Keeper {
    name: &'static str,
    address: String,
    root: Root,
    lines: Vec<Line>,
    count: u32,
}

impl Keeper {
    /// Grows when it is told to, renews when it is time, and closes when nobody is there any more.
    fn keep(
        mut self,
        orders: &mpsc::Receiver<u32>,
        report: &mpsc::Sender<Result<(), LoadError>>,
    ) -> Result<(), LoadError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(LoadError::system("a runtime"))?;
        loop {
            match orders.recv_timeout(RENEW_EVERY) {
                Ok(count) => {
                    runtime.block_on(self.grow_to(count))?;
                    let _ = report.send(Ok(()));
                }
                Err(mpsc::RecvTimeoutError::Timeout) => runtime.block_on(self.renew())?,
                Err(mpsc::RecvTimeoutError::Disconnected) => return runtime.block_on(self.close()),
            }
        }
    }

    async fn grow_to(&mut self, count: u32) -> Result<(), LoadError> {
        while self.count < count {
            let slot = self.count % LOCKS_A_SESSION;
            if slot == 0 {
                self.renew().await?;
                let words = Box::new(Enq::new(self.root, &Workload::plain(Work::Pair)));
                self.lines.push(Line::open(self.name, &self.address, words, 0).await?);
            }
            let batch = BATCH.min(count - self.count).min(LOCKS_A_SESSION - slot);
            let first = NAMES_FROM + self.count;
            if let Some(line) = self.lines.last_mut() {
                line.hold(slot, first..first + batch).await?;
            }
            self.count += batch;
        }
        Ok(())
    }

    async fn renew(&mut self) -> Result<(), LoadError> {
        for line in &mut self.lines {
            line.renew().await?;
        }
        Ok(())
    }

    async fn close(self) -> Result<(), LoadError> {
        for line in self.lines {
            line.close().await?;
        }
        Ok(())
    }
}
