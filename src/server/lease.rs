//! Leases: a session lives as long as it is heard of, and so much longer.
//!
//! A frame that comes costs a timestamp. The wheel holds each session once, at a moment at which its lease *might* have
//! ended; it is looked at then, and put back if it was heard of since. A lease ends late, never early. What a round does
//! is bounded, so that the end of very many sessions holds up nobody who renews.
//!
//! A server that was not running for more than a quarter of a lease gives that time back to who was not heard of since,
//! and ends nobody before it had time to read what came meanwhile. To do so it walks through nobody's sessions: it notes
//! when it was away, and counts that in when it looks at a lease.

use super::{House, Shared, deadlock::Watch, long_wait, wheel::Wheel};
use crate::{
    engine::{Instant, Mistake},
    table::{Scratch, SessionCell},
};
use enq_protocol::vocabulary::SessionId;
use parking_lot::Mutex;
use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// How often deadlines and leases are looked at.
pub const ROUND: Duration = Duration::from_millis(10);

/// Leases that are looked at in one round: more than a million sessions need that renew every five seconds.
const LOOKS_A_ROUND: usize = 4_096;

/// Sessions that end in one round: a hundred thousand take five seconds, in which everybody else is served.
const ENDS_A_ROUND: usize = 200;

/// Locks that such sessions may have together; whoever comes after that waits for the next round.
const LOCKS_A_ROUND: u64 = 10_000;

/// A stall below this is nobody's business: a quarter of the shortest lease. It is also how long everybody's socket may
/// take to be read after one.
const STALL_NS_MIN: u64 = 250_000_000;

/// Stalls that are remembered; older ones are joined.
const STALLS: usize = 64;

/// When to look at which lease.
#[derive(Debug, Default)]
pub(super) struct Leases {
    wheel: Mutex<Wheel>,
}

impl Leases {
    /// Looks after the lease of a new session.
    pub(super) fn watch(&self, cell: &SessionCell) {
        self.wheel.lock().insert(cell.lease_end(), cell.id);
    }
}

/// Lets time pass for the table and the leases, until the server stops.
pub(super) async fn pass_time(shared: &Arc<Shared>, stop: &CancellationToken) {
    let mut passing = Passing::new(shared.clock.now());
    let mut watch = Watch::default();
    let mut long_waits = long_wait::Watch::new(shared.log_wait_after);
    let mut rounds = tokio::time::interval(ROUND);
    rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while stop.run_until_cancelled(rounds.tick()).await.is_some() {
        // Whoever has something to read comes first. If that takes long, it counts as a stall.
        tokio::task::yield_now().await;
        let now = shared.clock.now();
        passing.round(&shared.house, now);
        watch.look(shared, now);
        long_waits.look(shared, now);
    }
}

/// Time as it passes for a house, in rounds: pure, for whoever has a clock.
#[derive(Debug)]
pub struct Passing {
    last: Instant,
    scratch: Scratch,
    stalls: Stalls,
    /// Nobody ends before, for what came during a stall is being read.
    quiet_until: Instant,
    /// Sessions whose leases have ended, as far as is known, the earliest first.
    due: BinaryHeap<Reverse<(Instant, SessionId)>>,
    /// Room that is used again: who was taken from the wheel, and who goes back.
    taken: Vec<SessionId>,
    back: Vec<(Instant, SessionId)>,
}

impl Passing {
    /// It begins to pass now.
    #[must_use]
    pub fn new(now: Instant) -> Passing {
        Passing {
            last: now,
            scratch: Scratch::default(),
            stalls: Stalls::default(),
            quiet_until: Instant::START,
            due: BinaryHeap::new(),
            taken: Vec::new(),
            back: Vec::new(),
        }
    }

    /// A round: deadlines fire, ends go on, and leases end, unless there was no round for so long that nobody could be
    /// heard.
    pub fn round(&mut self, house: &House, now: Instant) {
        let away = now.0.saturating_sub(self.last.0);
        self.last = now;
        house.log.pass_time(now, &mut self.scratch);
        house.say_trouble();
        for session in house.log.take_opened() {
            if let Some(cell) = house.log.table().session(session) {
                house.leases.watch(&cell);
            }
        }
        let planted = house.log.table().bounds().planted;
        if away > STALL_NS_MIN && !planted.is(Mistake::StallIsNotGivenBack) {
            tracing::warn!(milliseconds = away / 1_000_000, "the server did not run; leases are extended");
            self.stalls.note(now, away);
            self.quiet_until = Instant(now.0.saturating_add(STALL_NS_MIN));
            house.metrics.stalls.fetch_add(1, Ordering::Relaxed);
            house.metrics.stalled_ms.fetch_add(away / 1_000_000, Ordering::Relaxed);
        }
        self.look(house, now);
        if now >= self.quiet_until {
            self.end(house, now);
        }
        if !self.back.is_empty() {
            let mut wheel = house.leases.wheel.lock();
            for (moment, session) in self.back.drain(..) {
                wheel.insert(moment, session);
            }
        }
    }

    /// Looks at the sessions whose leases might have ended by now.
    fn look(&mut self, house: &House, now: Instant) {
        house.leases.wheel.lock().take_due(now, LOOKS_A_ROUND, &mut self.taken);
        for session in self.taken.drain(..) {
            let Some(cell) = house.log.table().session(session) else { continue };
            let end = self.stalls.end_of(cell.heard_at(), cell.about.ttl_ms);
            if end > now {
                self.back.push((end, session));
            } else {
                self.due.push(Reverse((end, session)));
            }
        }
    }

    /// Ends the sessions that were not heard of for a whole lease, in the order in which these ended.
    fn end(&mut self, house: &House, now: Instant) {
        let all = house.log.table().bounds().planted.is(Mistake::AllLeasesEndInOneRound);
        let (mut ended, mut locks) = (0, 0);
        while (ended < ENDS_A_ROUND && locks < LOCKS_A_ROUND) || all {
            let Some(Reverse((_, session))) = self.due.pop() else { return };
            let Some(cell) = house.log.table().session(session) else { continue };
            let mut register = cell.in_half.lock();
            if register.has_ended() {
                continue;
            }
            // What it asked is on its way: it has been heard of, whatever holds that up.
            if register.under_way().is_some() {
                cell.renew(now);
            }
            // Whoever served the session until now may have heard of it.
            let end = self.stalls.end_of(cell.heard_at(), cell.about.ttl_ms);
            if end > now {
                self.back.push((end, session));
                continue;
            }
            let its_locks = register.locks();
            house.log.kill(now, (&cell, &mut register), &mut self.scratch);
            ended += 1;
            locks += u64::from(its_locks);
            house.metrics.leases_ended.fetch_add(1, Ordering::Relaxed);
            let name = &cell.about.name;
            tracing::info!(session = %cell.id, name, locks = its_locks, "session ended: its lease ran out");
        }
    }
}

/// When the server was away, and for how long: the latest last.
#[derive(Debug, Default)]
struct Stalls {
    recent: VecDeque<(Instant, u64)>,
}

impl Stalls {
    /// It is noticed now that nothing ran for so long.
    fn note(&mut self, now: Instant, away: u64) {
        self.recent.push_back((now, away));
        if self.recent.len() > STALLS
            && let (Some((_, first)), Some((_, second))) = (self.recent.pop_front(), self.recent.front_mut())
        {
            // Late, never early: who was heard of between the two is given both.
            *second += first;
        }
    }

    /// When a lease ends that runs from there: stalls that were noticed since, and lasted for more than a quarter of it,
    /// do not count. Of one that was noticed only after the server had begun to read, what came before is the past.
    fn end_of(&self, heard_at: Instant, ttl_ms: u32) -> Instant {
        let quarter = u64::from(ttl_ms) * 1_000_000 / 4;
        let since = self.recent.iter().rev().take_while(|(noticed, _)| *noticed > heard_at);
        let long = since.filter(|(_, away)| *away > quarter);
        let given_back: u64 = long.map(|(noticed, away)| (*away).min(noticed.0 - heard_at.0)).sum();
        Instant(heard_at.after_ms(ttl_ms).0.saturating_add(given_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        engine::Limits,
        log::{Outcome, Volatile},
        server::{HouseRules, Patience},
        table::{About, Setting, Table},
    };
    use enq_protocol::vocabulary::Handle;

    const fn ms(ms: u32) -> Instant {
        Instant::START.after_ms(ms)
    }

    #[test]
    fn a_stall_is_given_back_to_whom_it_cost_more_than_a_quarter() {
        let mut stalls = Stalls::default();
        stalls.note(ms(10_000), 3_000_000_000);
        assert_eq!(stalls.end_of(ms(6_500), 4_000), ms(13_500), "he could not be heard for three seconds");
        assert_eq!(stalls.end_of(ms(6_500), 12_000), ms(18_500), "a quarter of this lease is three seconds");
        assert_eq!(stalls.end_of(ms(10_000), 4_000), ms(14_000), "he was heard after it");
        assert_eq!(stalls.end_of(ms(9_990), 4_000), ms(14_000), "he was heard before the stall was noticed");
        assert_eq!(stalls.end_of(ms(7_000), 4_000), ms(14_000), "and not before it began");
        stalls.note(ms(12_000), 1_500_000_000);
        assert_eq!(stalls.end_of(ms(6_500), 4_000), ms(15_000), "both cost him something");
        assert_eq!(stalls.end_of(ms(11_000), 4_000), ms(16_000), "a second of it came after");
    }

    #[test]
    fn old_stalls_are_joined_and_never_lost() {
        let mut stalls = Stalls::default();
        for second in 1..=500 {
            stalls.note(ms(second * 1_000), 500_000_000);
        }
        assert_eq!(stalls.recent.len(), STALLS);
        assert_eq!(stalls.end_of(Instant::START, 1_000), ms(1_000 + 500 * 500));
        assert_eq!(stalls.end_of(ms(499_500), 1_000), ms(501_000), "the latest alone");
    }

    /// A house with sessions and nothing else.
    fn house() -> House {
        let setting = Setting {
            epoch: 1,
            limits: Limits::default(),
            window_requests: 1,
            window_bytes: 1,
            route_key: [0; 16],
            hash_seed: 0,
            recovering_until: None,
        };
        let rules = HouseRules {
            patience: Patience::default(),
            ttl_ms_min: 1_000,
            ttl_ms_max: 60_000,
            unsafe_settings: Vec::new(),
            draw: Box::new(|| Some([0; 16])),
        };
        House::new(Volatile::new(Table::new(&setting)), rules)
    }

    fn open(house: &House, now: Instant, ttl_ms: u32) -> Arc<SessionCell> {
        let about = About {
            name: String::new(),
            purpose: String::new(),
            host: String::new(),
            pid: 0,
            peer: String::new(),
            ttl_ms,
            bound: false,
            secret: [0; 16],
            orphan_key: Box::default(),
        };
        let Some(Outcome::Opened(cell)) = house.log.open_session(now, about).take() else {
            unreachable!("nothing is on its way in a volatile log")
        };
        house.leases.watch(&cell);
        cell
    }

    fn ended(house: &House) -> u64 {
        house.metrics.leases_ended.load(Ordering::Relaxed)
    }

    /// P11 in counts: the end of very many at once is spread over rounds, by deadline and id, and takes nothing from
    /// those who renew. `ENQ_LEASES=1000000` plays it with a million sessions.
    #[test]
    fn many_ends_at_once_are_portioned_and_in_order() {
        let all: u64 = std::env::var("ENQ_LEASES").map_or(20_000, |text| text.parse().unwrap());
        let house = house();
        let mut passing = Passing::new(Instant::START);
        let mut living = Vec::new();
        let mut silent = Vec::new();
        for number in 0..all {
            // A tenth stays silent; their leases end within the same half a second.
            let cell = open(&house, Instant(number * 500_000_000 / all), 4_000);
            if number % 10 == 3 {
                silent.push(cell.id);
            } else {
                living.push(cell);
            }
        }
        let mut rounds_with_ends = 0;
        for round in 1..=1_500_u32 {
            let now = ms(round * 10);
            if round % 130 == 0 {
                living.iter().for_each(|cell| cell.renew(now));
            }
            let before = ended(&house);
            passing.round(&house, now);
            let now_ended = ended(&house) - before;
            assert!(now_ended <= 200, "{now_ended} in round {round}");
            rounds_with_ends += u64::from(now_ended > 0);
            // Those who are left are those whose leases ended last: they were opened in the order of their ids.
            let gone = usize::try_from(ended(&house)).unwrap();
            assert!(gone == 0 || house.log.table().session(silent[gone - 1]).is_none(), "round {round}");
            assert!(
                gone == silent.len() || house.log.table().session(silent[gone]).is_some(),
                "round {round}"
            );
        }
        let silent = u64::try_from(silent.len()).unwrap();
        assert!(ended(&house) == silent || silent > 150_000, "{} of {silent}", ended(&house));
        assert!(rounds_with_ends >= silent.div_ceil(200).min(1_000));
        assert_eq!(house.log.table().session_count(), all - ended(&house), "nobody who renewed has ended");
    }

    #[test]
    fn a_stall_is_counted_when_it_is_longer_than_a_quarter_of_a_second() {
        let house = house();
        let mut passing = Passing::new(Instant::START);
        let mut counted = |now_ms| {
            passing.round(&house, ms(now_ms));
            let of = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
            (of(&house.metrics.stalls), of(&house.metrics.stalled_ms))
        };
        assert_eq!(counted(250), (0, 0));
        assert_eq!(counted(501), (1, 251));
        assert_eq!(counted(511), (1, 251));
        assert_eq!(counted(3_511), (2, 3_251));
    }

    /// An end may wait for those before it, and much can be heard meanwhile.
    #[test]
    fn who_is_heard_of_while_his_end_waits_lives() {
        let house = house();
        let mut passing = Passing::new(Instant::START);
        let cells: Vec<_> = (0..201).map(|_| open(&house, Instant::START, 1_000)).collect();
        let mut now_ms = 0;
        while ended(&house) == 0 {
            now_ms += 10;
            passing.round(&house, ms(now_ms));
        }
        assert!((1_000..=1_020).contains(&now_ms) && ended(&house) == 200, "{now_ms}");
        let left = cells.iter().filter(|cell| house.log.table().session(cell.id).is_some());
        left.for_each(|cell| cell.renew(ms(now_ms)));
        for later in 1..100 {
            passing.round(&house, ms(now_ms + 10 * later));
        }
        assert_eq!(ended(&house), 200);
        passing.round(&house, ms(now_ms + 1_020));
        assert_eq!(ended(&house), 201, "he was not heard of again");
    }

    #[test]
    fn sessions_with_many_locks_end_a_few_a_round() {
        let house = house();
        let mut passing = Passing::new(Instant::START);
        for _ in 0..5 {
            let cell = open(&house, Instant::START, 1_000);
            let handles: Vec<_> = (1..=5_000).filter_map(Handle::new).collect();
            cell.in_half.lock().start_path(&handles, 0);
        }
        let mut a_round = Vec::new();
        for round in 1..=110 {
            let before = ended(&house);
            passing.round(&house, ms(round * 10));
            a_round.push(ended(&house) - before);
        }
        a_round.retain(|ended| *ended > 0);
        assert_eq!(a_round, [2, 2, 1], "ten thousand locks are enough for a round");
    }

    /// Whoever kept sending is not ended for a silence that was the server's own, however long that was.
    #[test]
    fn a_stall_ends_nobody_who_kept_sending() {
        for (ttl_ms, stall_ms) in
            [(1_000, 260), (1_000, 3_000), (4_000, 990), (4_000, 12_000), (60_000, 180_000)]
        {
            let house = house();
            let mut passing = Passing::new(Instant::START);
            let cell = open(&house, Instant::START, ttl_ms);
            let dead = open(&house, Instant::START, ttl_ms);
            let mut now_ms = 0;
            let (mut renewed_ms, mut read_ms) = (0, 0);
            for round in 0..ttl_ms / 10 * 3 {
                // In the middle of it the server stands still; what was sent meanwhile is read a little later.
                now_ms += if round == ttl_ms / 14 { stall_ms } else { 10 };
                read_ms = if round == ttl_ms / 14 { now_ms + 300 } else { read_ms };
                passing.round(&house, ms(now_ms));
                if now_ms >= (renewed_ms + ttl_ms / 3 + 100).max(read_ms) {
                    renewed_ms = now_ms;
                    cell.renew(ms(now_ms));
                }
            }
            assert!(house.log.table().session(cell.id).is_some(), "lease {ttl_ms}, stall {stall_ms}");
            assert!(house.log.table().session(dead.id).is_none(), "lease {ttl_ms}, stall {stall_ms}");
        }
    }
}
