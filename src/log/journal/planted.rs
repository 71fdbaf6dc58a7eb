//! Mistakes that tests plant in the journal, to see that the checks find them (`docs/testing.md`).
//!
//! Without the feature `planted`, which only the tests of this repository switch on, [`Planted`] has no content.

/// One mistake of a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// Names are taken for durable although the directory was not synced.
    DirectoryIsNotSynced,
    /// A batch is called durable when it is written; the next one syncs it.
    AcknowledgedBeforeSync,
    /// Nothing says that the last batch was durable.
    DurableIsNotNoted,
    /// Segments are recycled before the snapshot that stands for them is durable.
    RecycledTooEarly,
    /// Only one snapshot is kept, and the records after it.
    OneSnapshot,
    /// A snapshot gets its name before its content is synced.
    NamedBeforeSynced,
    /// What a segment held before it was recycled looks right.
    StaleBatchesAreRight,
    /// A sync that failed is tried again.
    SyncIsTriedAgain,
    /// Whatever is damaged is cut off as a torn tail.
    CutAtAnyDamage,
    /// What was found at the end of the journal is not written again.
    TailIsNotRewritten,
    /// Of the two slots of the head one is written.
    OneSlot,
    /// The head does not know the newest segment.
    HeadForgetsSegments,
    /// A start has the epoch of the one before.
    EpochIsNotRaised,
    /// What a snapshot stands for is handed out again.
    KnownRecordsComeAgain,
}

#[cfg(feature = "planted")]
impl Mistake {
    /// All of them.
    pub const ALL: [Mistake; 14] = [
        Mistake::DirectoryIsNotSynced,
        Mistake::AcknowledgedBeforeSync,
        Mistake::DurableIsNotNoted,
        Mistake::RecycledTooEarly,
        Mistake::OneSnapshot,
        Mistake::NamedBeforeSynced,
        Mistake::StaleBatchesAreRight,
        Mistake::SyncIsTriedAgain,
        Mistake::CutAtAnyDamage,
        Mistake::TailIsNotRewritten,
        Mistake::OneSlot,
        Mistake::HeadForgetsSegments,
        Mistake::EpochIsNotRaised,
        Mistake::KnownRecordsComeAgain,
    ];
}

/// What is planted, if anything is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Planted {
    #[cfg(feature = "planted")]
    mistake: Option<Mistake>,
}

impl Planted {
    /// Nothing is.
    pub const NONE: Planted = Planted {
        #[cfg(feature = "planted")]
        mistake: None,
    };

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
