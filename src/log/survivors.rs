//! The leases that may outlive a volatile server: how long the next one has to wait before it grants anything (rule G10).
//!
//! The state file holds the longest lease of any session that asked for a lock since the boot, in powers of two, and
//! with it the longest lock-delay of any lockspace. It is raised, and on disk, before the first request that needs it is
//! executed; so a crash at any moment leaves enough. It is lowered in three moments only: when the boot begins, when the
//! leases of before have ended, and when the server has stopped in order. There it falls to what is held, 0 if nothing
//! is: that is the mark of a clean stop.

use super::epoch::{line, replace};
use parking_lot::Mutex;
use std::{
    io,
    path::PathBuf,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
};

/// See the front page.
#[derive(Debug)]
pub struct Survivors {
    /// Leases up to this are covered by what is on disk.
    covered_ms: AtomicU32,
    /// Are there leases of before that may still be believed in?
    has_before: AtomicBool,
    books: Mutex<Books>,
}

#[derive(Debug)]
struct Books {
    /// The file, and the epoch that its line begins with; none if nothing is kept.
    file: Option<(PathBuf, u32)>,
    /// What the leases of before need.
    before_ms: u32,
    /// The longest lease of this boot, and the longest lock-delay.
    lease_ms: u32,
    delay_ms: u32,
    is_closed: bool,
    /// Why the file could not be written.
    trouble: Option<io::Error>,
}

impl Survivors {
    /// Books in this file, with what those of before need.
    pub(super) fn new(file: Option<(PathBuf, u32)>, before_ms: u32) -> Survivors {
        let books = Books { file, before_ms, lease_ms: 0, delay_ms: 0, is_closed: false, trouble: None };
        Survivors {
            covered_ms: AtomicU32::new(0),
            has_before: AtomicBool::new(before_ms > 0),
            books: Mutex::new(books),
        }
    }

    /// Books of nothing, for who has no next boot.
    #[must_use]
    pub fn nowhere() -> Survivors {
        Survivors::new(None, 0)
    }

    /// A session with this lease is about to ask for a lock. When this returns, the next boot knows that it may be
    /// believed in.
    ///
    /// Says no if it could not be written down, or the books are closed: then nothing may be granted.
    #[must_use]
    pub(super) fn cover(&self, ttl_ms: u32) -> bool {
        if ttl_ms <= self.covered_ms.load(Ordering::SeqCst) {
            return true;
        }
        let mut books = self.books.lock();
        if books.is_closed {
            return false;
        }
        let lease_ms = ttl_ms.checked_next_power_of_two().unwrap_or(u32::MAX);
        let higher = Books { lease_ms: lease_ms.max(books.lease_ms), ..books.copy() };
        let is_written = books.write_or_say_no(higher);
        self.covered_ms.store(books.lease_ms, Ordering::SeqCst);
        is_written
    }

    /// A lockspace is about to have this lock-delay: whoever dies now blocks longer than his lease.
    ///
    /// Says no as [`Survivors::cover`] does.
    #[must_use]
    pub(super) fn cover_delay(&self, delay_ms: u32) -> bool {
        let mut books = self.books.lock();
        let higher = Books { delay_ms: delay_ms.max(books.delay_ms), ..books.copy() };
        books.write_or_say_no(higher)
    }

    /// Are there leases of before that have not been let go?
    pub(super) fn has_before(&self) -> bool {
        self.has_before.load(Ordering::Relaxed)
    }

    /// The leases of before have ended.
    pub(super) fn let_go(&self) {
        self.has_before.store(false, Ordering::Relaxed);
        let mut books = self.books.lock();
        let lower = Books { before_ms: 0, ..books.copy() };
        books.write_or_say_no(lower);
    }

    /// From now on nobody who is not covered yet is: nothing new is held.
    pub(super) fn close(&self) {
        self.books.lock().is_closed = true;
        self.covered_ms.store(0, Ordering::SeqCst);
    }

    /// The server has stopped, and sessions with leases up to this still held locks; 0 if none did.
    pub(super) fn balance(&self, lease_ms: u32) {
        let mut books = self.books.lock();
        let lower = Books { lease_ms: lease_ms.min(books.lease_ms), ..books.copy() };
        books.write_or_say_no(lower);
    }

    /// Why the file could not be written last, once each time.
    pub(super) fn trouble(&self) -> Option<io::Error> {
        self.books.lock().trouble.take()
    }
}

impl Books {
    fn copy(&self) -> Books {
        Books { file: self.file.clone(), trouble: None, ..*self }
    }

    /// What the next boot has to wait for.
    fn needed_ms(&self) -> u32 {
        let own_ms = if self.lease_ms == 0 { 0 } else { self.lease_ms.saturating_add(self.delay_ms) };
        own_ms.max(self.before_ms)
    }

    /// Becomes these books, if they can be written. If those that need less cannot, the next boot waits in vain, and that
    /// is all.
    fn write_or_say_no(&mut self, books: Books) -> bool {
        let result = self.write(books);
        let is_written = result.is_ok();
        self.trouble = result.err().or(self.trouble.take());
        is_written
    }

    /// Becomes these books, if what they need is on disk.
    fn write(&mut self, books: Books) -> io::Result<()> {
        if let Some((path, epoch)) = &books.file
            && books.needed_ms() != self.needed_ms()
        {
            replace(path, &line(*epoch, books.needed_ms()))?;
        }
        *self = books;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    struct Kept {
        directory: tempfile::TempDir,
        survivors: Survivors,
    }

    fn kept(before_ms: u32) -> Kept {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("enqd.state");
        replace(&file, &line(3, before_ms)).unwrap();
        Kept { survivors: Survivors::new(Some((file, 3)), before_ms), directory }
    }

    impl Kept {
        fn on_disk(&self) -> String {
            let text = fs::read_to_string(self.directory.path().join("enqd.state")).unwrap();
            text.strip_prefix("enqd state 2 epoch 3 lease_ms ").unwrap().trim_end().into()
        }
    }

    #[test]
    fn it_rises_in_powers_of_two_before_it_is_needed() {
        let kept = kept(0);
        assert_eq!(kept.on_disk(), "0");
        for (ttl_ms, on_disk) in [(1_000, "1024"), (1_024, "1024"), (15_000, "16384"), (1_000, "16384")] {
            assert!(kept.survivors.cover(ttl_ms));
            assert_eq!(kept.on_disk(), on_disk, "{ttl_ms}");
        }
        assert!(kept.survivors.cover_delay(5_000));
        assert!(kept.survivors.cover_delay(4_000));
        assert_eq!(kept.on_disk(), "21384", "the dead block for the delay, too");
    }

    #[test]
    fn a_delay_without_a_lease_is_nothing_to_wait_for() {
        let kept = kept(0);
        assert!(kept.survivors.cover_delay(5_000));
        assert_eq!(kept.on_disk(), "0");
    }

    #[test]
    fn those_of_before_are_handed_on_until_their_leases_have_ended() {
        let kept = kept(16_384);
        assert!(kept.survivors.has_before());
        assert!(kept.survivors.cover(2_000));
        assert_eq!(kept.on_disk(), "16384");
        kept.survivors.let_go();
        assert!(!kept.survivors.has_before());
        assert_eq!(kept.on_disk(), "2048");
    }

    #[test]
    fn a_stop_in_order_leaves_what_is_held_and_takes_nothing_more() {
        let clean = kept(0);
        assert!(clean.survivors.cover(15_000));
        clean.survivors.close();
        assert!(!clean.survivors.cover(15_000), "what was covered is not any more");
        clean.survivors.balance(0);
        assert_eq!(clean.on_disk(), "0");
        let held = kept(0);
        assert!(held.survivors.cover(15_000));
        held.survivors.close();
        held.survivors.balance(2_000);
        assert_eq!(held.on_disk(), "2000");
        let early = kept(16_384);
        early.survivors.close();
        early.survivors.balance(0);
        assert_eq!(early.on_disk(), "16384", "the wait was not over when it stopped");
    }

    #[test]
    fn what_cannot_be_written_is_not_covered() {
        let kept = kept(0);
        let away = kept.directory.path().join("away");
        let survivors = Survivors::new(Some((away.join("enqd.state"), 3)), 0);
        assert!(!survivors.cover(1_000));
        assert!(survivors.trouble().is_some() && survivors.trouble().is_none(), "it is told once");
        assert!(!survivors.cover(1_000), "it was not taken for done");
        fs::create_dir(&away).unwrap();
        assert!(survivors.cover(1_000));
    }

    #[test]
    fn without_a_file_everything_is_covered() {
        let survivors = Survivors::nowhere();
        assert!(survivors.cover(60_000));
        survivors.let_go();
        survivors.balance(0);
    }
}
