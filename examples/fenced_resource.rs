//! A resource that checks fences refuses a holder that slept through the end of its lease; one that does not loses an
//! update.
//!
//! `cargo run --example fenced_resource`; see docs/examples/fenced_resource.md.

mod stage;

use enq::client::{Fence, FenceGate, Lock, LockMode, Session, Stale};
use std::{error::Error, time::Duration};
use tokio::time::timeout;

const NAME: &str = "examples/fenced";

/// The thing that the lock protects: an account, on a server of its own that knows nothing of locks but their fences.
#[derive(Default)]
struct Account {
    balance: u64,
    /// None for the control, which believes everybody.
    gate: Option<FenceGate>,
}

impl Account {
    fn read(&mut self, fence: Fence) -> u64 {
        // The first thing after a grant, before anything is read: nobody with an older fence may write from now on.
        if let Some(gate) = &mut self.gate {
            gate.raise(fence);
        }
        self.balance
    }

    fn write(&mut self, fence: Fence, balance: u64) -> Result<(), Stale> {
        if let Some(gate) = &mut self.gate {
            gate.pass(fence)?;
        }
        self.balance = balance;
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let stage = stage::Stage::set().await?;
    let fenced = Account { balance: 100, gate: Some(FenceGate::default()) };
    let fenced = timeout(Duration::from_secs(20), two_deposits(&stage.servers, fenced)).await??;
    println!("with fences:    100 + 50, and 10 refused = {}", fenced.balance);
    assert_eq!(fenced.balance, 150, "fenced-effect exclusion: the deposit that was made is there");

    let unfenced = Account { balance: 100, gate: None };
    let unfenced = timeout(Duration::from_secs(20), two_deposits(&stage.servers, unfenced)).await??;
    println!("without fences: 100 + 50 + 10 = {}, the deposit of 50 is lost", unfenced.balance);
    assert_eq!(unfenced.balance, 110, "the sleeper wrote over it");
    stage.clear().await;
    Ok(())
}

async fn open(servers: &[String], name: &str) -> Result<(Session, Lock), Box<dyn Error>> {
    let session = Session::builder(name).purpose("example: fences").connect(servers).await?;
    let lock = session.lock(NAME).mode(LockMode::Ex).await?;
    Ok((session, lock))
}

/// Two deposits, the first by a holder that sleeps between reading and writing.
async fn two_deposits(servers: &[String], mut account: Account) -> Result<Account, Box<dyn Error>> {
    let (asleep, its_lock) = open(servers, "sleeper").await?;
    let (fence, balance) = (its_lock.fence(), account.read(its_lock.fence()));
    assert!(its_lock.held(), "it asks whether it holds the lock, and it does");

    // It sleeps here, longer than its lease: a long garbage collection, a suspended laptop, a paused machine. To save the
    // reader the wait, an administrator ends its session, with the same effect.
    let admin = enq::client::Client::connect(servers).await?;
    admin.expire_session(asleep.id(), "it sleeps").await?;

    let (awake, lock) = open(servers, "next").await?;
    let read = account.read(lock.fence());
    account.write(lock.fence(), read + 50)?;
    lock.release().await?;
    awake.close().await?;

    // It wakes up in the middle of its work, and does not ask again whether it still holds the lock.
    match account.write(fence, balance + 10) {
        Ok(()) => println!("the sleeper's write was accepted"),
        Err(stale) => println!("the sleeper's write was refused: {stale}"),
    }
    assert!(
        !its_lock.held() || timeout(Duration::from_secs(2), asleep.lost()).await.is_ok(),
        "it would know by now"
    );
    Ok(account)
}
