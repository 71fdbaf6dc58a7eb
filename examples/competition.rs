//! Several tasks compete for one lock: who comes first is served first, and nobody is left out.
//!
//! `cargo run --example competition`; see docs/examples/competition.md.

mod stage;

use enq::client::{Client, LockMode, LockspaceId, ResourceName, Session};
use std::{collections::BTreeMap, error::Error, sync::Arc, time::Duration};
use tokio::{sync::Mutex, task::JoinSet, time::timeout};

const NAME: &str = "examples/competition";
const COMPETITORS: usize = 5;
const ROUNDS: usize = 40;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let stage = stage::Stage::set().await?;
    timeout(Duration::from_secs(30), in_line(&stage.servers)).await??;
    timeout(Duration::from_secs(30), all_at_once(&stage.servers)).await??;
    stage.clear().await;
    Ok(())
}

async fn open(servers: &[String], name: &str) -> Result<Session, Box<dyn Error>> {
    Ok(Session::builder(name).purpose("example: competition").bind_connection(true).connect(servers).await?)
}

/// How many locks wait for the resource. A look; the lock itself is not touched by it.
async fn waiting(client: &Client) -> Result<usize, Box<dyn Error>> {
    let path = [ResourceName::new(NAME.as_bytes())?];
    let seen = client.show_resource(LockspaceId::default(), &path).await?;
    Ok(seen.map_or(0, |(resource, _)| resource.locks.iter().filter(|lock| lock.granted.is_none()).count()))
}

/// One after the other asks while the lock is held; when it is released they are served in that order.
async fn in_line(servers: &[String]) -> Result<(), Box<dyn Error>> {
    let first = open(servers, "first").await?;
    let held = first.lock(NAME).mode(LockMode::Ex).reason("lets the others come").await?;
    let served = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = JoinSet::new();
    for number in 0..COMPETITORS {
        let session = open(servers, &format!("competitor {number}")).await?;
        let served = served.clone();
        tasks.spawn(async move {
            let lock = session.lock(NAME).mode(LockMode::Ex).await?;
            served.lock().await.push(number);
            lock.release().await?;
            Ok::<(), Box<dyn Error + Send + Sync>>(())
        });
        // The next one comes when this one stands in line: the requests have an order that can be checked.
        while waiting(&first).await? <= number {
            tokio::task::yield_now().await;
        }
    }
    println!("{} wait behind lock {}", waiting(&first).await?, held.id());
    held.release().await?;
    while let Some(done) = tasks.join_next().await {
        done?.map_err(|error| error.to_string())?;
    }
    let served = served.lock().await.clone();
    println!("asked in the order {:?}, served in the order {served:?}", (0..COMPETITORS).collect::<Vec<_>>());
    assert!(served.iter().copied().eq(0..COMPETITORS), "first come, first served");
    Ok(())
}

/// All ask again and again as fast as they can. Each increments a number that only the lock protects.
async fn all_at_once(servers: &[String]) -> Result<(), Box<dyn Error>> {
    let total = Arc::new(Mutex::new((0_usize, Vec::new())));
    let mut tasks = JoinSet::new();
    for number in 0..COMPETITORS {
        let session = open(servers, &format!("competitor {number}")).await?;
        let total = total.clone();
        tasks.spawn(async move {
            for _ in 0..ROUNDS {
                let lock = session.lock(NAME).mode(LockMode::Ex).await?;
                // Read, pause, write: without the lock, updates would be lost here.
                let read = total.lock().await.0;
                tokio::task::yield_now().await;
                let mut now = total.lock().await;
                now.0 = read + 1;
                now.1.push(number);
                drop(now);
                lock.release().await?;
            }
            Ok::<(), Box<dyn Error + Send + Sync>>(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done?.map_err(|error| error.to_string())?;
    }
    let (count, order) = total.lock().await.clone();
    // How many others were served between two turns of one, as long as all compete.
    let together = order.len() - COMPETITORS * 2;
    let mut last = BTreeMap::new();
    let mut longest = 0;
    for (place, competitor) in order[..together].iter().enumerate() {
        if let Some(before) = last.insert(*competitor, place) {
            longest = longest.max(place - before - 1);
        }
    }
    println!("{count} increments, none lost; at most {longest} others were served between two turns of one");
    assert_eq!(count, COMPETITORS * ROUNDS, "server-order exclusion: no update is lost");
    Ok(())
}
