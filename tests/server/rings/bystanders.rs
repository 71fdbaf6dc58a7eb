//! Who waits beside the rings, and must never be refused: on one hot resource, and on lanes that are always taken in the
//! same order.

use super::{convert, owned};
use crate::speaker::{Speaker, deq, done, root};
use enq::server::Server;
use enq_protocol::{
    vocabulary::{Flags, LockMode, LockMode::Ex, LockMode::Nl, LockMode::Pr, LockMode::Pw, Status},
    wire::{Answer, Event, FromServer, Reply, Request},
};
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};
use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};
use tokio::task::JoinHandle;

/// Owners that convert on the hot resource.
const HOT: u32 = 150;

/// Owners that take two lanes each, and the lanes.
const TRAVELLERS: u32 = 60;
const LANES: u32 = 12;

/// How many waits there were.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waits {
    hot: usize,
    lanes: usize,
}

impl Waits {
    pub(super) fn all(self) -> usize {
        self.hot + self.lanes
    }
}

#[derive(Debug, Default)]
struct Counts {
    hot: AtomicUsize,
    lanes: AtomicUsize,
    goal: usize,
    is_over: AtomicBool,
}

impl Counts {
    fn waits(&self) -> Waits {
        Waits { hot: self.hot.load(Ordering::Relaxed), lanes: self.lanes.load(Ordering::Relaxed) }
    }

    /// May they stop?
    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed) && self.waits().all() >= self.goal
    }
}

/// The bystanders while they are at it.
pub(super) struct Bystanders {
    counts: Arc<Counts>,
    tasks: [JoinHandle<()>; 2],
}

/// They begin, and will not end before there were so many waits.
pub(super) fn begin(server: &Arc<Server>, goal: usize) -> Bystanders {
    let counts = Arc::new(Counts { goal, ..Counts::default() });
    let hot = tokio::spawn(hot(Arc::clone(server), Arc::clone(&counts)));
    let lanes = tokio::spawn(lanes(Arc::clone(server), Arc::clone(&counts)));
    Bystanders { counts, tasks: [hot, lanes] }
}

impl Bystanders {
    /// The rings are over. Ends when enough was waited.
    pub(super) async fn end(self) -> Waits {
        self.counts.is_over.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.unwrap();
        }
        self.counts.waits()
    }
}

/// One session, and who was granted what he waited for.
struct Crowd {
    speaker: Speaker,
    granted: VecDeque<u32>,
}

impl Crowd {
    async fn ask(&mut self, request: &Request<'_>) -> Reply {
        self.speaker.send(request).await;
        loop {
            if let Some(reply) = self.listen().await {
                return reply;
            }
        }
    }

    async fn listen(&mut self) -> Option<Reply> {
        match self.speaker.next().await {
            FromServer::Answer(Answer { reply, .. }) => return Some(reply),
            FromServer::Event { event: Event::Granted(grant), .. } => {
                self.granted.push_back(grant.handle.number());
            }
            FromServer::Event { event: Event::Blocking { .. }, .. } | FromServer::Acked => {}
            said => panic!("a bystander is refused: {said:?}"),
        }
        None
    }

    /// Who is granted next of those who wait.
    async fn next(&mut self) -> u32 {
        loop {
            match self.granted.pop_front() {
                Some(number) => return number,
                None => assert!(self.listen().await.is_none(), "nothing was asked"),
            }
        }
    }
}

/// All hold NL on one resource and convert to a mode that lets hardly anybody beside it; who is granted goes back to NL
/// and converts again, so that a long queue never empties.
async fn hot(server: Arc<Server>, counts: Arc<Counts>) {
    let mut crowd = Crowd { speaker: Speaker::opened(&server).await, granted: VecDeque::new() };
    let mut random = SmallRng::seed_from_u64(3);
    for number in 1..=HOT {
        let reply = crowd.ask(&owned(root(number, "hot", Nl, Flags::NONE), number.into())).await;
        assert!(matches!(reply, Reply::Granted(_)), "{reply:?}");
    }
    let mut waiting = 0;
    for number in 1..=HOT {
        waiting += want(&mut crowd, number, &mut random, &counts).await;
    }
    while waiting > 0 {
        let number = crowd.next().await;
        waiting -= 1;
        let reply = crowd.ask(&convert(number, Nl)).await;
        assert!(matches!(reply, Reply::Granted(_)), "{reply:?}");
        if !counts.is_over() {
            waiting += want(&mut crowd, number, &mut random, &counts).await;
        }
    }
}

/// How many more wait now: one, whether it is granted at once or not, for its grant is heeded later.
async fn want(crowd: &mut Crowd, number: u32, random: &mut SmallRng, counts: &Counts) -> u32 {
    let mode: LockMode = [Ex, Ex, Pw, Pr][random.random_range(0..4)];
    match crowd.ask(&convert(number, mode)).await {
        Reply::Granted(_) => crowd.granted.push_back(number),
        Reply::Queued { .. } => _ = counts.hot.fetch_add(1, Ordering::Relaxed),
        reply => panic!("a bystander is refused: {reply:?}"),
    }
    1
}

/// An owner that takes two lanes, the lower one first, and lets go of both.
#[derive(Clone, Copy, Default)]
struct Traveller {
    lanes: [u32; 2],
    locks: [u32; 2],
}

/// Nobody waits for a lower lane than he holds, so however long the queues become there is no deadlock.
async fn lanes(server: Arc<Server>, counts: Arc<Counts>) {
    let mut crowd = Crowd { speaker: Speaker::opened(&server).await, granted: VecDeque::new() };
    let mut random = SmallRng::seed_from_u64(4);
    let mut travellers = vec![Traveller::default(); TRAVELLERS as usize];
    let mut last = 0;
    // Whose lock is it?
    let mut whose = std::collections::BTreeMap::new();
    let mut turns: VecDeque<usize> = (0..travellers.len()).collect();
    let mut under_way = 0;
    loop {
        let at = match turns.pop_front() {
            Some(at) => at,
            None if under_way == 0 => return,
            None => whose[&crowd.next().await],
        };
        let traveller = &mut travellers[at];
        let step = traveller.locks.iter().filter(|lock| **lock != 0).count();
        if step == 2 {
            for lock in std::mem::take(&mut traveller.locks) {
                whose.remove(&lock);
                assert_eq!(done(crowd.ask(&deq(lock, Flags::NONE)).await), Status::Released);
            }
            under_way -= 1;
            if !counts.is_over() {
                turns.push_back(at);
            }
            continue;
        }
        if step == 0 {
            let first = random.random_range(0..LANES - 1);
            traveller.lanes = [first, random.random_range(first + 1..LANES)];
            under_way += 1;
        }
        last += 1;
        traveller.locks[step] = last;
        whose.insert(last, at);
        let name = format!("lane-{}", traveller.lanes[step]);
        let mode = if random.random_bool(0.3) { Pr } else { Ex };
        match crowd.ask(&owned(root(last, &name, mode, Flags::NONE), at as u64 + 1)).await {
            Reply::Granted(_) => crowd.granted.push_back(last),
            Reply::Queued { .. } => _ = counts.lanes.fetch_add(1, Ordering::Relaxed),
            reply => panic!("a bystander is refused: {reply:?}"),
        }
    }
}
