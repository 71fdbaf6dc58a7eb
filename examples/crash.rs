//! What becomes of a lock whose holder crashes: free at once if its session is bound to its connection, free when the
//! lease has ended if it is not.
//!
//! `cargo run --example crash`; see docs/examples/crash.md. It starts itself again as the process that crashes.

mod stage;

use enq::client::{LockMode, NotGranted, Session, Wait, now};
use std::{env, error::Error, future::IntoFuture as _, process::Stdio, time::Duration};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    time::timeout,
};

const NAME: &str = "examples/crash";
const TTL: Duration = Duration::from_secs(2);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = env::args().collect();
    if let [_, role, server, bound] = words.as_slice()
        && role == "hold"
    {
        return hold(server, bound == "bound").await;
    }
    let stage = stage::Stage::set().await?;
    for bound in [true, false] {
        let waited = timeout(Duration::from_secs(20), crash(&stage.servers[0], bound)).await??;
        let kind = if bound { "bound to its connection" } else { "with a lease of 2 s" };
        println!("session {kind}: its holder was killed, and the lock was granted {waited:?} later");
        if bound {
            assert!(waited < Duration::from_secs(1), "a bound session ends with its connection");
        } else {
            assert!(waited > TTL / 3 && waited < TTL * 2, "another one ends with its lease, not before");
        }
    }
    stage.clear().await;
    Ok(())
}

/// The process that will crash: takes the lock, says so, and holds it until it is killed.
async fn hold(server: &str, bound: bool) -> Result<(), Box<dyn Error>> {
    let session = Session::builder("holder").ttl(TTL).bind_connection(bound).connect(&[server]).await?;
    let lock = session.lock(NAME).mode(LockMode::Ex).reason("about to crash").await?;
    println!("held {}", lock.fence());
    // Long enough to be killed; if nobody does, this process ends by itself.
    tokio::time::sleep(Duration::from_secs(30)).await;
    Ok(())
}

/// Lets a process take the lock, kills it, and measures how long the lock stays taken.
async fn crash(server: &str, bound: bool) -> Result<Duration, Box<dyn Error>> {
    let mut holder = start(server, bound)?;
    let out = holder.stdout.take().ok_or("the holder has no output")?;
    let line = BufReader::new(out).lines().next_line().await?.ok_or("the holder said nothing")?;
    let old: u64 = line.strip_prefix("held ").ok_or("the holder said something else")?.parse()?;

    let session = Session::builder("survivor").bind_connection(true).connect(&[server]).await?;
    match session.lock(NAME).mode(LockMode::Ex).wait(Wait::No).await {
        Err(NotGranted::NotQueued { blocker: Some(blocker), .. }) => {
            let view = session.show_lock(blocker).await?;
            println!("before: lock {blocker} holds {:?} since {} ms", view.granted, view.age_ms);
        }
        other => return Err(format!("the lock should be held: {other:?}").into()),
    }
    let waiting = tokio::spawn(session.lock(NAME).mode(LockMode::Ex).wait(Wait::UpTo(TTL * 3)).into_future());
    holder.start_kill()?;
    let killed = now();
    holder.wait().await?;
    let lock = waiting.await??;
    let waited = now().since(killed);
    // What the dead process may still have on the way can be told from what comes now.
    assert!(lock.fence().0 > old, "the new fence is higher");
    lock.release().await?;
    Ok(waited)
}

fn start(server: &str, bound: bool) -> Result<Child, Box<dyn Error>> {
    let bound = if bound { "bound" } else { "leased" };
    let mut command = Command::new(env::current_exe()?);
    Ok(command.args(["hold", server, bound]).stdout(Stdio::piped()).kill_on_drop(true).spawn()?)
}
