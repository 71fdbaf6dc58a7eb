//! A store of objects with conditional writes, as S3 and its relatives have them, and the scalar gate kept in an
//! object's metadata.
//!
//! The store knows nothing of locks. It keeps bytes with metadata, gives each version a tag, and writes only if the
//! version that it has is the one that the writer has read: `If-Match: TAG`, or `If-None-Match: *` for an object that is
//! not there yet. The second half of this file is all that a client does with it; it never writes without a condition.

use enq::client::{Fence, FenceGate, Stale};
use std::{collections::BTreeMap, sync::Mutex};

/// Under which metadata name the gate is kept (`x-amz-meta-enq-fence` in S3).
pub(crate) const FENCE: &str = "enq-fence";

/// One version of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Object {
    pub(crate) body: Vec<u8>,
    pub(crate) metadata: BTreeMap<String, String>,
    /// The tag of this version. No other version of the object ever has it.
    pub(crate) tag: String,
}

/// When a put is to be done.
#[derive(Clone, Copy, Debug)]
pub(crate) enum If<'a> {
    /// The store's version has this tag.
    Match(&'a str),
    /// There is no such object.
    NoneMatch,
}

/// 412: the condition of a put does not hold, and nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PreconditionFailed;

/// See the front page.
#[derive(Debug, Default)]
pub(crate) struct Store {
    objects: Mutex<(BTreeMap<String, Object>, u64)>,
}

impl Store {
    pub(crate) fn get(&self, name: &str) -> Option<Object> {
        self.objects.lock().expect("nobody panics in here").0.get(name).cloned()
    }

    pub(crate) fn put(
        &self,
        name: &str,
        condition: If<'_>,
        body: &[u8],
        metadata: BTreeMap<String, String>,
    ) -> Result<(), PreconditionFailed> {
        let mut inside = self.objects.lock().expect("nobody panics in here");
        let holds = match (inside.0.get(name), condition) {
            (Some(there), If::Match(tag)) => there.tag == tag,
            (None, If::NoneMatch) => true,
            (None, If::Match(_)) | (Some(_), If::NoneMatch) => false,
        };
        if !holds {
            return Err(PreconditionFailed);
        }
        inside.1 += 1;
        let tag = format!("\"{:x}\"", inside.1);
        inside.0.insert(name.into(), Object { body: body.into(), metadata, tag });
        Ok(())
    }
}

/// Reads an object and raises its gate: the first thing to do after a grant. From the moment this returns, nobody with
/// an older fence writes it any more.
pub(crate) fn read(store: &Store, name: &str, fence: Fence) -> Result<Vec<u8>, Stale> {
    write(store, name, fence, |body| body.to_vec())
}

/// Changes an object under a fence, or refuses because a later holder was here.
///
/// A put that fails was overtaken by another one: the object is read again, gate and all, and the gate decides anew. A
/// put whose answer was lost in the network may have been done; `change` has to bear being done twice, or the object has
/// to say whose write it was.
pub(crate) fn write(
    store: &Store,
    name: &str,
    fence: Fence,
    change: impl Fn(&[u8]) -> Vec<u8>,
) -> Result<Vec<u8>, Stale> {
    loop {
        let seen = store.get(name);
        let object = seen.clone().unwrap_or_default();
        let mut gate: FenceGate = match object.metadata.get(FENCE) {
            Some(text) => text.parse().expect("only this function writes it"),
            None => FenceGate::default(),
        };
        gate.pass(fence)?;
        let body = change(&object.body);
        let mut metadata = object.metadata;
        metadata.insert(FENCE.into(), gate.to_string());
        let condition = if seen.is_some() { If::Match(&object.tag) } else { If::NoneMatch };
        if store.put(name, condition, &body, metadata) == Ok(()) {
            return Ok(body);
        }
    }
}
