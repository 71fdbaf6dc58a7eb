//! Mistakes that tests plant, to see that the checks find them (`docs/testing.md`, the museum).
//!
//! Without the feature `planted`, which only the tests of this repository switch on, there is nothing here: [`Planted`]
//! has no content and every question after a mistake is answered "no" by the compiler.

/// One mistake, of those that lock services have made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// A request that waits outlives its session and is granted to nobody.
    GrantToTheDead,
    /// A request whose time is over is told so and stays in the queue.
    TimedOutStays,
    /// A conversion that ends without a grant leaves the lock with NL.
    ConversionForgetsItsMode,
    /// The value block of a writer that died is taken for valid.
    ValueOutlivesItsWriter,
    /// A down-conversion keeps its seq and its fence.
    DownConversionKeepsItsFence,
    /// The counter of seqs starts over when a resource goes.
    CounterStartsOver,
    /// A new request does not look whether others wait.
    BargesPastTheQueue,
    /// A conversion in place does not look who can be granted now.
    DownConversionWakesNobody,
    /// CANCEL answers DONE for a lock that was granted already.
    CancelDeniesTheGrant,
    /// Blocking notices go to those who hold when the request comes, not to who is granted later.
    LaterHoldersAreNotTold,
    /// An acknowledgement takes one answer too many out of what is kept.
    AcknowledgementTakesTooMuch,
    /// A request that comes again is executed again.
    RepeatsAreExecuted,
    /// Who goes on with a session does not hear again whom its locks keep waiting.
    NoticesAreLostAtResume,
    /// A connection goes on with its session after another one took it over.
    SupersededGoesOn,
    /// What a dead session held is free at once, whatever the lock-delay.
    LockDelayIsIgnored,
    /// A server that was started anew does not wait for the leases of before.
    RecoveryIsIgnored,
    /// All leases that have run out end in one round.
    AllLeasesEndInOneRound,
    /// Leases end although the server itself stood still.
    StallIsNotGivenBack,
    /// What a peer does not read is kept for it, however much it is.
    OutputIsUnbounded,
    /// Room is made for a frame as long as its header says.
    RoomForAnAnnouncement,
    /// The deadlock search sees who holds what a request wants, and not who is ahead of it.
    QueueOrderIsNoEdge,
    /// What was found in copies is not looked at again before somebody is refused.
    ConfirmationIsSkipped,
    /// A refusal hits the lock that was meant, whatever it waits for by now.
    AnyEntryIsTheVictim,
    /// In the deadlock search: who waits for the grant of a conversion that is to be refused waits for what it holds.
    PlannedRefusalsCount,
    /// In a log that is a journal: a request is applied and answered when it is taken in.
    AppliedBeforeDurable,
    /// What had arrived when a request was let in is not put into effect when it is applied.
    AcknowledgementsAreNotApplied,
    /// After a restart the time of the log starts over.
    LogTimeStartsOver,
    /// After a restart leases go on from before.
    LeasesGoOnFromBefore,
}

#[cfg(feature = "planted")]
impl Mistake {
    /// All of them.
    pub const ALL: [Mistake; 28] = [
        Mistake::GrantToTheDead,
        Mistake::TimedOutStays,
        Mistake::ConversionForgetsItsMode,
        Mistake::ValueOutlivesItsWriter,
        Mistake::DownConversionKeepsItsFence,
        Mistake::CounterStartsOver,
        Mistake::BargesPastTheQueue,
        Mistake::DownConversionWakesNobody,
        Mistake::CancelDeniesTheGrant,
        Mistake::LaterHoldersAreNotTold,
        Mistake::AcknowledgementTakesTooMuch,
        Mistake::RepeatsAreExecuted,
        Mistake::NoticesAreLostAtResume,
        Mistake::SupersededGoesOn,
        Mistake::LockDelayIsIgnored,
        Mistake::RecoveryIsIgnored,
        Mistake::AllLeasesEndInOneRound,
        Mistake::StallIsNotGivenBack,
        Mistake::OutputIsUnbounded,
        Mistake::RoomForAnAnnouncement,
        Mistake::QueueOrderIsNoEdge,
        Mistake::ConfirmationIsSkipped,
        Mistake::AnyEntryIsTheVictim,
        Mistake::PlannedRefusalsCount,
        Mistake::AppliedBeforeDurable,
        Mistake::AcknowledgementsAreNotApplied,
        Mistake::LogTimeStartsOver,
        Mistake::LeasesGoOnFromBefore,
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
    #[must_use]
    pub fn is(self, mistake: Mistake) -> bool {
        self.mistake == Some(mistake)
    }

    /// Nothing is planted outside of tests.
    #[cfg(not(feature = "planted"))]
    #[inline]
    #[must_use]
    pub fn is(self, _: Mistake) -> bool {
        false
    }
}
