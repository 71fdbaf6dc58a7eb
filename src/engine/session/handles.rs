//! What a session's handles stand for, and how many of them are in use.
//!
//! Handles are small numbers, so they index a table; the table grows by pages, so that one high number costs a page and
//! not a table.

use super::super::LockRef;
use enq_protocol::vocabulary::{Handle, LockId};

/// Handles a page: half a kilobyte.
const PAGE_LEN: usize = 64;

/// What one handle stands for: nothing, a lock, or a level of a path, made or not, which its shard knows by the handle.
/// There are as many of these as locks, so a level is written as a lock of that shard in generation 0, which none is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slot(LockId);

impl Slot {
    const FREE: Slot = Slot(LockId::new(0, 0, 0));

    const fn path(shard: u8) -> Slot {
        Slot(LockId::new(shard, 1, 0))
    }
}

/// Some of them, and how many of these stand for something.
#[derive(Debug)]
struct Page {
    slots: Box<[Slot; PAGE_LEN]>,
    in_use: u32,
}

/// All handles of a session.
#[derive(Debug, Default)]
pub(super) struct Handles {
    pages: Vec<Option<Page>>,
    in_use: u32,
    /// Pages that are there.
    allocated: usize,
}

impl Handles {
    /// How many stand for something.
    pub(super) fn in_use(&self) -> u32 {
        self.in_use
    }

    /// The bytes they have allocated.
    pub(super) fn bytes(&self) -> usize {
        self.allocated * size_of::<[Slot; PAGE_LEN]>() + self.pages.capacity() * size_of::<Option<Page>>()
    }

    /// Does this one stand for nothing?
    pub(super) fn is_free(&self, handle: Handle) -> bool {
        self.slot(handle) == Slot::FREE
    }

    /// The shard and the lock that a request with this handle means; none if there is no such lock.
    pub(super) fn meaning(&self, handle: Handle) -> Option<(u8, LockRef)> {
        let slot @ Slot(lock) = self.slot(handle);
        let is_path = lock.generation() == 0;
        let meant = if is_path { LockRef::Handle(handle) } else { LockRef::Id(lock) };
        (slot != Slot::FREE).then(|| (lock.shard(), meant))
    }

    /// Those from this number on that stand for something, with shard and lock, by number.
    pub(super) fn from(&self, number: u32) -> impl Iterator<Item = (Handle, u8, LockRef)> {
        let numbers = number..u32::try_from(self.pages.len() * PAGE_LEN).unwrap_or(u32::MAX);
        numbers.filter_map(Handle::new).filter_map(|handle| {
            let (shard, lock) = self.meaning(handle)?;
            Some((handle, shard, lock))
        })
    }

    /// From now on the handle stands for this lock.
    pub(super) fn start(&mut self, handle: Handle, lock: LockId) {
        self.set(handle, Slot(lock));
    }

    /// From now on the handle stands for a level of a path.
    pub(super) fn start_path(&mut self, handle: Handle, shard: u8) {
        self.set(handle, Slot::path(shard));
    }

    /// The handle stands for nothing any more.
    pub(super) fn end(&mut self, handle: Handle) {
        assert!(!self.is_free(handle), "a handle is freed once: {handle}");
        self.set(handle, Slot::FREE);
    }

    fn slot(&self, handle: Handle) -> Slot {
        let (page, at) = place(handle);
        self.pages.get(page).and_then(Option::as_ref).map_or(Slot::FREE, |page| page.slots[at])
    }

    fn set(&mut self, handle: Handle, slot: Slot) {
        let (number, at) = place(handle);
        if number >= self.pages.len() {
            self.pages.resize_with(number + 1, || None);
        }
        let allocated = &mut self.allocated;
        let page = self.pages[number].get_or_insert_with(|| {
            *allocated += 1;
            Page { slots: Box::new([Slot::FREE; PAGE_LEN]), in_use: 0 }
        });
        let place = &mut page.slots[at];
        let (comes, goes) = (u32::from(slot != Slot::FREE), u32::from(*place != Slot::FREE));
        page.in_use = page.in_use + comes - goes;
        self.in_use = self.in_use + comes - goes;
        *place = slot;
        // The first page is small enough to be kept by who comes and goes.
        if page.in_use == 0 && number > 0 {
            self.pages[number] = None;
            self.allocated -= 1;
        }
    }
}

/// The page of a handle and its place there.
fn place(handle: Handle) -> (usize, usize) {
    let number = usize::try_from(handle.number()).unwrap_or(usize::MAX);
    (number / PAGE_LEN, number % PAGE_LEN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handle(number: u32) -> Handle {
        Handle::new(number).unwrap()
    }

    fn numbers(handles: &Handles, from: u32) -> Vec<u32> {
        handles.from(from).map(|(handle, ..)| handle.number()).collect()
    }

    #[test]
    fn a_page_comes_with_its_first_handle_and_goes_with_its_last() {
        let mut handles = Handles::default();
        assert_eq!((handles.bytes(), handles.in_use(), numbers(&handles, 0)), (0, 0, vec![]));
        let lock = LockId::new(3, 9, 1);
        for number in [255, 1, 63] {
            handles.start(handle(number), lock);
        }
        handles.start_path(handle(64), 7);
        // The list has room for four pages, and takes sixteen bytes for each where an address has eight.
        assert_eq!((handles.bytes(), handles.in_use()), (3 * 512 + 4 * 16, 4));
        assert_eq!(handles.meaning(handle(1)), Some((3, LockRef::Id(lock))));
        assert_eq!(handles.meaning(handle(64)), Some((7, LockRef::Handle(handle(64)))));
        assert_eq!([2, 65, 128, 256].map(|number| handles.meaning(handle(number))), [None; 4]);
        assert_eq!(numbers(&handles, 0), [1, 63, 64, 255]);
        assert_eq!([64, 255, 256].map(|from| numbers(&handles, from).len()), [2, 1, 0]);
        handles.start(handle(64), lock);
        assert_eq!(handles.in_use(), 4, "a level of a path is made and stays one");
        handles.end(handle(1));
        assert_eq!((handles.bytes(), handles.in_use()), (3 * 512 + 4 * 16, 3), "63 stands in the same page");
        handles.end(handle(255));
        handles.end(handle(64));
        assert_eq!((handles.bytes(), numbers(&handles, 0)), (512 + 4 * 16, vec![63]));
        handles.end(handle(63));
        assert_eq!((handles.bytes(), handles.in_use()), (512 + 4 * 16, 0), "the first page is kept");
    }

    #[test]
    #[should_panic(expected = "a handle is freed once")]
    fn a_handle_is_freed_once() {
        let mut handles = Handles::default();
        handles.start_path(handle(5), 1);
        handles.end(handle(5));
        handles.end(handle(5));
    }
}
