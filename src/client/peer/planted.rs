//! Mistakes that tests plant in the client, to see that the checks find them (`docs/testing.md`, the museum).
//!
//! Without the feature `planted`, which only the tests of this repository switch on, [`Planted`] has no content.

/// One mistake of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// A request that was not answered is said again with a new number.
    RetriesWithANewNumber,
    /// Requests that the server did not execute are not said again.
    AsksOnlyOnce,
    /// The lease counts from the moment an answer is heard.
    LeaseFromTheAnswer,
}

/// What is planted, if anything is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Planted {
    #[cfg(feature = "planted")]
    mistake: Option<Mistake>,
}

#[cfg(feature = "planted")]
impl Mistake {
    /// All of them.
    pub const ALL: [Mistake; 3] =
        [Mistake::RetriesWithANewNumber, Mistake::AsksOnlyOnce, Mistake::LeaseFromTheAnswer];
}

impl Planted {
    /// This mistake.
    #[cfg(feature = "planted")]
    #[must_use]
    pub fn new(mistake: Mistake) -> Planted {
        Planted { mistake: Some(mistake) }
    }

    /// Is it this one?
    #[cfg(feature = "planted")]
    pub(super) fn is(self, mistake: Mistake) -> bool {
        self.mistake == Some(mistake)
    }

    /// Nothing is planted outside of tests.
    #[cfg(not(feature = "planted"))]
    #[inline]
    pub(super) fn is(self, _: Mistake) -> bool {
        false
    }
}

#[cfg(feature = "planted")]
impl<L> super::Peer<L> {
    /// Plants a mistake, before a session begins.
    pub fn plant(&mut self, planted: Planted) {
        self.planted = planted;
    }
}
