//! Who waits for whom, for people: some requests, what is in their way, what those parties wait for, and so on.
//!
//! The search asks who can never go on; whoever looks asks why somebody does not go on now. So hints that take somebody
//! out of the search (NODLCKWT, NODLCKBLK) mean nothing here: who has given them waits and blocks all the same. Which
//! waits make a deadlock is the search's word, and is only passed on.
//!
//! Of the locks that are merely ahead in a queue the nearest is shown, which keeps the picture of a long queue as long
//! as the queue. It has to wait for those ahead of itself, unless it ignores the order; so the walk goes on past those
//! that do.

use super::{
    super::shard::{Map, map},
    Copied, Cycle, Party, Seat,
};
use enq_protocol::vocabulary::{EdgeWhy, Flags, LockId, LockMode};
use std::collections::VecDeque;

/// A lock of the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The lock as it was copied.
    pub seat: Seat,
    /// Its place among those that wait or convert there, from 1; 0 while it is granted.
    pub position: u32,
    /// How many wait or convert there.
    pub queued: u32,
}

/// A wait of the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// The request, among the locks of the picture.
    pub waiting: usize,
    /// What it waits for.
    pub blocker: usize,
    /// Why.
    pub why: EdgeWhy,
    /// The deadlock it belongs to, from 1; 0 if to none.
    pub deadlock: u32,
}

/// The picture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Picture {
    /// The locks, each once, those nearest to the beginning first.
    pub locks: Vec<Standing>,
    /// The waits, in the same order.
    pub waits: Vec<Line>,
    /// Were there more waits than were asked for?
    pub is_cut: bool,
}

/// Makes the picture, from the requests for which `begins` is true; at most so many waits.
pub fn picture(copied: &Copied, cycles: &[Cycle], begins: impl Fn(&Seat) -> bool, max: usize) -> Picture {
    let mut drawing = Drawing::new(copied, cycles);
    let seats = copied.seats.iter().enumerate();
    for (at, _) in seats.filter(|(_, seat)| seat.wanted.is_some() && begins(seat)) {
        drawing.look_at(at);
    }
    drawing.draw(max);
    drawing.picture
}

struct Drawing<'a> {
    copied: &'a Copied,
    /// For each party, its requests.
    requests: Map<Party, Vec<usize>>,
    /// Of each resource and mode, who holds what clashes with it.
    clashing: Map<(u32, LockMode), Vec<usize>>,
    /// The waits that are in a cycle, by their request: the blocker, why, and which cycle.
    in_cycles: Map<LockId, Vec<(LockId, EdgeWhy, usize)>>,
    /// The number in the picture of each cycle that was reached.
    numbers: Map<usize, u32>,
    /// Where a lock is in the picture. A resource may have been copied twice: the first copy counts.
    shown: Map<LockId, usize>,
    seen: Map<LockId, ()>,
    next: VecDeque<usize>,
    picture: Picture,
}

impl<'a> Drawing<'a> {
    fn new(copied: &'a Copied, cycles: &[Cycle]) -> Drawing<'a> {
        let mut requests: Map<Party, Vec<usize>> = map(0);
        for (at, seat) in copied.seats.iter().enumerate().filter(|(_, seat)| seat.wanted.is_some()) {
            if let Some(party) = seat.party {
                requests.entry(party).or_default().push(at);
            }
        }
        let mut in_cycles: Map<LockId, Vec<(LockId, EdgeWhy, usize)>> = map(0);
        for (number, cycle) in cycles.iter().enumerate() {
            for wait in &cycle.waits {
                let waits = in_cycles.entry(wait.waiting.lock).or_default();
                waits.push((wait.blocker.lock, wait.why, number));
            }
        }
        Drawing {
            copied,
            requests,
            clashing: map(0),
            in_cycles,
            numbers: map(0),
            shown: map(0),
            seen: map(0),
            next: VecDeque::new(),
            picture: Picture::default(),
        }
    }

    /// Its waits are to be drawn.
    fn look_at(&mut self, request: usize) {
        if self.seen.insert(self.copied.seats[request].lock, ()).is_none() {
            self.next.push_back(request);
        }
    }

    fn draw(&mut self, max: usize) {
        while let Some(request) = self.next.pop_front() {
            let waiting = self.show(request);
            for (blocker, why) in self.in_the_way(request) {
                if self.picture.waits.len() == max {
                    self.picture.is_cut = true;
                    return;
                }
                let deadlock = self.deadlock_of(request, blocker);
                let shown = self.show(blocker);
                self.picture.waits.push(Line { waiting, blocker: shown, why, deadlock });
                self.look_at_all(blocker);
            }
        }
    }

    /// All requests of a party that is in the way. One whose end is under way waits for nothing.
    fn look_at_all(&mut self, blocker: usize) {
        let seat = &self.copied.seats[blocker];
        let requests = seat.party.filter(|_| !seat.is_ending).and_then(|party| self.requests.get(&party));
        for request in requests.cloned().unwrap_or_default() {
            self.look_at(request);
        }
    }

    fn show(&mut self, at: usize) -> usize {
        let seat = self.copied.seats[at];
        let locks = &mut self.picture.locks;
        *self.shown.entry(seat.lock).or_insert_with(|| {
            let queued = self.copied.queues_of(at).queued();
            let position = if queued.contains(&at) { at - queued.start + 1 } else { 0 };
            let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
            locks.push(Standing { seat, position: number(position), queued: number(queued.len()) });
            locks.len() - 1
        })
    }

    /// What is in the way of a request: who holds what clashes, then who is ahead; and whatever the search says besides.
    fn in_the_way(&mut self, request: usize) -> Vec<(usize, EdgeWhy)> {
        let copied = self.copied;
        let lock = &copied.seats[request];
        let Some(wanted) = lock.wanted else { return Vec::new() };
        let queues = copied.queues_of(request);
        let clashes = |at: &usize| copied.seats[*at].held.is_some_and(|held| !held.is_compatible(wanted));
        let holding = self.clashing.entry((copied.of[request], wanted));
        let holding = holding.or_insert_with(|| queues.holding().filter(clashes).collect());
        let held = holding.iter().copied().filter(|at| *at != request).map(|at| (at, EdgeWhy::Held));
        let mut all: Vec<(usize, EdgeWhy)> = held.collect();
        let ahead = if lock.flags.contains(Flags::NOORDER) { 0..0 } else { queues.queued().start..request };
        for at in ahead.rev() {
            if !clashes(&at) {
                all.push((at, EdgeWhy::Ahead));
            }
            if !copied.seats[at].flags.contains(Flags::NOORDER) {
                break;
            }
        }
        for (blocker, why, _) in self.in_cycles.get(&lock.lock).into_iter().flatten() {
            let all_locks = queues.granted.start..queues.waiting.end;
            let at = all_locks.into_iter().find(|at| copied.seats[*at].lock == *blocker);
            if let Some(at) = at.filter(|at| all.iter().all(|(known, _)| known != at)) {
                all.push((at, *why));
            }
        }
        all
    }

    /// The number of the deadlock that a wait belongs to: in the order in which they are reached.
    fn deadlock_of(&mut self, request: usize, blocker: usize) -> u32 {
        let (waiting, blocker) = (self.copied.seats[request].lock, self.copied.seats[blocker].lock);
        let waits = self.in_cycles.get(&waiting).into_iter().flatten();
        let Some(cycle) = waits.into_iter().find(|wait| wait.0 == blocker).map(|wait| wait.2) else {
            return 0;
        };
        let next = u32::try_from(self.numbers.len() + 1).unwrap_or(u32::MAX);
        *self.numbers.entry(cycle).or_insert(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{
        Instant,
        deadlock::{Due, Rule, search},
    };
    use enq_protocol::vocabulary::{LockspaceId, Owner, Seq, SessionId, Stamp};

    fn seat(slot: u32, session: u64, modes: (Option<LockMode>, Option<LockMode>), flags: Flags) -> Seat {
        Seat {
            lock: LockId::new(0, slot, 1),
            party: Some(Party { session: SessionId(session), owner: Owner::default() }),
            is_ending: false,
            lockspace: LockspaceId(0),
            held: modes.0,
            wanted: modes.1,
            stamp: Stamp(slot.into()),
            seq: Seq::default(),
            since: Instant::START,
            priority: 0,
            flags,
        }
    }

    fn drawn(copied: &Copied, begins: u32) -> Vec<(u32, u32, EdgeWhy, u32)> {
        let cycles = search(Due::All, copied, |_| Rule::default(), |_| 0);
        let picture = picture(copied, &cycles, |seat| seat.lock.slot() == begins, 100);
        assert!(!picture.is_cut);
        let slot = |at: usize| picture.locks[at].seat.lock.slot();
        let lines = picture.waits.iter();
        lines.map(|line| (slot(line.waiting), slot(line.blocker), line.why, line.deadlock)).collect()
    }

    const EX: Option<LockMode> = Some(LockMode::Ex);
    const PR: Option<LockMode> = Some(LockMode::Pr);

    #[test]
    fn of_a_queue_the_nearest_is_shown_and_the_way_goes_on_through_its_party() {
        let mut copied = Copied::default();
        let granted = [seat(1, 1, (EX, None), Flags::NONE)];
        let waiting = [
            seat(2, 2, (None, PR), Flags::NONE),
            // Nobody in the search's eyes, but it waits, and it is in the way.
            seat(3, 3, (None, PR), Flags::NOORDER | Flags::NODLCKBLK | Flags::NODLCKWT),
            seat(4, 4, (None, PR), Flags::NONE),
        ];
        copied.add(granted, [], waiting);
        copied.add([seat(5, 9, (EX, None), Flags::NODLCKBLK)], [], [seat(6, 1, (None, EX), Flags::NONE)]);
        let (held, ahead) = (EdgeWhy::Held, EdgeWhy::Ahead);
        let expected = [
            (4, 1, held, 0),
            (4, 3, ahead, 0),
            (4, 2, ahead, 0),
            (6, 5, held, 0),
            (3, 1, held, 0),
            (2, 1, held, 0),
        ];
        assert_eq!(drawn(&copied, 4), expected);
        let cycles = [];
        let cut = picture(&copied, &cycles, |seat| seat.lock.slot() == 4, 2);
        assert!(cut.is_cut && cut.waits.len() == 2);
        let places: Vec<_> = cut.locks.iter().map(|lock| (lock.position, lock.queued)).collect();
        assert_eq!(places, [(3, 3), (0, 3), (2, 3)]);
    }

    #[test]
    fn a_deadlock_is_marked_and_what_merely_leads_there_is_not() {
        let mut copied = Copied::default();
        let none = Flags::NONE;
        copied.add([seat(1, 1, (EX, None), none)], [], [seat(2, 2, (None, EX), none)]);
        copied.add(
            [seat(3, 2, (EX, None), none)],
            [],
            [seat(4, 1, (None, EX), none), seat(5, 3, (None, EX), none)],
        );
        let lines = drawn(&copied, 5);
        let marked: Vec<_> = lines.iter().filter(|line| line.3 == 1).map(|line| (line.0, line.1)).collect();
        assert_eq!(marked.len(), 2, "{lines:?}");
        assert!(marked.contains(&(2, 1)) && marked.contains(&(4, 3)), "{lines:?}");
        assert!(lines.iter().all(|line| line.0 != 5 || line.3 == 0), "{lines:?}");
    }

    /// 4 would be shown to wait for 3 alone, who is nearest; but the ring is closed by 2, who is ahead of both.
    #[test]
    fn a_wait_of_a_deadlock_is_shown_although_it_is_not_the_nearest() {
        let mut copied = Copied::default();
        let none = Flags::NONE;
        let waiting =
            [seat(2, 2, (None, PR), none), seat(3, 3, (None, PR), none), seat(4, 4, (None, EX), none)];
        copied.add([seat(1, 1, (EX, None), none)], [], waiting);
        copied.add([seat(5, 4, (EX, None), none)], [], [seat(6, 2, (None, EX), none)]);
        let (held, ahead) = (EdgeWhy::Held, EdgeWhy::Ahead);
        let lines = drawn(&copied, 4);
        assert_eq!(lines[..3], [(4, 1, held, 0), (4, 3, ahead, 0), (4, 2, ahead, 1)]);
        assert!(lines.contains(&(6, 5, held, 1)) && lines.iter().filter(|line| line.3 > 0).count() == 2);
    }
}
