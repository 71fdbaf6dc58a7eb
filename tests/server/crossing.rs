//! Cancels and timeouts that meet the grant they are about: each request has one outcome, told truly, and neither a
//! lock nor a request is left behind.
//!
//! One session holds many locks, another waits for all of them; then the one releases while the other withdraws, or
//! while its time runs out. A second's worth in the gate; `ENQ_CROSSINGS=100000 cargo test --test server crossing`
//! for more.

use crate::speaker::{Speaker, deq, done, granted, handle, root, server, soon};
use enq_protocol::{
    vocabulary::{Flags, LockMode::Ex, Status},
    wire::{Answer, Cancel, Enq, Event, FromServer, Reply, Request},
};
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng, seq::SliceRandom as _};
use std::{collections::BTreeMap, time::Duration};

/// Locks that meet their end at a time.
const TOGETHER: u32 = 64;

/// What became of a request that waited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Granted,
    Cancelled,
    TimedOut,
}

/// What is known of the requests of one wave.
#[derive(Default)]
struct Wave {
    outcomes: BTreeMap<u32, Outcome>,
    /// What the answers to the cancels said, in their order.
    answers: Vec<Status>,
}

impl Wave {
    fn end(&mut self, number: u32, outcome: Outcome) {
        let before = self.outcomes.insert(number, outcome);
        assert_eq!(before, None, "request {number} has one outcome, not {before:?} and {outcome:?}");
    }

    fn hear(&mut self, said: FromServer) {
        match said {
            FromServer::Event { event: Event::Granted(grant), .. } => {
                self.end(grant.handle.number(), Outcome::Granted);
            }
            FromServer::Event { event: Event::Ended { handle, status, holds: None, .. }, .. } => {
                let outcome = match status {
                    Status::Cancelled => Outcome::Cancelled,
                    Status::Timeout => Outcome::TimedOut,
                    other => panic!("nothing else ends it: {other}"),
                };
                self.end(handle.number(), outcome);
            }
            FromServer::Answer(Answer { reply: Reply::Done { status }, .. }) => self.answers.push(status),
            FromServer::Acked => {}
            said => panic!("unexpected: {said:?}"),
        }
    }
}

fn waiting(number: u32, name: &str, timeout_ms: Option<u32>) -> Request<'_> {
    match root(number, name, Ex, Flags::NONE) {
        Request::Enq(enq) => Request::Enq(Enq { timeout_ms, ..enq }),
        other => other,
    }
}

/// Releases every lock, in this order, a few at a time, with pauses.
async fn release(holder: &mut Speaker, order: &[u32], pauses: Vec<Duration>) {
    for (some, pause) in order.chunks(4).zip(pauses) {
        let bytes: Vec<u8> =
            some.iter().flat_map(|number| holder.encode(&deq(*number, Flags::NONE))).collect();
        tokio::time::sleep(pause).await;
        holder.write(&bytes).await;
    }
    for _ in order {
        assert_eq!(done(holder.answer().await), Status::Released);
    }
}

/// Hears that a request is queued. Where that takes long, the time of earlier ones is over before.
async fn until_queued(asker: &mut Speaker, mut wave: Wave) -> Wave {
    loop {
        match asker.next().await {
            FromServer::Answer(Answer { reply: Reply::Queued { .. }, .. }) => return wave,
            said => wave.hear(said),
        }
    }
}

/// Withdraws these requests, a few at a time, and hears what becomes of all of them.
async fn withdraw(asker: &mut Speaker, order: &[u32], mut wave: Wave) -> Wave {
    for some in order.chunks(4) {
        let cancel = |number: &u32| Request::Cancel(Cancel { handle: handle(*number), flags: Flags::NONE });
        let bytes: Vec<u8> = some.iter().map(cancel).flat_map(|cancel| asker.encode(&cancel)).collect();
        asker.write(&bytes).await;
        tokio::task::yield_now().await;
    }
    while wave.outcomes.len() < TOGETHER as usize || wave.answers.len() < order.len() {
        let said = asker.next().await;
        wave.hear(said);
    }
    wave
}

/// One wave; how many requests were granted, and how many were not.
async fn wave(holder: &mut Speaker, asker: &mut Speaker, random: &mut SmallRng) -> (u32, u32) {
    let names: Vec<String> = (1..=TOGETHER).map(|number| format!("crossing-{number}")).collect();
    // By the clock or by a word: a wave has one sort.
    let by_clock = random.random_bool(0.3);
    for (number, name) in (1..).zip(&names) {
        // NOQUEUE: whatever the wave before left behind would refuse it.
        granted(holder.enq(number, name, Ex, Flags::NOQUEUE).await);
    }
    let mut told = Wave::default();
    for (number, name) in (1..).zip(&names) {
        let timeout = by_clock.then(|| random.random_range(30..60));
        asker.send(&waiting(number, name, timeout)).await;
        told = until_queued(asker, told).await;
    }
    let mut order: Vec<u32> = (1..=TOGETHER).collect();
    order.shuffle(random);
    let releases = order.clone();
    order.shuffle(random);
    let pause_us = if by_clock { 6_000 } else { 40 };
    let pauses = (0..TOGETHER).map(|_| Duration::from_micros(random.random_range(0..pause_us))).collect();
    let cancels: &[u32] = if by_clock { &[] } else { &order };
    let (told, ()) = tokio::join!(withdraw(asker, cancels, told), release(holder, &releases, pauses));
    for (number, status) in cancels.iter().zip(&told.answers) {
        let truth = match told.outcomes.get(number) {
            Some(Outcome::Granted) => Status::CancelGrant,
            Some(Outcome::Cancelled) => Status::Done,
            other => panic!("{number} was cancelled and became {other:?}"),
        };
        assert_eq!(*status, truth, "what the cancel of {number} was answered is true");
    }
    let mut kept = 0;
    for (number, outcome) in &told.outcomes {
        if *outcome == Outcome::Granted {
            kept += 1;
            assert_eq!(done(asker.ask(&deq(*number, Flags::NONE)).await), Status::Released);
        }
    }
    (kept, TOGETHER - kept)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crossing_requests_have_one_outcome_and_leave_nothing() {
    let wanted: u32 =
        std::env::var("ENQ_CROSSINGS").map_or(1_000, |text| text.parse().expect("ENQ_CROSSINGS is a number"));
    let server = server().await;
    let mut holder = Speaker::opened(&server).await;
    let mut asker = Speaker::opened(&server).await;
    let mut random = SmallRng::seed_from_u64(7);
    let (mut granted, mut ended) = (0, 0);
    // On a slow machine one of the outcomes is rare; then it takes more waves to see it often enough.
    while granted + ended < wanted || granted.min(ended) < wanted / 20 {
        assert!(granted + ended < 100 * wanted, "both outcomes happen: {granted}, {ended}");
        let (more_granted, more_ended) = wave(&mut holder, &mut asker, &mut random).await;
        granted += more_granted;
        ended += more_ended;
    }
    println!("{granted} were granted, {ended} withdrawn or too late");
    soon("everything to go", async {
        while server.statistics().locks != 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(server.table().check(), Ok(()));
}
