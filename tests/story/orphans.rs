//! Orphans in a story: whose key finds them, who adopts them, and what a purge leaves.

use super::stage::{Stage, owner_of};
use super::words::Words;
use enq::engine::{Input, Under};
use enq_protocol::vocabulary::ResourceName;

impl Stage {
    /// `key s1 WORD`.
    pub(crate) fn orphan_key(&mut self, mut words: Words<'_>) -> Result<Vec<String>, String> {
        let (session, orphan_key) = (words.session()?, words.take("a key")?);
        words.end()?;
        self.orphan_keys.insert(session, orphan_key.into());
        Ok(Vec::new())
    }

    /// `adopt s2.b X MODE key WORD`, `adopt s2.c s2.b/Y MODE key WORD`.
    pub(crate) fn adopt(&mut self, mut words: Words<'_>) -> Result<Vec<String>, String> {
        let (name, place, mode) = (words.take("a lock")?, words.take("a resource")?, words.mode()?);
        let options = words.options(true)?;
        let ask = Self::ask(owner_of(name)?, mode, &options);
        let (under, resource) = match place.split_once('/') {
            Some((parent, resource)) => (Under::Parent(self.lock_ref(parent)?), resource),
            None => {
                let (space, resource) = self.place(place);
                (Under::Lockspace(space), resource)
            }
        };
        let resource = ResourceName::from_printable(resource).map_err(|why| why.to_string())?;
        let handle = self.cast.enter(name, ask.session, false)?;
        let orphan_key = options.orphan_key;
        self.cast.will_adopt(true);
        let told = match self.quotas.may_start(ask.session, &[handle]) {
            Ok(()) => {
                self.step(Input::Adopt { ask, handle, under, name: &resource, orphan_key }, Some(mode))?
            }
            Err(status) => vec![status.to_string()],
        };
        self.cast.will_adopt(false);
        self.undo_if_refused(&told, ask.session, &[handle])?;
        Ok(told)
    }

    /// `purge WORD [X]`: one step, from where the one before ended.
    pub(crate) fn purge(&mut self, mut words: Words<'_>) -> Result<Vec<String>, String> {
        let orphan_key = words.take("a key")?.as_bytes();
        let (lockspace, root) = self.place(words.take_any().unwrap_or_default());
        words.end()?;
        let root = Some(root).filter(|root| !root.is_empty()).map(ResourceName::from_printable).transpose();
        let root = root.map_err(|why| why.to_string())?;
        let from = self.purging.take();
        self.step(Input::Purge { lockspace, root: root.as_ref(), orphan_key, from }, None)
    }
}
