//! Three candidates, one office: a leader that resigns, one that dies, and an observer who sees it all without asking.
//!
//! `cargo run --example leader_election`; see docs/examples/leader_election.md.

mod stage;

use enq::client::{
    Client, Fence, Session,
    recipes::{Election, Leader},
};
use std::{error::Error, time::Duration};
use tokio::{task::JoinHandle, time::timeout};

const NAME: &str = "examples/leader";
const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let stage = stage::Stage::set().await?;
    timeout(Duration::from_secs(40), elect(&stage.servers)).await??;
    stage.clear().await;
    Ok(())
}

async fn election(servers: &[String], name: &str) -> Result<(Session, Election), Box<dyn Error>> {
    let session =
        Session::builder(name).purpose("example: election").bind_connection(true).connect(servers).await?;
    let election = Election::on(session.lock(NAME).reason(name));
    Ok((session, election))
}

/// A candidate that waits in a task of its own.
async fn candidate(
    servers: &[String],
    name: &'static str,
) -> Result<(Session, JoinHandle<Option<Leader>>), Box<dyn Error>> {
    let (session, election) = election(servers, name).await?;
    let waits = tokio::spawn(async move { election.campaign(name).await.ok() });
    Ok((session, waits))
}

async fn elected(waits: JoinHandle<Option<Leader>>) -> Result<Leader, Box<dyn Error>> {
    Ok(timeout(PATIENCE, waits).await??.ok_or("the candidate was refused")?)
}

/// What the observer sees when somebody new leads; that nobody leads is seen, too, if it lasts.
async fn seen(observer: &mut enq::client::recipes::Observer) -> Result<String, Box<dyn Error>> {
    loop {
        match timeout(PATIENCE, observer.changed()).await?? {
            Some(leader) => return Ok(String::from_utf8_lossy(leader).into_owned()),
            None => println!("observer: nobody leads"),
        }
    }
}

async fn elect(servers: &[String]) -> Result<(), Box<dyn Error>> {
    let (_watching, watched) = election(servers, "observer").await?;
    let mut observer = watched.observe().await?;
    assert_eq!(observer.leader(), None);

    let (_anna, anna) = candidate(servers, "anna").await?;
    let anna = elected(anna).await?;
    println!("observer: {} leads", seen(&mut observer).await?);
    let (ben_session, ben) = candidate(servers, "ben").await?;
    let (_cleo, cleo) = candidate(servers, "cleo").await?;

    let first: Fence = anna.fence();
    let answer = anna.run_until_lost(async { 6 * 7 }).await?;
    println!("anna did her work ({answer}) under fence {first} and resigns");
    anna.resign().await?;

    // Whoever came first of the two.
    let (next, second) = (seen(&mut observer).await?, watched.leader().await?);
    println!("observer: {next} leads, and says so to whoever asks: {:?}", second.map(|name| name.len()));
    let admin = Client::connect(servers).await?;
    let (gone, other) = if next == "ben" { (ben, cleo) } else { (cleo, ben) };
    let gone = elected(gone).await?;
    assert!(gone.fence() > first, "a later leader has a higher fence");
    println!("{next} dies in office");
    admin.expire_session(gone.office().session().id(), "dies in office").await?;

    let last = seen(&mut observer).await?;
    println!("observer: {last} leads");
    assert_ne!(last, next);
    elected(other).await?.resign().await?;
    drop(ben_session);
    Ok(())
}
