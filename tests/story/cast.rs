//! Who is who in a story: the names of locks, their handles and ids, and the lockspaces.
//!
//! It also keeps the books that hold for every story: a handle is freed exactly once, no id is used twice, seqs only
//! rise, and a blocking notice is about the lock's last grant.

use enq_protocol::vocabulary::{Fence, Grant, Handle, LockId, LockspaceId, Seq, SessionId};

/// One lock of the story.
pub(crate) struct Actor {
    /// What the story calls it.
    pub(crate) name: String,
    /// Whose it is.
    pub(crate) session: SessionId,
    /// The session's number for it.
    pub(crate) handle: Handle,
    /// Its id, once it is known.
    pub(crate) id: Option<LockId>,
    /// Is it a level of a path that was not granted at once, so that its id may not be known to the register?
    pub(crate) by_path: bool,
    /// Is its handle in use?
    pub(crate) live: bool,
    /// The seq of its last grant.
    pub(crate) seq: Seq,
}

/// All names of a story.
#[derive(Default)]
pub(crate) struct Cast {
    actors: Vec<Actor>,
    by_handle: std::collections::BTreeMap<(SessionId, Handle), usize>,
    by_name: std::collections::BTreeMap<String, usize>,
    by_id: std::collections::BTreeMap<LockId, usize>,
    lowest: std::collections::BTreeMap<SessionId, u32>,
    spaces: Vec<String>,
    grants: Vec<Seq>,
    gone: Vec<SessionId>,
    adopting: bool,
}

/// An id that no lock ever had.
pub(crate) const NO_LOCK: LockId = LockId::new(0, LockId::SLOT_MAX, 0);

impl Cast {
    /// How many locks a session has.
    pub(crate) fn locks_of(&self, session: SessionId) -> u32 {
        let live = self.actors.iter().filter(|actor| actor.live && actor.session == session);
        u32::try_from(live.count()).unwrap_or(u32::MAX)
    }

    /// A new lock enters, perhaps under the name of one that has gone.
    pub(crate) fn enter(&mut self, name: &str, session: SessionId, by_path: bool) -> Result<Handle, String> {
        if self.find(name).is_some_and(|actor| actor.live) {
            return Err(format!("{name} is there already"));
        }
        let handle = self.free_handle(session).ok_or("too many locks")?;
        let actor = Actor { name: name.into(), session, handle, id: None, by_path, live: true, seq: Seq(0) };
        self.by_handle.insert((session, handle), self.actors.len());
        self.by_name.insert(name.into(), self.actors.len());
        self.actors.push(actor);
        Ok(handle)
    }

    /// The lowest handle that stands for nothing, as a client would choose it.
    fn free_handle(&mut self, session: SessionId) -> Option<Handle> {
        let (actors, by_handle) = (&self.actors, &self.by_handle);
        let is_free = |handle: &Handle| by_handle.get(&(session, *handle)).is_none_or(|at| !actors[*at].live);
        let lowest = self.lowest.entry(session).or_insert(1);
        let handle = (*lowest..u32::MAX).filter_map(Handle::new).find(is_free)?;
        *lowest = handle.number() + 1;
        Some(handle)
    }

    /// The last lock of this name.
    pub(crate) fn find(&self, name: &str) -> Option<&Actor> {
        self.by_name.get(name).map(|at| &self.actors[*at])
    }

    /// The last lock of this name, which must have been in the story.
    pub(crate) fn named(&self, name: &str) -> Result<&Actor, String> {
        self.find(name).ok_or(format!("no lock: {name}"))
    }

    /// What the story calls the lock with this handle.
    pub(crate) fn name_of(&self, session: SessionId, handle: Handle) -> &str {
        self.by_handle.get(&(session, handle)).map_or("?", |at| &self.actors[*at].name)
    }

    /// What the story calls the lock with this id.
    pub(crate) fn name_of_id(&self, id: LockId) -> &str {
        self.by_id.get(&id).map_or("?", |at| &self.actors[*at].name)
    }

    fn at(&self, session: SessionId, handle: Handle) -> Result<usize, String> {
        let at = self.by_handle.get(&(session, handle));
        at.copied().ok_or(format!("session {} has no lock {handle}", session.0))
    }

    /// The id of a lock becomes known. It is its own for ever.
    pub(crate) fn learn(&mut self, session: SessionId, handle: Handle, id: LockId) -> Result<(), String> {
        let at = self.at(session, handle)?;
        if std::mem::take(&mut self.adopting) {
            self.by_id.insert(id, at);
        }
        let owner = *self.by_id.entry(id).or_insert(at);
        self.actors[at].id = Some(id);
        if owner == at { Ok(()) } else { Err(format!("{} has the id of another lock", self.actors[at].name)) }
    }

    /// The next id that becomes known is an orphan's, which had another name before.
    pub(crate) fn will_adopt(&mut self, will: bool) {
        self.adopting = will;
    }

    /// A grant: its id, and its seq, which is greater than all before it.
    pub(crate) fn granted(&mut self, session: SessionId, grant: &Grant) -> Result<(), String> {
        self.learn(session, grant.handle, grant.lock)?;
        if self.grants.last().is_some_and(|last| *last >= grant.seq) {
            return Err(format!(
                "F1: the seq of {} is not greater than the last",
                self.name_of(session, grant.handle)
            ));
        }
        self.grants.push(grant.seq);
        let at = self.at(session, grant.handle)?;
        self.actors[at].seq = grant.seq;
        Ok(())
    }

    /// A path was granted in its answer: from now on its handles stand for locks with known ids.
    pub(crate) fn arrive(&mut self, session: SessionId, handle: Handle) -> Result<(), String> {
        let at = self.at(session, handle)?;
        self.actors[at].by_path = false;
        Ok(())
    }

    /// A handle becomes free, which happens once.
    pub(crate) fn freed(&mut self, session: SessionId, handle: Handle) -> Result<(), String> {
        let at = self.at(session, handle)?;
        let was_live = std::mem::replace(&mut self.actors[at].live, false);
        let lowest = self.lowest.entry(session).or_insert(1);
        *lowest = handle.number().min(*lowest);
        if was_live { Ok(()) } else { Err(format!("the handle of {} is freed twice", self.actors[at].name)) }
    }

    /// A session is no longer there to be told anything.
    pub(crate) fn leave(&mut self, session: SessionId) {
        self.gone.push(session);
        for actor in self.actors.iter_mut().filter(|actor| actor.session == session) {
            actor.live = false;
        }
    }

    /// Has the session left?
    pub(crate) fn has_left(&self, session: SessionId) -> bool {
        self.gone.contains(&session)
    }

    /// The names of all locks that are there.
    pub(crate) fn live(&self) -> impl Iterator<Item = &str> {
        self.actors.iter().filter(|actor| actor.live).map(|actor| actor.name.as_str())
    }

    /// Which grant of the story this was: 1 for the first; 0 for no grant.
    pub(crate) fn rank(&self, seq: Seq) -> usize {
        self.grants.binary_search(&seq).map_or(0, |at| at + 1)
    }

    /// The grant a fence comes from.
    pub(crate) fn rank_of_fence(&self, fence: Fence) -> String {
        match (fence, self.rank(Seq(fence.0))) {
            (Fence::UNFENCED, _) => "none".into(),
            (_, 0) => "unknown".into(),
            (_, rank) => rank.to_string(),
        }
    }

    /// The number of a lockspace; `default` is 0, others are numbered as they come.
    pub(crate) fn space(&mut self, name: &str) -> LockspaceId {
        if name == "default" {
            return LockspaceId(0);
        }
        let at = self.spaces.iter().position(|known| known == name).unwrap_or_else(|| {
            self.spaces.push(name.into());
            self.spaces.len() - 1
        });
        LockspaceId(u32::try_from(at).unwrap_or(u32::MAX - 1) + 1)
    }
}
