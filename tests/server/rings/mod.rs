//! Deadlocks on a server that goes on: every planted ring is found and broken by exactly one refusal, and nobody who only
//! waits is refused. `ENQ_DEADLOCKS=1000 cargo test --test server every_planted` plants so many, with a hundred ordinary
//! waits beside each.
//!
//! A ring is of two to eight owners in as many sessions, each of whom waits for the next: for a lock, for a conversion,
//! behind a request or a conversion that itself waits for somebody outside, for a sublock, for a root with sublocks below.
//! Nothing here depends on speed. What is said while an answer is awaited is kept; the whole is bounded only by how long
//! nothing at all may happen.

mod bystanders;

use crate::speaker::{Speaker, deq, done, handle, root, server, sublock};
use enq_protocol::{
    vocabulary::{Flags, LockMode, LockMode::Cr, LockMode::Ex, LockMode::Pr, Owner, Status},
    wire::{Answer, Convert, Enq, Event, FromServer, Reply, Request},
};
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng, seq::SliceRandom as _};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

/// Sessions that the owners of rings are spread over.
const SESSIONS: usize = 8;

/// Rings that may stand at once; who plants more waits until some are broken.
const STANDING_MAX: usize = 60;

/// How long nothing at all may happen.
const SILENCE: Duration = Duration::from_secs(60);

/// The deadlock wait of the server, short enough that ordinary waits outlast it.
const DEADLOCK_WAIT_MS: u32 = 50;

/// A request of one owner of the session.
fn owned(request: Request<'_>, token: u64) -> Request<'_> {
    match request {
        Request::Enq(enq) => Request::Enq(Enq { owner: Owner { scope: 0, token }, ..enq }),
        other => other,
    }
}

fn convert<'a>(number: u32, mode: LockMode) -> Request<'a> {
    let (handle, flags, timeout_ms, priority, value) = (handle(number), Flags::NONE, None, 0, None);
    Request::Convert(Convert { handle, mode, flags, timeout_ms, priority, value })
}

/// How an owner waits for the next one of the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The next one holds what it wants.
    Held,
    /// Both hold PR, and it converts.
    Converts,
    /// The next one is ahead, for what somebody outside holds; with that it would go together itself.
    Behind,
    /// The same, and the next one converts.
    BehindConversion,
    /// The next one holds a sublock of a root that both have in CR.
    Leaf,
    /// It wants a root, and the next one has a sublock there.
    Root,
}

const KINDS: [Kind; 6] =
    [Kind::Held, Kind::Converts, Kind::Behind, Kind::BehindConversion, Kind::Leaf, Kind::Root];

/// An owner of a ring.
#[derive(Debug, Default)]
struct Member {
    session: usize,
    token: u64,
    /// Its locks, each before those that stand on it.
    locks: Vec<u32>,
    /// Its requests that wait.
    waits: BTreeSet<u32>,
    is_done: bool,
}

#[derive(Debug, Default)]
struct Ring {
    /// The owners, and whoever stands outside as the last one.
    members: Vec<Member>,
    /// The requests that make the ring: the session, the lock, and whether it converts.
    waits: BTreeMap<(usize, u32), bool>,
    refused: usize,
}

/// All rings, and who plants them.
struct Rings {
    speakers: Vec<Speaker>,
    /// The last number of a lock in each session.
    locks: Vec<u32>,
    tokens: u64,
    rings: Vec<Ring>,
    /// Who waits with this lock: the ring, and the member.
    waiting: BTreeMap<(usize, u32), (usize, usize)>,
    /// What was said beside the answers.
    aside: VecDeque<(usize, Event)>,
    standing: usize,
    edges: BTreeMap<String, usize>,
}

impl Rings {
    async fn ask(&mut self, session: usize, request: &Request<'_>) -> Reply {
        let speaker = &mut self.speakers[session];
        speaker.send(request).await;
        loop {
            match speaker.next().await {
                FromServer::Answer(Answer { reply, .. }) => return reply,
                FromServer::Event { event, .. } => self.aside.push_back((session, event)),
                FromServer::Acked => {}
                said => panic!("{said:?}"),
            }
        }
    }

    fn member(&mut self, ring: usize, at: usize) -> &mut Member {
        &mut self.rings[ring].members[at]
    }

    /// A new lock of a member: held at once, or waited for.
    async fn enq(&mut self, (ring, at): (usize, usize), name: &str, mode: LockMode, waits: bool) -> u32 {
        self.below((ring, at), None, name, mode, waits).await
    }

    async fn below(
        &mut self,
        (ring, at): (usize, usize),
        parent: Option<u32>,
        name: &str,
        mode: LockMode,
        waits: bool,
    ) -> u32 {
        let Member { session, token, .. } = *self.member(ring, at);
        self.locks[session] += 1;
        let number = self.locks[session];
        let request = match parent {
            None => root(number, name, mode, Flags::NONE),
            Some(parent) => sublock(number, parent, name, mode),
        };
        let reply = self.ask(session, &owned(request, token)).await;
        self.is_as_planned(&reply, waits);
        self.member(ring, at).locks.push(number);
        if waits {
            self.note((ring, at), number);
        }
        number
    }

    async fn convert(&mut self, (ring, at): (usize, usize), number: u32) {
        let session = self.member(ring, at).session;
        let reply = self.ask(session, &convert(number, Ex)).await;
        self.is_as_planned(&reply, true);
        self.note((ring, at), number);
    }

    fn is_as_planned(&self, reply: &Reply, waits: bool) {
        let is = matches!((reply, waits), (Reply::Granted(_), false) | (Reply::Queued { .. }, true));
        assert!(is, "waits: {waits}, {reply:?}, {:?}", self.rings.last());
    }

    fn note(&mut self, (ring, at): (usize, usize), number: u32) {
        let session = self.member(ring, at).session;
        self.member(ring, at).waits.insert(number);
        self.waiting.insert((session, number), (ring, at));
    }

    /// What is held before anybody waits, so that the one can wait for the next. Says which lock is used for that: the
    /// one that converts, or the one its sublock stands on.
    async fn prepare(
        &mut self,
        kind: Kind,
        ring: usize,
        (at, next): (usize, usize),
        name: &str,
    ) -> Option<u32> {
        let outside = self.rings[ring].members.len() - 1;
        match kind {
            Kind::Held => _ = self.enq((ring, next), name, Ex, false).await,
            Kind::Converts => {
                self.enq((ring, next), name, Pr, false).await;
                return Some(self.enq((ring, at), name, Pr, false).await);
            }
            Kind::Behind => {
                self.enq((ring, outside), name, Pr, false).await;
                self.enq((ring, next), name, Ex, true).await;
            }
            Kind::BehindConversion => {
                self.enq((ring, outside), name, Pr, false).await;
                let converts = self.enq((ring, next), name, Pr, false).await;
                self.convert((ring, next), converts).await;
            }
            Kind::Leaf | Kind::Root => {
                let parent = self.enq((ring, next), name, Cr, false).await;
                self.below((ring, next), Some(parent), "leaf", Ex, false).await;
                if kind == Kind::Leaf {
                    return Some(self.enq((ring, at), name, Cr, false).await);
                }
            }
        }
        None
    }

    /// The one waits for the next.
    async fn wait(&mut self, kind: Kind, ring: usize, at: usize, name: &str, prepared: Option<u32>) {
        let number = match (kind, prepared) {
            (Kind::Converts, Some(number)) => {
                self.convert((ring, at), number).await;
                number
            }
            (Kind::Leaf, parent) => self.below((ring, at), parent, "leaf", Pr, true).await,
            (Kind::Root, _) => self.enq((ring, at), name, Ex, true).await,
            _ => self.enq((ring, at), name, Pr, true).await,
        };
        let session = self.member(ring, at).session;
        self.rings[ring].waits.insert((session, number), kind == Kind::Converts);
        *self.edges.entry(format!("{kind:?}")).or_default() += 1;
    }

    /// Plants a ring of two to eight owners, of one kind or of all kinds.
    async fn plant(&mut self, random: &mut SmallRng) {
        let ring = self.rings.len();
        let owners = random.random_range(2..=8);
        let mut sessions: Vec<usize> = (0..SESSIONS).collect();
        sessions.shuffle(random);
        // Some rings are within few sessions, or one.
        let spread = random.random_range(1..=SESSIONS);
        self.rings.push(Ring::default());
        for at in 0..=owners {
            self.tokens += 1;
            let member = Member { session: sessions[at % spread], token: self.tokens, ..Member::default() };
            self.rings[ring].members.push(member);
        }
        let only = random.random_bool(0.5).then(|| KINDS[random.random_range(0..KINDS.len())]);
        let mut edges = Vec::new();
        for at in 0..owners {
            let kind = only.unwrap_or_else(|| KINDS[random.random_range(0..KINDS.len())]);
            let name = format!("ring-{ring}-{at}");
            let prepared = self.prepare(kind, ring, (at, (at + 1) % owners), &name).await;
            edges.push((kind, at, name, prepared));
        }
        edges.shuffle(random);
        for (kind, at, name, prepared) in edges {
            self.wait(kind, ring, at, &name, prepared).await;
        }
        self.standing += 1;
    }

    /// Takes to heart what was said beside the answers.
    async fn heed(&mut self) {
        while let Some((session, event)) = self.aside.pop_front() {
            match event {
                Event::Granted(grant) => self.settle(session, grant.handle.number()).await,
                Event::Ended { handle, status, .. } => {
                    assert_eq!(status, Status::Deadlock);
                    self.refused(session, handle.number()).await;
                }
                Event::Blocking { .. } => {}
                event => panic!("{event:?}"),
            }
        }
    }

    async fn refused(&mut self, session: usize, number: u32) {
        let (ring, at) = *self.waiting.get(&(session, number)).expect("who is refused waits");
        let broken = &mut self.rings[ring];
        let converts = *broken.waits.get(&(session, number)).expect("who is refused is on the ring");
        broken.refused += 1;
        assert_eq!(broken.refused, 1, "one request of a ring is refused: {broken:?}");
        if !converts {
            self.member(ring, at).locks.retain(|lock| *lock != number);
        }
        // Whoever stands outside goes, so that those who wait for him as well can go on.
        let outside = self.rings[ring].members.len() - 1;
        self.leave(ring, outside).await;
        self.settle(session, number).await;
    }

    /// A request waits no more. Who has none left releases everything, so that the next one goes on.
    async fn settle(&mut self, session: usize, number: u32) {
        let (ring, at) = self.waiting.remove(&(session, number)).expect("it waited");
        let member = self.member(ring, at);
        member.waits.remove(&number);
        if !member.waits.is_empty() {
            return;
        }
        self.leave(ring, at).await;
        if self.rings[ring].members.iter().all(|member| member.is_done) {
            assert_eq!(self.rings[ring].refused, 1, "it was a ring");
            self.standing -= 1;
        }
    }

    async fn leave(&mut self, ring: usize, at: usize) {
        let member = self.member(ring, at);
        member.is_done = true;
        let (session, locks) = (member.session, std::mem::take(&mut member.locks));
        for number in locks.into_iter().rev() {
            let reply = self.ask(session, &deq(number, Flags::NONE)).await;
            assert_eq!(done(reply), Status::Released);
        }
    }

    /// Listens until no more than so many rings stand.
    async fn until(&mut self, standing: usize) {
        let mut silence = Duration::ZERO;
        loop {
            self.heed().await;
            if self.standing <= standing {
                return;
            }
            assert!(silence < SILENCE, "{} rings are not broken", self.standing);
            let a_while = Duration::from_millis(5);
            for (session, speaker) in self.speakers.iter_mut().enumerate() {
                match tokio::time::timeout(a_while, speaker.next()).await {
                    Ok(FromServer::Event { event, .. }) => {
                        self.aside.push_back((session, event));
                        silence = Duration::ZERO;
                    }
                    Ok(FromServer::Acked) => {}
                    Ok(said) => panic!("nothing was asked: {said:?}"),
                    Err(_) => silence += a_while,
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_planted_ring_is_broken_once_and_nobody_else_is_refused() {
    let count: usize = std::env::var("ENQ_DEADLOCKS").map_or(40, |text| text.parse().unwrap());
    let server = Arc::new(server().await);
    let mut speakers = Vec::new();
    for _ in 0..SESSIONS {
        speakers.push(Speaker::opened(&server).await);
    }
    crate::deadlocks::decide(&mut speakers[0], |policy| policy.deadlock_wait_ms = DEADLOCK_WAIT_MS).await;
    let bystanders = bystanders::begin(&server, count * 100);
    let mut rings = Rings {
        speakers,
        locks: vec![0; SESSIONS],
        tokens: 0,
        rings: Vec::new(),
        waiting: BTreeMap::new(),
        aside: VecDeque::new(),
        standing: 0,
        edges: BTreeMap::new(),
    };
    let mut random = SmallRng::seed_from_u64(11);
    for _ in 0..count {
        rings.plant(&mut random).await;
        rings.until(STANDING_MAX).await;
    }
    rings.until(0).await;
    assert!(rings.waiting.is_empty(), "everybody was refused, or granted what he waited for");
    let waits = bystanders.end().await;
    assert!(waits.all() >= count * 100, "{waits:?}");
    let records = server.table().deadlock_records();
    assert_eq!(
        records.first().map(|record| record.number),
        Some(count as u64),
        "a record each, and no other"
    );
    assert!(KINDS.iter().all(|kind| rings.edges.contains_key(&format!("{kind:?}"))), "{:?}", rings.edges);
    println!("{count} rings, waits by kind: {:?}; beside them {waits:?}", rings.edges);
}
