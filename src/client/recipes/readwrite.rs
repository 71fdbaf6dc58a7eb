//! Many readers or one writer, told apart by type.
//!
//! Readers hold PR, a writer EX. A writer can go on as a reader without letting another writer in between; a reader that
//! wants to write has to let go first, because two readers who both wait for the other to leave would wait for ever.

use crate::client::{Lock, LockMode, LockRequest, NotGranted, Refused};
use std::ops::Deref;

/// A resource that is read by many or written by one.
#[derive(Clone)]
pub struct ReadWrite {
    request: LockRequest,
}

/// The right to read, as long as it is held.
#[must_use = "it is released when it is dropped"]
#[derive(Debug)]
pub struct Reading(Lock);

/// The right to write, as long as it is held.
#[must_use = "it is released when it is dropped"]
#[derive(Debug)]
pub struct Writing(Lock);

impl ReadWrite {
    /// On the resource that this request names; its mode is not looked at, everything else is.
    #[must_use]
    pub fn on(request: LockRequest) -> ReadWrite {
        ReadWrite { request }
    }

    /// Waits until nobody writes.
    ///
    /// # Errors
    /// [`NotGranted`].
    pub async fn read(&self) -> Result<Reading, NotGranted> {
        self.request.clone().mode(LockMode::Pr).await.map(Reading)
    }

    /// Waits until nobody reads or writes.
    ///
    /// # Errors
    /// [`NotGranted`].
    pub async fn write(&self) -> Result<Writing, NotGranted> {
        self.request.clone().mode(LockMode::Ex).await.map(Writing)
    }
}

impl Writing {
    /// Goes on as a reader, at once; other readers may come, no writer can have been in between.
    ///
    /// # Errors
    /// [`Refused`], if the session is lost.
    pub async fn into_reading(self) -> Result<Reading, Refused> {
        self.0.convert(LockMode::Pr).await.map(Reading)
    }

    /// Releases it and waits for the answer.
    ///
    /// # Errors
    /// As [`Lock::release`].
    pub async fn release(self) -> Result<(), Refused> {
        self.0.release().await
    }
}

impl Reading {
    /// Releases it and waits for the answer.
    ///
    /// # Errors
    /// As [`Lock::release`].
    pub async fn release(self) -> Result<(), Refused> {
        self.0.release().await
    }
}

impl Deref for Reading {
    type Target = Lock;

    fn deref(&self) -> &Lock {
        &self.0
    }
}

impl Deref for Writing {
    type Target = Lock;

    fn deref(&self) -> &Lock {
        &self.0
    }
}
