//! The state image of the table: all that decides how later inputs come out, as bytes and back (`docs/image.md`).
//!
//! Nobody may step a shard or execute for a session meanwhile: what is read under one mutex would not go with what is read
//! under the next. Mutexes are taken in their order all the same.
//!
//! What the process has for itself is not in it: connections, leases, the memory budget, flight recorders, records of
//! deadlocks, what limits were reached. In a table that comes out of an image the next search for deadlocks is due at once,
//! and leases run from where their sessions were opened: whoever serves it renews them before one can end.

use super::{
    About, Memory, OutHalf, SHARDS, SessionCell, ShardCell, Share, Table, closed::Closed, deadlocks, history,
    memory::Pool, reached::Reached, route::Router, spaces::Spaces, waits,
};
use crate::engine::{
    Instant, Local, Shard,
    image::{Bad, Image, Reader, Writer, fields},
    session::{Bounds, Register},
};
use crossbeam_utils::CachePadded;
use dashmap::DashMap;
use enq_protocol::vocabulary::SessionId;
use parking_lot::Mutex;
use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};
use xxhash_rust::xxh3::xxh3_64;

/// The version of the layout: of any change of what an image says, or in which order.
const VERSION: u64 = 1;

fields! { About { name, purpose, host, pid, peer, ttl_ms, bound, secret, orphan_key } }

impl Table {
    /// Writes the image of the whole table behind what is there. The caller sees to it that nothing is stepped or executed
    /// meanwhile.
    pub fn put_image(&self, behind: &mut Vec<u8>) {
        let Table {
            shards,
            router,
            sessions: _,
            next_session,
            closed,
            deadlocks: _,
            past: _,
            spaces,
            bounds,
            limits,
            recovering_until,
            memory: _,
            reached: _,
            waits: _,
            longest_look: _,
            is_judged_before: _,
        } = self;
        // The limits of sessions are those of the table, and a test's mistake is no state.
        let Bounds { locks: _, waiting: _, window_requests, window_bytes, planted: _ } = bounds;
        /// About what a lock takes with its resource and its handle, so that most room is made at once.
        const A_LOCK: usize = 96;
        let locks: usize = shards.iter().map(|cell| cell.shard.lock().lock_count()).sum();
        behind.reserve(locks * A_LOCK);
        let mut to = Writer::behind(std::mem::take(behind));
        VERSION.write(&mut to);
        limits.write(&mut to);
        window_requests.write(&mut to);
        window_bytes.write(&mut to);
        router.key().write(&mut to);
        next_session.load(Ordering::Relaxed).write(&mut to);
        recovering_until.write(&mut to);
        let sessions = self.all_sessions();
        sessions.len().write(&mut to);
        for cell in sessions {
            cell.put_image(&mut to);
        }
        let closed: Vec<_> =
            closed.lock().all().map(|(until, cell, weight)| (until, Arc::clone(cell), weight)).collect();
        closed.len().write(&mut to);
        for (until, cell, weight) in closed {
            until.write(&mut to);
            weight.write(&mut to);
            cell.put_image(&mut to);
        }
        spaces.lock().write(&mut to);
        for cell in shards {
            cell.shard.lock().put_image(&mut to);
        }
        *behind = to.into_bytes();
    }

    /// The table with this image, and nothing else: it goes on as the one that was written.
    ///
    /// # Errors
    /// The bytes are not the image of a table, or one of another version.
    pub fn from_image(bytes: &[u8], local: &Local) -> Result<Table, Bad> {
        let mut reader = Reader::new(bytes);
        let from = &mut reader;
        from.version(VERSION)?;
        let limits = local.bounded(Image::read(from)?);
        let bounds = Bounds {
            locks: limits.locks_a_session,
            waiting: limits.waiting_a_session,
            window_requests: Image::read(from)?,
            window_bytes: Image::read(from)?,
            planted: local.planted,
        };
        let memory = Memory::new(limits.memory);
        let router = Router::new(Image::read(from)?);
        let next_session: u64 = Image::read(from)?;
        let recovering_until = Image::read(from)?;
        let sessions = read_sessions(from, &memory, bounds)?;
        let closed = read_closed(from, &memory, bounds)?;
        let spaces = Spaces::read(from)?;
        from.ensure(spaces.are_whole(), "lockspaces whose numbers do not go together")?;
        let mut shards = Vec::with_capacity(SHARDS);
        for number in 0..=u8::MAX {
            let shard = Shard::from_image(from, local)?;
            from.ensure(shard.place().shard() == u64::from(number), "a shard in the place of another")?;
            shards.push(CachePadded::new(ShardCell::holding(shard, &memory)));
        }
        from.end()?;
        let deadlocks = deadlocks::Deadlocks::default();
        deadlocks.note(Instant::START);
        Ok(Table {
            shards: shards.into(),
            router,
            sessions,
            next_session: AtomicU64::new(next_session),
            closed: Mutex::new(closed),
            deadlocks,
            past: history::Past::new(&memory, limits.history > 0),
            spaces: Mutex::new(spaces),
            bounds,
            limits,
            recovering_until,
            memory,
            reached: Reached::default(),
            waits: waits::Shared::default(),
            longest_look: AtomicUsize::new(0),
            is_judged_before: true,
        })
    }

    /// The key that routes names to shards.
    #[must_use]
    pub fn route_key(&self) -> [u8; 16] {
        self.router.key()
    }

    /// What tells one state from another: two tables that have taken the same inputs have the same.
    #[must_use]
    pub fn state_hash(&self) -> u64 {
        let mut bytes = Vec::new();
        self.put_image(&mut bytes);
        xxh3_64(&bytes)
    }

    /// The last moment that any shard has seen: time goes on from there.
    #[must_use]
    pub fn last_moment(&self) -> Instant {
        self.shards.iter().map(|cell| cell.shard.lock().last_moment()).max().unwrap_or_default()
    }
}

impl SessionCell {
    fn put_image(&self, to: &mut Writer) {
        self.id.write(to);
        self.opened.write(to);
        self.about.write(to);
        let register = self.in_half.lock();
        let half = self.out_half.lock();
        register.put_image(&half.outgoing, to);
    }

    /// One that nobody is connected to.
    fn from_image(from: &mut Reader<'_>, memory: &Arc<Memory>, bounds: Bounds) -> Result<SessionCell, Bad> {
        let (id, opened, about) = (Image::read(from)?, Image::read(from)?, Image::read(from)?);
        let (register, outgoing) = Register::from_image(from, bounds)?;
        let cell = SessionCell::new(memory, (id, opened, about), register, OutHalf::default());
        {
            let mut half = cell.out_half.lock();
            half.outgoing = outgoing;
            cell.shares.count_out(&half.outgoing);
        }
        cell.publish(&cell.in_half.lock());
        Ok(cell)
    }
}

/// By id, each once.
fn read_sessions(
    from: &mut Reader<'_>,
    memory: &Arc<Memory>,
    bounds: Bounds,
) -> Result<DashMap<SessionId, Arc<SessionCell>>, Bad> {
    let sessions = DashMap::new();
    let mut last = None;
    for _ in 0..from.count()? {
        let cell = SessionCell::from_image(from, memory, bounds)?;
        from.ensure(last.replace(cell.id) < Some(cell.id), "sessions out of order")?;
        from.ensure(!cell.in_half.lock().has_ended(), "a session that has ended")?;
        sessions.insert(cell.id, Arc::new(cell));
    }
    Ok(sessions)
}

/// By when they are forgotten, each once.
fn read_closed(from: &mut Reader<'_>, memory: &Arc<Memory>, bounds: Bounds) -> Result<Closed, Bad> {
    let mut closed = Closed::default();
    let mut last = None;
    for _ in 0..from.count()? {
        let (until, weight) = (Instant::read(from)?, usize::read(from)?);
        let cell = SessionCell::from_image(from, memory, bounds)?;
        let entry = (until, cell.id);
        from.ensure(last.replace(entry) < Some(entry), "closed sessions out of order")?;
        from.ensure(cell.in_half.lock().has_ended(), "a closed session that goes on")?;
        cell.out_half.lock().ended = true;
        from.ensure(closed.keep_again(until, Arc::new(cell), weight), "a session that was closed twice")?;
    }
    Ok(closed)
}

impl ShardCell {
    /// One that is due when the shard says so.
    fn holding(shard: Shard, memory: &Arc<Memory>) -> ShardCell {
        let share = Share::new(memory, Pool::Table);
        share.count(shard.bytes());
        let due = match shard.next_deadline() {
            _ if shard.has_ending() => 0,
            Some(deadline) => deadline.0,
            None => u64::MAX,
        };
        ShardCell { shard: Mutex::new(shard), due: AtomicU64::new(due), share }
    }
}

#[cfg(test)]
mod tests;
