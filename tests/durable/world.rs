//! A world of clients that work all the time, whatever happens to their server; and the audit of what it left on disk.

use crate::{
    books::Books,
    stage::{PATIENCE, Place, Server},
    work,
};
use enq::client::{Client, Lock, LockFilter, LockMode, ResourceName, Session};
use parking_lot::Mutex;
use rand::{SeedableRng as _, rngs::SmallRng};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};
use tokio::task::JoinSet;

/// Sessions that are there from the first start to the last.
const SESSIONS: u64 = 4;
/// Tasks of each.
const TASKS: u64 = 3;

/// What all clients share.
pub(crate) struct World {
    pub(crate) address: String,
    pub(crate) books: Mutex<Books>,
    /// How often the server was started anew.
    pub(crate) starts: AtomicU64,
    pub(crate) is_enough: AtomicBool,
}

/// The clients.
pub(crate) struct Clients {
    pub(crate) world: Arc<World>,
    auditor: Session,
    /// A value block lives as long as somebody has a lock on its resource.
    _blocks: Vec<Lock>,
    sessions: Vec<Session>,
    tasks: JoinSet<()>,
}

impl Clients {
    /// Everybody, at work. There is a server.
    pub(crate) async fn at_work(place: &Place, seed: u64) -> Clients {
        let world = Arc::new(World {
            address: place.address.clone(),
            books: Mutex::default(),
            starts: AtomicU64::new(0),
            is_enough: AtomicBool::new(false),
        });
        let auditor = work::session(&world, "auditor").await;
        let mut blocks = Vec::new();
        for at in 0..work::COUNTERS {
            let (name, mode) = (work::counter(at), LockMode::Nl);
            let page = world.books.lock().asks(auditor.id(), &name, mode);
            let block = auditor.lock(&name).mode(mode).await.unwrap();
            world.books.lock().granted(page, auditor.id(), block.grant());
            blocks.push(block);
        }
        let (mut tasks, mut sessions) = (JoinSet::new(), Vec::new());
        for number in 0..SESSIONS {
            let session = work::session(&world, "worker").await;
            for task in 0..TASKS {
                let random = SmallRng::seed_from_u64(seed * 10_000 + number * 100 + task);
                tasks.spawn(work::one_task(world.clone(), session.clone(), random));
            }
            sessions.push(session);
        }
        tasks.spawn(work::come_and_go(world.clone(), sessions[0].clone()));
        let line = work::line(&world).await;
        tasks.spawn(work::stand_in_line(world.clone(), sessions[1].clone(), line.clone()));
        sessions.extend(line);
        Clients { world, auditor, _blocks: blocks, sessions, tasks }
    }

    /// Returns when so many more answers were heard.
    pub(crate) async fn work(&mut self, answers: u64) {
        let wanted = self.world.books.lock().answers + answers;
        let mut last = (0, enq::client::now());
        while self.world.books.lock().answers < wanted {
            while let Some(ended) = self.tasks.try_join_next() {
                ended.expect("a client has failed");
            }
            let (answers, now) = (self.world.books.lock().answers, enq::client::now());
            if answers > last.0 {
                last = (answers, now);
            }
            assert!(now.since(last.1) < PATIENCE, "the clients do not go on");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// The books at this moment: asked for while nobody serves, they are what must be on disk.
    pub(crate) fn books(&self) -> Books {
        self.world.books.lock().clone()
    }

    /// Looks at what is on disk: a server is started on it where no client finds it, and killed after that.
    pub(crate) async fn audit(&self, place: &Place) {
        let books = self.books();
        let aside = place.start_aside().await;
        audit(&aside, &books).await;
        aside.kill().await;
        self.world.starts.fetch_add(1, SeqCst);
    }

    /// Everybody comes to an end, and nothing is left. Says how often each session went on.
    pub(crate) async fn end(mut self, server: &Server) -> Vec<u64> {
        self.work(200).await;
        self.world.is_enough.store(true, SeqCst);
        let all = async {
            while let Some(done) = self.tasks.join_next().await {
                done.expect("a client has failed");
            }
        };
        tokio::time::timeout(PATIENCE, all).await.expect("everybody comes to an end");
        audit(server, &self.books()).await;
        let locks = self.auditor.statistics().await.unwrap().locks;
        assert_eq!(locks, work::COUNTERS as u64, "nothing is left but what the auditor holds");
        self.sessions.iter().map(|session| session.traffic().resumes).collect()
    }
}

/// Compares what a server shows with the books.
async fn audit(server: &Server, books: &Books) {
    let client = Client::connect(&[&server.address]).await.unwrap();
    books.check_sessions(&client.sessions().await.unwrap());
    let (locks, _) = client.locks(LockFilter::default()).collect(usize::MAX).await.unwrap();
    books.check_locks(locks);
    for name in books.counters() {
        let path = [ResourceName::new(name.as_bytes()).unwrap()];
        let (shown, _) = client.show_resource(Default::default(), &path).await.unwrap().expect("it is there");
        assert!(shown.value.valid, "{name} is valid");
        let stored = shown.value.bytes.as_ref().try_into().map_or(0, u64::from_le_bytes);
        books.check_counter(name, stored);
    }
}
