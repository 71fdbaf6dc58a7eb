//! What clients do all the time while their server is killed: each task asks, waits, converts, stores and releases, and
//! enters it in the books before it says it and after it is answered.

use crate::{
    books::{Page, QUEUE},
    stage::until,
    world::World,
};
use enq::client::{
    Client, Lock, LockId,
    LockMode::{self, Cr, Cw, Ex, Nl, Pr, Pw},
    LockRequest, NotGranted, Queue, ResourceName, Seq, Session, Wait,
};
use parking_lot::Mutex;
use rand::{Rng as _, rngs::SmallRng};
use std::{
    sync::{Arc, atomic::Ordering::SeqCst},
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// Names that everybody locks.
const NAMES: u32 = 4;
/// Numbers that everybody adds to.
pub(crate) const COUNTERS: usize = 3;
/// Who wait in a known order.
const QUEUED: usize = 4;
/// What sessions leave locks behind with, and find them again.
const KEY: &str = "who comes and goes";
/// Far longer than a server is away.
const TTL: Duration = Duration::from_secs(30);

/// A session that loses no time between attempts.
pub(crate) async fn session(world: &World, name: &str) -> Session {
    loop {
        let builder = Session::builder(name)
            .ttl(TTL)
            .orphan_key(KEY)
            .backoff(Duration::from_millis(1), Duration::from_millis(20));
        match builder.connect(&[&world.address]).await {
            Ok(session) => {
                world.books.lock().session_opened(session.id());
                return session;
            }
            // Nobody serves. If a session was opened, nobody knows it, and it ends with its lease.
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}

/// One thing after the other until it is enough.
pub(crate) async fn one_task(world: Arc<World>, session: Session, mut random: SmallRng) {
    while !world.is_enough.load(SeqCst) {
        match random.random_range(0..10) {
            0..4 => add_one(&world, &session, &mut random).await,
            4..9 => hold(&world, &session, &mut random).await,
            _ => give_up(&world, &session, &mut random).await,
        }
    }
}

/// Asks, and enters it.
async fn ask(
    world: &World,
    session: &Session,
    name: &str,
    mode: LockMode,
    how: impl FnOnce(LockRequest) -> LockRequest,
) -> Result<(Page, Lock), NotGranted> {
    let page = world.books.lock().asks(session.id(), name, mode);
    match how(session.lock(name).mode(mode)).await {
        Ok(lock) => {
            world.books.lock().granted(page, session.id(), lock.grant());
            Ok((page, lock))
        }
        Err(why) => {
            world.books.lock().refused(page);
            Err(why)
        }
    }
}

async fn release(world: &World, page: Page, lock: Lock) {
    assert!(lock.held(), "nothing is lost but time");
    world.books.lock().releases(page);
    lock.release().await.unwrap();
    world.books.lock().gone(page);
}

/// Converts, and enters it; refused to break a deadlock or because it would have to wait, the lock is as it was.
async fn convert(world: &World, page: Page, lock: Lock, to: LockMode, wait: Wait) -> Lock {
    let session = lock.session().clone();
    world.books.lock().converts(page, session.id(), to);
    match lock.convert(to).wait(wait).await {
        Ok(lock) => {
            world.books.lock().granted(page, session.id(), lock.grant());
            lock
        }
        Err(refused) => {
            let is_no = matches!(
                refused.why,
                NotGranted::NotQueued { .. } | NotGranted::Deadlock { .. } | NotGranted::TimedOut
            );
            assert!(is_no, "{refused:?}");
            world.books.lock().not_converted(page);
            refused.lock
        }
    }
}

/// Adds one to a number in a value block, reading and writing it under EX.
async fn add_one(world: &World, session: &Session, random: &mut SmallRng) {
    let name = counter(random.random_range(0..COUNTERS));
    let (page, lock) = ask(world, session, &name, Ex, LockRequest::read_value).await.unwrap();
    let value = lock.value().unwrap();
    assert!(value.valid, "no writer has died");
    let stored = u64::from_le_bytes(value.bytes.as_ref().try_into().unwrap_or_default());
    let number = world.books.lock().counts(&name, stored);
    if random.random_bool(0.3) {
        // Stored by a down-conversion, which is a grant, too.
        world.books.lock().converts(page, session.id(), Nl);
        let lock = lock.convert(Nl).store(number.to_le_bytes()).await.unwrap();
        world.books.lock().counted(&name, number);
        world.books.lock().granted(page, session.id(), lock.grant());
        release(world, page, lock).await;
    } else {
        world.books.lock().releases(page);
        lock.release_with(number.to_le_bytes()).await.unwrap();
        world.books.lock().counted(&name, number);
        world.books.lock().gone(page);
    }
}

pub(crate) fn counter(at: usize) -> String {
    format!("counter {at}")
}

/// Holds something for a while, in one mode after the other.
async fn hold(world: &World, session: &Session, random: &mut SmallRng) {
    let name = format!("name {}", random.random_range(0..NAMES));
    let mode = [Nl, Cr, Cw, Pr, Pw, Ex][random.random_range(0..6)];
    let wait = match random.random_range(0..4) {
        0 => Wait::No,
        1 => Wait::UpTo(Duration::from_millis(random.random_range(1..200))),
        _ => Wait::Forever,
    };
    let (page, mut lock) = match ask(world, session, &name, mode, |request| request.wait(wait)).await {
        Ok(granted) => granted,
        Err(NotGranted::NotQueued { .. } | NotGranted::TimedOut | NotGranted::Deadlock { .. }) => return,
        Err(other) => panic!("{other}"),
    };
    for _ in 0..random.random_range(0..3) {
        let to = [Nl, Cr, Cw, Pr, Pw, Ex][random.random_range(0..6)];
        if lock.mode().covers(to) || to.covers(lock.mode()) {
            let wait =
                if random.random_bool(0.5) { Wait::No } else { Wait::UpTo(Duration::from_millis(300)) };
            lock = convert(world, page, lock, to, wait).await;
        }
    }
    release(world, page, lock).await;
}

/// Asks, and changes its mind while it waits; the grant may be faster.
async fn give_up(world: &World, session: &Session, random: &mut SmallRng) {
    let name = counter(random.random_range(0..COUNTERS));
    let (token, polls) = (CancellationToken::new(), random.random_range(0..30));
    let asking = ask(world, session, &name, Pr, |request| request.cancel_on(token.clone()));
    let cancelling = async {
        for _ in 0..polls {
            tokio::task::yield_now().await;
        }
        token.cancel();
    };
    match tokio::join!(asking, cancelling).0 {
        Ok((page, lock)) => release(world, page, lock).await,
        Err(NotGranted::Cancelled) => {}
        Err(other) => panic!("{other}"),
    }
}

/// Sessions that come and go, and leave an orphan each, which is found again.
pub(crate) async fn come_and_go(world: Arc<World>, heir: Session) {
    let mut number = 0;
    while !world.is_enough.load(SeqCst) {
        number += 1;
        let (guest, name) = (session(&world, "guest").await, format!("orphan {number}"));
        let asked = ask(&world, &guest, &name, Pw, LockRequest::persistent).await;
        let (page, lock) = asked.unwrap();
        world.books.lock().leaves(page);
        world.books.lock().session_closes(guest.id());
        guest.close().await.unwrap();
        world.books.lock().orphaned(page);
        drop(lock);
        world.books.lock().is_adopted(page, heir.id(), Pw);
        let found = heir.adopt(&name, KEY).mode(Pw).await.unwrap();
        world.books.lock().granted(page, heir.id(), found.grant());
        release(&world, page, found).await;
    }
}

/// Some who wait for one lock, one behind the other, over at least one start: they are served in this order.
pub(crate) async fn stand_in_line(world: Arc<World>, holder: Session, waiting: Vec<Session>) {
    assert_eq!(waiting.len(), QUEUED);
    while !world.is_enough.load(SeqCst) {
        let (page, held) = ask(&world, &holder, QUEUE, Ex, |request| request).await.unwrap();
        let line = waiting.iter().map(|session| tokio::spawn(wait_in_line(world.clone(), session.clone())));
        let line: Vec<_> = line.collect();
        // The order is known when each has been seen to wait: it is the one that the server says.
        let order = Mutex::new(Vec::new());
        until("all of them wait", async || {
            let seen = waiting_now(&holder).await;
            *order.lock() = seen;
            order.lock().len() == QUEUED
        })
        .await;
        let order = order.into_inner();
        world.books.lock().queue.clone_from(&order);
        let starts = world.starts.load(SeqCst);
        until_for_long(|| world.starts.load(SeqCst) > starts || world.is_enough.load(SeqCst)).await;
        world.books.lock().queue.clear();
        release(&world, page, held).await;
        let mut served = Vec::new();
        for one in line {
            served.push(one.await.unwrap());
        }
        served.sort();
        let served: Vec<_> = served.into_iter().map(|(_, lock)| lock).collect();
        assert_eq!(served, order, "served in the order in which they waited");
    }
}

async fn wait_in_line(world: Arc<World>, session: Session) -> (Seq, LockId) {
    let (page, lock) = ask(&world, &session, QUEUE, Ex, |request| request).await.unwrap();
    let served = (lock.seq(), lock.id());
    release(&world, page, lock).await;
    served
}

/// Who waits now, in order; nobody while there is no answer.
async fn waiting_now(client: &Client) -> Vec<LockId> {
    let path = [ResourceName::new(QUEUE.as_bytes()).unwrap()];
    let Ok(Some((shown, _))) = client.show_resource(Default::default(), &path).await else {
        return Vec::new();
    };
    shown.locks.iter().filter(|lock| lock.queue == Queue::Waiting).map(|lock| lock.lock).collect()
}

/// As long as a campaign takes.
async fn until_for_long(is_so: impl Fn() -> bool) {
    while !is_so() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Sessions for those who stand in line.
pub(crate) async fn line(world: &World) -> Vec<Session> {
    let mut sessions = Vec::new();
    for _ in 0..QUEUED {
        sessions.push(session(world, "in line").await);
    }
    sessions
}
