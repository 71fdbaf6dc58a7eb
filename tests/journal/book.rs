//! What must be found again: a list of all records ever appended, and how a journal is compared with it.

use crate::disk::{Model, State, Told};
use enq::log::journal::{OpenError, Planted, Recovery, Report, Settings, Started};
use rand::{Rng, SeedableRng, rngs::SmallRng};
use std::{sync::Arc, time::Duration};

/// Journals of a few sectors, so that everything happens often.
pub(crate) fn settings(planted: Planted) -> Settings {
    Settings {
        segment_bytes: 8 * 512,
        batch_bytes: 2400,
        spares: 1,
        spares_max: 2,
        queue_bytes: 1 << 16,
        idle: Duration::from_millis(1),
        planted,
    }
}

/// The number that journals of tests begin under.
pub(crate) const ID: u64 = 0x1234_5678_9abc_def0;

/// A record by chance; seldom an empty one.
pub(crate) fn record(dice: &mut SmallRng) -> Vec<u8> {
    let length = if dice.random_ratio(1, 8) { 0 } else { dice.random_range(1..600) };
    (0..length).map(|_| dice.random()).collect()
}

/// Every record, in order; position 1 is the first.
#[derive(Clone, Default)]
pub(crate) struct Book {
    pub(crate) records: Vec<Vec<u8>>,
}

impl Book {
    pub(crate) fn last(&self) -> u64 {
        self.records.len() as u64
    }

    fn at(&self, position: u64) -> Option<&[u8]> {
        Some(self.records.get(usize::try_from(position).ok()?.checked_sub(1)?)?)
    }

    /// What a snapshot of this position has in it: as many bytes as it takes sectors to tear it.
    pub(crate) fn snapshot(&self, position: u64) -> Vec<u8> {
        let mut sum = position;
        for record in self.records.iter().take(usize::try_from(position).unwrap()) {
            for byte in record {
                sum = sum.wrapping_mul(0x100_0000_01b3) ^ u64::from(*byte);
            }
        }
        let mut dice = SmallRng::seed_from_u64(sum);
        (0..700 + sum % 600).map(|_| dice.random()).collect()
    }

    /// Reads all of a journal and compares it; says how far it goes.
    pub(crate) fn compare(&self, recovery: &mut Recovery) -> Result<u64, Wrong> {
        let mut last = 0;
        if let Some(mut reader) = recovery.snapshot()? {
            let mut content = Vec::new();
            while let Some(piece) = reader.piece()? {
                content.extend_from_slice(piece);
            }
            last = reader.position();
            if content != self.snapshot(last) {
                return Err(Wrong::Content(format!("the snapshot of {last} is not what was written")));
            }
        }
        while let Some(batch) = recovery.batch()? {
            for (position, record) in batch.records() {
                if position != last + 1 {
                    return Err(Wrong::Content(format!("position {position} after {last}")));
                }
                if self.at(position) != Some(record) {
                    return Err(Wrong::Content(format!("position {position} is not what was written")));
                }
                last = position;
            }
        }
        Ok(last)
    }

    /// Starts from this state, and says what is wrong with what it finds.
    pub(crate) fn start(&self, state: &State, told: Told, planted: Planted) -> Result<Found, Wrong> {
        let disk = Model::new(state.clone());
        let found = self.start_on(&disk, planted)?;
        if found.last < told.durable {
            return Err(Wrong::Content(format!(
                "{} was promised, and {} is the last",
                told.durable, found.last
            )));
        }
        if found.started.epoch <= told.epoch {
            return Err(Wrong::Content(format!("epoch {} after {}", found.started.epoch, told.epoch)));
        }
        Ok(found)
    }

    pub(crate) fn start_on(&self, disk: &Model, planted: Planted) -> Result<Found, Wrong> {
        let mut recovery = Recovery::open(Arc::new(disk.clone()), settings(planted), ID)?;
        let last = self.compare(&mut recovery)?;
        let started = recovery.start()?;
        if started.report.last != last || started.writer.next() != last + 1 {
            return Err(Wrong::Content(format!("{last} is the last, and the report says otherwise")));
        }
        Ok(Found { last, started, disk: disk.clone() })
    }
}

/// A journal that has started.
pub(crate) struct Found {
    pub(crate) last: u64,
    pub(crate) started: Started,
    pub(crate) disk: Model,
}

impl Found {
    pub(crate) fn report(&self) -> &Report {
        &self.started.report
    }
}

/// What is wrong with a journal.
#[derive(Debug)]
pub(crate) enum Wrong {
    /// It is not opened.
    Refused(OpenError),
    /// It is opened and is not what it should be.
    Content(String),
}

impl From<OpenError> for Wrong {
    fn from(error: OpenError) -> Wrong {
        Wrong::Refused(error)
    }
}

impl std::fmt::Display for Wrong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Wrong::Refused(error) => write!(f, "refused: {error}"),
            Wrong::Content(what) => f.write_str(what),
        }
    }
}
