//! One story: somebody holds a lock, packets are lost for a while, and somebody else waits for the lock.

use std::{future::IntoFuture as _, sync::Arc, time::Duration};

use enq::client::{Client, Lock, Moment, Session, SessionId, Wait, now};
use nix::sys::signal::Signal;
use tokio::{
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::{Holder, Story, TTL, road::Road};
use crate::stage::{PATIENCE, Server, code_of, eventually, mark, marked, pid_of, send, start};

/// How long after the end of the lease the next one may have to wait.
const SOON: Duration = Duration::from_millis(500);

/// What a story is told on.
struct Place {
    story: Story,
    server: Server,
    road: Road,
    /// Whoever waits for the lock, on a good connection.
    other: Session,
}

/// The lock in the hands of the next one, and when it came.
type Next = JoinHandle<(Moment, Lock)>;

/// The two moments between which the holder's lease ended on the server, from what the server said last.
type LeaseEnd = JoinHandle<(Moment, Moment)>;

pub(super) async fn tell(story: Story) {
    let (server, road) = Road::to_a_server().await;
    let other = Session::builder("next").connect(&[&server.address]).await.expect("a good connection");
    let place = Place { story, server, road, other };
    match story.holder {
        Holder::Free => place.library(false).await,
        Holder::Bound => place.library(true).await,
        Holder::Command => place.command().await,
    }
}

impl Place {
    /// The next one asks for the lock. When it comes, nobody may believe in it any more.
    async fn next_waits(&self, believes: impl Fn() -> bool + Send + 'static) -> Next {
        let (other, story) = (self.other.clone(), self.story);
        let next = tokio::spawn(async move {
            let lock = other.lock("x").wait(Wait::UpTo(PATIENCE)).await.expect("it comes in time");
            let believes = believes();
            assert!(!believes, "{story:?}: two believe in the lock");
            (now(), lock)
        });
        self.server.until_queued("x", "waiting").await;
        next
    }

    /// Asks the server again and again how long the lease is.
    async fn watch_lease(&self, session: SessionId) -> LeaseEnd {
        let looks = Client::connect(&[&self.server.address]).await.expect("a good connection");
        tokio::spawn(async move {
            let mut end = (Moment::default(), Moment::default());
            loop {
                let before = now();
                let Ok(view) = looks.show_session(session).await else { return end };
                let left = Duration::from_millis(view.lease_left_ms);
                // Milliseconds are rounded.
                end = (before.plus(left.saturating_sub(Duration::from_millis(2))), now().plus(left));
                sleep(Duration::from_millis(10)).await;
            }
        })
    }

    async fn until_the_end_of_it(&self) {
        let Story { lost, time, .. } = self.story;
        sleep(time).await;
        self.road.heal(lost).await;
    }

    /// The next one was served in time, and not before its time.
    async fn check_grant(&self, granted: Moment, lease: LeaseEnd, what: &str) {
        let (earliest, latest) = lease.await.expect("it only looks");
        let Story { seed, holder, .. } = self.story;
        println!("{:?}: {what}; {:?} after the end of the lease", self.story, granted.since(earliest));
        assert!(
            granted <= latest.plus(SOON),
            "ENQ_DROPS_SEED={seed}: {:?} too late",
            granted.since(latest.plus(SOON))
        );
        if holder == Holder::Free {
            assert!(granted >= earliest, "ENQ_DROPS_SEED={seed}: {:?} too early", earliest.since(granted));
        }
    }

    async fn library(self, bound: bool) {
        let Story { seed, lost, asks, .. } = self.story;
        let story = format!("ENQ_DROPS_SEED={seed}: {:?}", self.story);
        let builder = Session::builder("holder").ttl(TTL).bind_connection(bound);
        let session = builder.connect(&[self.road.address()]).await.expect("all is well yet");
        let lock = Arc::new(session.lock("x").await.expect("nobody is in the way"));
        let believer = Arc::downgrade(&lock);
        let next = self.next_waits(move || believer.upgrade().is_some_and(|lock| lock.held())).await;
        let lease = self.watch_lease(session.id()).await;
        session.ping().await.expect("all is well yet");
        self.road.lose(lost).await;
        let under_way = asks.then(|| tokio::spawn(session.lock("y").into_future()));
        self.until_the_end_of_it().await;

        let pinged = timeout(PATIENCE, session.ping()).await.expect("it hears, or it knows that it will not");
        assert!(pinged.is_ok() || !lock.held(), "{story}: held by a session that is lost");
        if self.story.is_short() && !bound {
            assert!(lock.held(), "{story}: lost: {:?}", lock.loss());
        }
        if !lock.held() {
            // If the session goes on although the lock was given up for lost, this releases it.
            drop(lock);
            let (granted, _) = next.await.expect("see above");
            return match pinged {
                Err(_) => self.check_grant(granted, lease, "lost").await,
                Ok(()) => lease.abort(),
            };
        }
        assert!(!next.is_finished(), "{story}: two hold the lock");
        if let Some(under_way) = under_way {
            let asked = timeout(PATIENCE, under_way).await.expect("it is answered in time");
            let asked = asked.expect("it only asks").expect("nobody is in the way");
            let seen = self.other.show_lock(asked.id()).await.expect("it is there");
            assert_eq!(seen.handle, asked.handle(), "{story}: what was asked once is there once");
        }
        let lock = Arc::into_inner(lock).expect("nobody else has it for long");
        let fence = lock.fence();
        lock.release().await.expect("it is held");
        let (_, next) = timeout(PATIENCE, next).await.expect("it is free").expect("see above");
        assert!(next.fence() > fence, "{story}");
        lease.abort();
        println!("{story}: goes on");
    }

    async fn command(self) {
        let Story { seed, lost, .. } = self.story;
        let story = format!("ENQ_DROPS_SEED={seed}: {:?}", self.story);
        let mark = mark();
        let line = format!("exec sleep {mark}");
        let mut command = self.server.enq(&["run", "--ttl", "2s", "x", "--", "sh", "-c", &line]);
        command.env("ENQ_SERVERS", self.road.address());
        let mut run = start(command);
        eventually(&story, async || marked(&mark).len() == 1).await;
        let word = mark.clone();
        let next = self.next_waits(move || !marked(&word).is_empty()).await;
        let sessions = self.other.sessions().await.expect("a look");
        let of_run = sessions.iter().find(|session| session.session != self.other.id()).expect("it has one");
        let lease = self.watch_lease(of_run.session).await;
        self.road.lose(lost).await;
        self.until_the_end_of_it().await;

        let is_over = async || next.is_finished() || marked(&mark).is_empty();
        let waits = async {
            while !is_over().await {
                sleep(Duration::from_millis(10)).await;
            }
        };
        // If nothing has happened within two leases more, nothing will.
        if timeout(TTL * 2, waits).await.is_err() {
            send(pid_of(&run), Signal::SIGTERM);
            assert_eq!(code_of(&mut run).await, Some(143), "{story}");
            lease.abort();
            println!("{story}: goes on");
        } else {
            assert_eq!(code_of(&mut run).await, Some(76), "{story}");
            let (granted, _) = timeout(PATIENCE, next).await.expect("it is free").expect("see above");
            return self.check_grant(granted, lease, "killed").await;
        }
        let (_, lock) = timeout(PATIENCE, next).await.expect("it is free").expect("see above");
        assert!(lock.held(), "{story}");
    }
}
