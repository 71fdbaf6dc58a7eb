//! Why a load could not be driven to its end.

use std::{io, time::Duration};

use enq_protocol::{
    vocabulary::Status,
    wire::{DecodeError, EncodeError},
};

/// Why there are no figures. One failure ends the whole run: a figure with a hole in it is none.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// This machine would not do what is needed.
    #[error("{what}: {why}")]
    System {
        /// What was tried.
        what: String,
        /// What the system says.
        why: io::Error,
    },
    /// The server could not be reached, or hung up.
    #[error("{server}: {why}")]
    Lost {
        /// Which.
        server: String,
        /// What the system says.
        why: io::Error,
    },
    /// The server refused a request that it should have granted.
    #[error("{server} refuses {what}: {status}")]
    Refused {
        /// Which.
        server: String,
        /// The request.
        what: &'static str,
        /// Why.
        status: Status,
    },
    /// The server says something that does not belong there.
    #[error("{server} says what it should not: {said}")]
    Nonsense {
        /// Which.
        server: String,
        /// What it says.
        said: String,
    },
    /// The server does not answer.
    #[error("{server} has not answered for {after:?}")]
    Silent {
        /// Which.
        server: String,
        /// For how long.
        after: Duration,
    },
    /// What was asked for cannot be done.
    #[error("{0}")]
    Impossible(String),
    /// Somebody has ended the run.
    #[error("ended by a signal")]
    Stopped,
}

impl LoadError {
    /// What this machine would not do.
    pub(super) fn system(what: impl Into<String>) -> impl FnOnce(io::Error) -> LoadError {
        let what = what.into();
        move |why| LoadError::System { what, why }
    }
}

/// What is wrong with one answer, before it is known whose it is.
#[derive(Debug, PartialEq, Eq)]
pub enum Wrong {
    /// It refuses a request.
    Refused(&'static str, Status),
    /// It does not belong there.
    Nonsense(String),
}

impl Wrong {
    /// With the name of the server.
    pub(super) fn of(self, server: &str) -> LoadError {
        let server = server.to_owned();
        match self {
            Wrong::Refused(what, status) => LoadError::Refused { server, what, status },
            Wrong::Nonsense(said) => LoadError::Nonsense { server, said },
        }
    }
}

impl From<DecodeError> for Wrong {
    fn from(error: DecodeError) -> Wrong {
        Wrong::Nonsense(error.to_string())
    }
}

impl From<EncodeError> for Wrong {
    fn from(error: EncodeError) -> Wrong {
        Wrong::Nonsense(error.to_string())
    }
}
