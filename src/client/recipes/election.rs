//! One leader at a time, who says something about itself, and observers who are told when that changes.
//!
//! The resource has one subresource, the *office*. A candidate waits for it in PW; the leader's value stands in its value
//! block, which is *not valid* after a leader that died and empty after one that resigned. The resource itself stands
//! for the *term*: the leader converts it to EX, observers wait for it in CR. So an observer is granted CR when a term
//! ends, and told that it blocks when the next one begins; it then steps back to NL and waits again. It reads the value
//! only when CR is held or asked for: whoever read it before could miss a whole term in between, because its request
//! would stand behind a leader that it has never seen. Nobody polls, and no observer stands in the way of a leader: the
//! office is the leader's whether or not its term has been noticed.
//!
//! Between two terms an observer may see no leader or go straight on to the next one. What the leader does must be
//! fenced ([`Leader::fence`]) where it matters: an election alone cannot stop a former leader that slept.

use crate::client::{
    Fence, Flags, Lock, LockLost, LockMode, LockRequest, NotGranted, Refused, ValueBlock, Wait,
};
use std::{
    future::Future,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};
use tokio::task::JoinHandle;

/// The name of the subresource that the leader holds.
const OFFICE: &[u8] = b"office";

/// See the front page.
#[derive(Clone)]
pub struct Election {
    request: LockRequest,
}

impl Election {
    /// On the resource that this request names; its mode and time to wait are not looked at.
    #[must_use]
    pub fn on(request: LockRequest) -> Election {
        Election { request }
    }

    /// The resource in NL, which is granted whatever others hold or wait for.
    async fn enter(&self) -> Result<Lock, NotGranted> {
        let request = self.request.clone().mode(LockMode::Nl).wait(Wait::Forever);
        request.flags(Flags::EXPEDITE).notices(true).await
    }

    /// Waits to become the leader, and says this about itself: at most as many bytes as the lockspace's value blocks
    /// have, and not none.
    ///
    /// # Errors
    /// [`NotGranted`].
    pub async fn campaign(&self, value: impl AsRef<[u8]>) -> Result<Leader, NotGranted> {
        let root = self.enter().await?;
        let office = root.sublock(OFFICE).mode(LockMode::Pw).notices(true).await?;
        let office = office.convert(LockMode::Pw).store(value).await.map_err(|refused| refused.why)?;
        let term = tokio::spawn(async move { root.convert(LockMode::Ex).await.ok() });
        Ok(Leader { office: Some(office), term })
    }

    /// What the leader says about itself at this moment; none if there is no leader.
    ///
    /// # Errors
    /// [`NotGranted`], if the session is lost.
    pub async fn leader(&self) -> Result<Option<Box<[u8]>>, NotGranted> {
        read(&self.enter().await?).await
    }

    /// Observes who leads.
    ///
    /// # Errors
    /// [`NotGranted`], if the session is lost.
    pub async fn observe(&self) -> Result<Observer, NotGranted> {
        let root = self.enter().await?;
        let leader = read(&root).await?;
        Ok(Observer { election: self.clone(), root, place: Place::None, leader })
    }
}

/// What stands in the office's value block.
async fn read(root: &Lock) -> Result<Option<Box<[u8]>>, NotGranted> {
    let look = root.sublock(OFFICE).mode(LockMode::Nl).flags(Flags::EXPEDITE).read_value().await?;
    let said = |value: &ValueBlock| value.valid && !value.bytes.is_empty();
    Ok(look.value().filter(|value| said(value)).map(|value| value.bytes.clone()))
}

/// The office, as long as it is held.
#[must_use = "a leader that is dropped resigns"]
#[derive(Debug)]
pub struct Leader {
    /// None only while the leader resigns.
    office: Option<Lock>,
    term: JoinHandle<Option<Lock>>,
}

impl Leader {
    /// The lock that is the office.
    pub fn office(&self) -> &Lock {
        self.office.as_ref().expect("only resigning takes the office away, and it takes the leader with it")
    }

    /// What to show to whatever the leader acts upon.
    #[must_use]
    pub fn fence(&self) -> Fence {
        self.office().fence()
    }

    /// Runs a future as long as this is safely the leader.
    ///
    /// # Errors
    /// Why the future was dropped before its end.
    pub async fn run_until_lost<F: Future>(&self, work: F) -> Result<F::Output, LockLost> {
        self.office().run_until_lost(work).await
    }

    /// Says something else about itself. A grant of its own: the fence is a new one. Those who observe see it when they
    /// look, but are woken by terms only.
    ///
    /// # Errors
    /// Why not; whether this is still the leader, the office tells.
    pub async fn proclaim(&mut self, value: impl AsRef<[u8]>) -> Result<(), NotGranted> {
        let Some(office) = self.office.take() else { return Ok(()) };
        match office.convert(LockMode::Pw).store(value).await {
            Ok(office) => {
                self.office = Some(office);
                Ok(())
            }
            Err(Refused { lock, why }) => {
                self.office = Some(lock);
                Err(why)
            }
        }
    }

    /// Gives the office back; there is no leader until the next candidate has it.
    ///
    /// # Errors
    /// [`NotGranted`], if the session is lost.
    pub async fn resign(mut self) -> Result<(), NotGranted> {
        let Some(office) = self.office.take() else { return Ok(()) };
        self.term.abort();
        office.release_with([]).await.map_err(|refused| refused.why)
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        self.term.abort();
        if let Some(office) = self.office.take() {
            // Polled once, the release is sent; whether it is answered nobody waits to see.
            let release = pin!(office.release_invalidating());
            let _ = release.poll(&mut Context::from_waker(Waker::noop()));
        }
    }
}

/// Told when the leader changes.
#[must_use = "nothing is observed until `changed` is awaited"]
pub struct Observer {
    election: Election,
    /// Looks by this lock on the resource, which stays in NL.
    root: Lock,
    place: Place,
    leader: Option<Box<[u8]>>,
}

/// Where an observer's other lock on the resource is.
enum Place {
    /// There was none yet, or it was lost.
    None,
    /// In NL. What is read now may be out of date before anybody is told.
    Aside(Lock),
    /// Asked for CR: behind the leader, so it is granted when the term ends. Or on its way back to NL.
    Moving(Moving),
    /// In CR: told when a term begins.
    Between(Lock),
}

/// A conversion of an observer's. It outlives a wait that is given up.
struct Moving {
    to: LockMode,
    conversion: Pin<Box<dyn Future<Output = Result<Lock, Refused>> + Send>>,
}

impl Moving {
    /// Asked for before this returns: the first poll sends it.
    fn begin(lock: Lock, to: LockMode) -> Result<Place, NotGranted> {
        let conversion = lock.convert(to).notices(true);
        // Behind the leader that waits for observers to step back, not past it.
        let conversion = if to == LockMode::Cr { conversion.queue_behind() } else { conversion };
        let mut moving = Moving { to, conversion: conversion.into_future() };
        match moving.conversion.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(done) => moving.done(done),
            Poll::Pending => Ok(Place::Moving(moving)),
        }
    }

    fn done(&self, done: Result<Lock, Refused>) -> Result<Place, NotGranted> {
        let lock = done.map_err(|refused| refused.why)?;
        Ok(if self.to == LockMode::Cr { Place::Between(lock) } else { Place::Aside(lock) })
    }
}

impl Observer {
    /// What the leader said about itself when it was last seen; none if there was no leader.
    #[must_use]
    pub fn leader(&self) -> Option<&[u8]> {
        self.leader.as_deref()
    }

    /// Waits until it is another one, or none.
    ///
    /// # Errors
    /// [`NotGranted`], if the session is lost, or if an administrator took a lock of the observer's away while it asked for
    /// something by it: then the next call observes on.
    pub async fn changed(&mut self) -> Result<Option<&[u8]>, NotGranted> {
        loop {
            // First the place in the queue, then the look: what comes after the look is told.
            self.take_place().await?;
            let seen = read(&self.root).await?;
            if seen != self.leader {
                self.leader = seen;
                return Ok(self.leader.as_deref());
            }
            self.told().await?;
        }
    }

    /// Until CR is held or asked for.
    async fn take_place(&mut self) -> Result<(), NotGranted> {
        if !self.root.held() {
            self.root = self.election.enter().await?;
        }
        loop {
            match std::mem::replace(&mut self.place, Place::None) {
                Place::None => self.place = Place::Aside(self.election.enter().await?),
                Place::Aside(lock) => self.place = Moving::begin(lock, LockMode::Cr)?,
                held_or_asked => {
                    let back = matches!(&held_or_asked, Place::Moving(moving) if moving.to == LockMode::Nl);
                    self.place = held_or_asked;
                    if !back {
                        return Ok(());
                    }
                    self.moved().await?;
                }
            }
        }
    }

    /// The end of a term, or, in CR, the beginning of one, for which it steps aside.
    async fn told(&mut self) -> Result<(), NotGranted> {
        match &self.place {
            Place::Moving(_) => return self.moved().await,
            // A place that is lost is taken anew; a session that is lost has no place to give.
            Place::Between(lock) => {
                if lock.blocking().await.is_err() {
                    self.place = Place::None;
                }
            }
            Place::None | Place::Aside(_) => return Ok(()),
        }
        if let Place::Between(lock) = std::mem::replace(&mut self.place, Place::None) {
            self.place = Moving::begin(lock, LockMode::Nl)?;
        }
        Ok(())
    }

    /// The end of the conversion under way.
    async fn moved(&mut self) -> Result<(), NotGranted> {
        if let Place::Moving(moving) = &mut self.place {
            let done = moving.conversion.as_mut().await;
            let done = moving.done(done);
            // A conversion that has ended is not asked again, whatever came of it.
            self.place = Place::None;
            self.place = done?;
        }
        Ok(())
    }
}
