//! At most so many at a time, in the order in which they came.
//!
//! The resource has one subresource for each permit. Whoever wants a permit takes the resource in EX, which makes it the
//! only one to look for a free permit and the others wait in line behind it; asks for all permits at once and keeps the
//! first that it gets; and goes on with the resource in NL, which its permit keeps. The number of permits stands in the
//! value block, so that two programs that do not agree on it find out.

use crate::client::{Flags, Lock, LockMode, LockRequest, NotGranted, Refused, Status};
use std::{future::IntoFuture as _, ops::Deref};
use tokio::task::JoinSet;

/// The most permits a semaphore may have: a request for one costs as many requests.
const PERMITS_MAX: u16 = 256;

/// See the front page.
#[derive(Clone)]
pub struct Semaphore {
    request: LockRequest,
    permits: u16,
}

/// One of the permits, as long as it is held.
#[must_use = "it is released when it is dropped"]
#[derive(Debug)]
pub struct Permit(Lock);

impl Semaphore {
    /// On the resource that this request names; its mode is not looked at. None for no permits, or more than 256.
    #[must_use]
    pub fn on(request: LockRequest, permits: u16) -> Option<Semaphore> {
        (1..=PERMITS_MAX).contains(&permits).then_some(Semaphore { request, permits })
    }

    /// Waits for a permit: as long as the request says for the place at the head of the line, then as long as it takes.
    ///
    /// # Errors
    /// [`NotGranted`]; [`Status::BadParam`] if others use another number of permits here.
    pub async fn permit(&self) -> Result<Permit, NotGranted> {
        let line = self.request.clone().mode(LockMode::Ex).read_value().await?;
        let agreed = line.value().filter(|value| !value.bytes.is_empty()).map(|value| value.bytes.clone());
        if agreed.is_some_and(|agreed| *agreed != self.permits.to_le_bytes()) {
            return Err(NotGranted::Refused(Status::BadParam));
        }
        // Waiting for any one of several is not what a search for deadlocks may take for waiting for each of them.
        let ask = |number: u16| {
            line.sublock(number.to_le_bytes())
                .flags(Flags::NODLCKWT)
                .reason("a permit of a semaphore")
                .into_future()
        };
        let mut asked: JoinSet<Result<Lock, NotGranted>> = (0..self.permits).map(ask).collect();
        let first = asked.join_next().await;
        let permit = match first {
            Some(Ok(granted)) => granted?,
            Some(Err(_)) | None => return Err(NotGranted::Aborted),
        };
        // The others are withdrawn, and released where they were granted too, before the next in line comes.
        asked.abort_all();
        while asked.join_next().await.is_some() {}
        let stays = line.convert(LockMode::Nl).store(self.permits.to_le_bytes()).await;
        // The guard goes; the lock stays, because the permit is a sublock of it.
        stays.map(|_| Permit(permit)).map_err(|refused| refused.why)
    }
}

impl Permit {
    /// Gives the permit back and waits for the answer.
    ///
    /// # Errors
    /// As [`Lock::release`].
    pub async fn release(self) -> Result<(), Refused> {
        self.0.release().await
    }
}

impl Deref for Permit {
    type Target = Lock;

    fn deref(&self) -> &Lock {
        &self.0
    }
}
