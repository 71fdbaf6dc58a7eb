//! Where something happened, in as few bytes as an entry of the flight recorder has for it: the end of a resource's path, and
//! for longer ones a hash of it all. Two paths are taken for one only if their ends and their hashes are the same.

use super::super::lock::ResourceSlot;
use super::super::resource::Resource;
use super::super::slab::Slab;
use enq_protocol::vocabulary::{LockspaceId, ResourceName};
use foldhash::fast::FixedState;
use std::hash::{BuildHasher as _, Hasher as _};

/// The bytes of a path that an entry keeps.
const KEPT_LEN: usize = 50;

/// The path of a resource as an entry keeps it: each name with its length in front, the leaf first.
#[derive(Clone, Copy, Debug)]
struct Kept {
    /// What is beyond `len` is left from an older entry.
    bytes: [u8; KEPT_LEN],
    len: u8,
    /// Does something of it not fit?
    is_cut: bool,
}

/// Where something happened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Where {
    pub(super) lockspace: LockspaceId,
    path: Kept,
    /// Of the whole path, if it is cut; otherwise 0.
    hash: u64,
}

impl Where {
    /// On no resource yet.
    pub(super) const NOWHERE: Where = Where {
        lockspace: LockspaceId(0),
        path: Kept { bytes: [0; KEPT_LEN], len: 0, is_cut: false },
        hash: 0,
    };

    /// On the resource with these names, leaf first.
    pub(super) fn new<'a>(lockspace: LockspaceId, names: impl Iterator<Item = &'a [u8]> + Clone) -> Where {
        let mut place = Where { lockspace, ..Where::NOWHERE };
        place.keep(names);
        place
    }

    /// Keeps the path of a resource of this lockspace.
    pub(super) fn keep_of(&mut self, resources: &Slab<Resource>, slot: ResourceSlot) {
        let resource = &resources[slot];
        self.lockspace = resource.lockspace;
        let name = resource.name.as_bytes();
        // Nearly all are roots with names that fit.
        match (resource.parent, self.path.bytes.get_mut(1..=name.len()), u8::try_from(name.len())) {
            (None, Some(bytes), Ok(len)) => {
                bytes.copy_from_slice(name);
                self.path.bytes[0] = len;
                (self.path.len, self.path.is_cut, self.hash) = (len + 1, false, 0);
            }
            _ => self.keep(names_of(resources, slot)),
        }
    }

    /// Keeps these names, leaf first.
    #[inline(never)]
    fn keep<'a>(&mut self, names: impl Iterator<Item = &'a [u8]> + Clone) {
        let path = &mut self.path;
        path.is_cut = false;
        let mut at = 0;
        for name in names.clone() {
            let room = KEPT_LEN - at;
            path.is_cut = name.len() >= room;
            if room < 2 {
                break;
            }
            let fitting = name.len().min(room - 1);
            path.bytes[at] = u8::try_from(name.len()).unwrap_or(u8::MAX);
            path.bytes[at + 1..=at + fitting].copy_from_slice(&name[..fitting]);
            at += 1 + fitting;
            if path.is_cut {
                break;
            }
        }
        path.len = u8::try_from(at).unwrap_or(u8::MAX);
        self.hash = if path.is_cut { hash_of(names) } else { 0 };
    }

    /// The names that were kept, the leaf last.
    pub(super) fn names(&self) -> Vec<ResourceName> {
        self.path.names()
    }

    /// Is not all of the path kept?
    pub(super) fn is_cut(&self) -> bool {
        self.path.is_cut
    }

    /// Is it the same resource?
    pub(super) fn is(&self, other: &Where) -> bool {
        let (path, others) = (&self.path, &other.path);
        self.lockspace == other.lockspace
            && path.is_cut == others.is_cut
            && self.hash == other.hash
            && path.kept() == others.kept()
    }
}

/// Tells paths apart of which only the ends are kept. No output depends on it.
fn hash_of<'a>(names: impl Iterator<Item = &'a [u8]>) -> u64 {
    let mut hasher = FixedState::with_seed(0).build_hasher();
    for name in names {
        hasher.write_usize(name.len());
        hasher.write(name);
    }
    hasher.finish()
}

impl Kept {
    fn kept(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// The names, root first, as far as they were kept.
    fn names(&self) -> Vec<ResourceName> {
        let mut rest = self.kept();
        let mut names = Vec::new();
        while let [len, after @ ..] = rest {
            let (name, after) = after.split_at(after.len().min(usize::from(*len)));
            names.extend(ResourceName::new(name));
            rest = after;
        }
        names.reverse();
        names
    }
}

/// The names of a resource, leaf first.
pub(super) fn names_of(
    resources: &Slab<Resource>,
    slot: ResourceSlot,
) -> impl Iterator<Item = &[u8]> + Clone {
    std::iter::successors(Some(slot), |slot| resources[*slot].parent)
        .map(|slot| resources[slot].name.as_bytes())
}
