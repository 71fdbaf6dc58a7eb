//! The client against a real server, over sockets of this machine: guards, looks, losses, recipes.
//!
//! What the pure half of the client does is tested beside it, without a socket. Here it is what only both sides together
//! can show. Nothing waits longer than ten seconds, and nothing sleeps but where time itself is the subject.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed, and says where")]

mod disorder;
mod locks;
mod looks;
mod losses;
mod orphans;
mod owners;
#[path = "../proxy/mod.rs"]
mod proxy;
mod recipes;
mod resume;

use enq::{
    client::{LockMode, LockspaceId, ResourceName, ResourceView, Session},
    server::{Config, Server},
};
use proxy::{Cut, Proxy, Way};
use std::{future::Future, time::Duration};
use tokio::time::timeout;

/// A server of one test.
struct Stage {
    server: Server,
    servers: Vec<String>,
}

impl Stage {
    async fn set() -> Stage {
        let server = Server::start(Config::for_tests()).await.expect("the server starts");
        let servers = vec![server.local_addr().to_string()];
        Stage { server, servers }
    }

    async fn session(&self, name: &str) -> Session {
        Session::builder(name).connect(&self.servers).await.expect("the session opens")
    }
}

/// No test waits for ever.
async fn soon<F: Future>(work: F) -> F::Output {
    timeout(Duration::from_secs(10), work).await.expect("within ten seconds")
}

/// Looks again and again until it is so.
async fn until<F: Future<Output = bool>>(what: impl Fn() -> F) {
    soon(async {
        while !what().await {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

fn path(names: &[&str]) -> Vec<ResourceName> {
    names.iter().map(|name| ResourceName::new(name.as_bytes()).expect("a name")).collect()
}

async fn show(session: &Session, names: &[&str]) -> Option<ResourceView> {
    let seen = session.show_resource(LockspaceId::default(), &path(names)).await.expect("a look");
    seen.map(|(resource, _)| resource)
}

/// So many locks of this resource wait.
async fn wait_for_waiting(session: &Session, name: &str, count: usize) {
    until(|| async {
        let seen = show(session, &[name]).await;
        seen.is_some_and(|seen| seen.locks.iter().filter(|lock| lock.requested.is_some()).count() == count)
    })
    .await;
}

/// Nobody has a lock there.
async fn wait_for_nothing(session: &Session, name: &str) {
    until(|| async { show(session, &[name]).await.is_none() }).await;
}

const EX: LockMode = LockMode::Ex;
const PR: LockMode = LockMode::Pr;
const PW: LockMode = LockMode::Pw;
const NL: LockMode = LockMode::Nl;
const CW: LockMode = LockMode::Cw;
const CR: LockMode = LockMode::Cr;
