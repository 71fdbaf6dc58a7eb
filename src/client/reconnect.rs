//! From one connection of a session to the next.
//!
//! A connection that breaks, or on which an answer is due for a third of the lease, is given up, and another one is made:
//! to the server that served last, then to the others in turn, with pauses between. Meanwhile guards are told in time
//! what their locks are worth, and what is asked waits. It ends when the session is known to be lost, or some time after
//! its lease has run out.

use super::{
    backoff::Backoff,
    clock::{self, Moment},
    connection::{Connection, converse, sleep_until},
    error::LossCause,
    link::Link,
};
use enq_protocol::vocabulary::Status;
use std::{future::Future, pin::pin, time::Duration};
use tokio::time;

/// Serves a session on as many connections as it takes, or a client on one. Returns why no other one helps.
pub(super) async fn serve(link: &Link, mut connection: Connection) -> LossCause {
    let mut backoff = None;
    loop {
        let began = clock::now();
        let why = converse(link, &mut connection).await;
        let broke = clock::now();
        drop(connection);
        let said = why.to_string();
        if let Err(why) = link.disconnected(why) {
            return why;
        }
        tracing::debug!(server = link.server(), session = %Name(link), why = said, "connection lost");
        let ttl = link.read(|peer| peer.opened().map_or(0, |opened| opened.ttl_ms));
        let backoff =
            backoff.get_or_insert_with(|| Backoff::new(link.persistence, Duration::from_millis(ttl.into())));
        backoff.lasted(broke.since(began));
        connection = match go_on(link, backoff, broke).await {
            Ok(connection) => connection,
            Err(why) => return why,
        };
    }
}

/// The next connection on which the session goes on.
async fn go_on(link: &Link, backoff: &mut Backoff, broke: Moment) -> Result<Connection, LossCause> {
    for (at, server) in link.servers.iter().enumerate().cycle().skip(link.at()) {
        // Without random numbers everybody pauses as long as they may.
        let pause = backoff.pause(getrandom::u64().unwrap_or(u64::MAX));
        meanwhile(link, time::sleep(pause)).await?;
        let why = match meanwhile(link, time::timeout(backoff.within(), attempt(link, server))).await? {
            Ok(Ok(connection)) => {
                link.resumed(at);
                let after = clock::now().since(broke);
                let unanswered = link.read(|peer| peer.unanswered());
                tracing::info!(server, session = %Name(link), ?after, unanswered, "session goes on");
                return Ok(connection);
            }
            Ok(Err(why)) => why,
            Err(_) => LossCause::Disconnected("it does not answer".into()),
        };
        tracing::debug!(server, session = %Name(link), %why, "session does not go on here");
        link.disconnected(final_at(link, at, why))?;
    }
    Err(LossCause::Disconnected("there is no other server".into()))
}

/// That a server does not know the session is final if it is the one that had it, or of its cluster. To another one that
/// stands alone, the session is none of its own.
fn final_at(link: &Link, at: usize, why: LossCause) -> LossCause {
    let alone = link.read(|peer| peer.welcome().is_none_or(|welcome| welcome.members.is_empty()));
    match why {
        LossCause::Ended(Status::Session) if alone && at != link.at() => {
            LossCause::Disconnected("it does not know the session".into())
        }
        why => why,
    }
}

/// Connects, and goes on with the session there.
async fn attempt(link: &Link, server: &str) -> Result<Connection, LossCause> {
    let opened = Connection::open(server, || link.reconnect(clock::now())).await;
    let mut connection = opened.map_err(|error| LossCause::Disconnected(error.to_string()))?;
    while !link.read(|peer| peer.is_up()) {
        connection.hear(link).await?;
    }
    Ok(connection)
}

/// Does something while there is no connection, and tells guards in time what their locks are worth.
async fn meanwhile<T>(link: &Link, work: impl Future<Output = T>) -> Result<T, LossCause> {
    let mut work = pin!(work);
    loop {
        let now = clock::now();
        let turn = link.turn(now)?;
        tokio::select! {
            biased;
            done = &mut work => return Ok(done),
            () = sleep_until(turn.next.map(|at| at.since(now))) => {}
        }
    }
}

/// The session, for those who read what happened.
struct Name<'a>(&'a Link);

impl std::fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let session = self.0.read(|peer| peer.opened().map(|opened| opened.session));
        session.map_or(Ok(()), |session| write!(f, "{session}"))
    }
}
