//! Everything that a directory has, read to its last byte and judged file by file: for who looks after a journal, not for
//! a start. What a start would not read is read here, too.
//!
//! Nothing is changed. While a server writes, the last segment may end in a batch that is not whole yet.

use super::{
    batch::Batch,
    contents::{Contents, Walked},
    error::OpenError,
    layout::Name,
    snapshot::SnapshotReader,
};

/// How a segment ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SegmentEnd {
    /// With its last batch.
    Whole,
    /// With a batch that is not whole, and that nobody was told of: torn by a crash, or being written.
    Torn(&'static str),
    /// Before something that was there once.
    Damaged(String),
}

/// One thing after the other.
#[derive(Debug)]
pub enum Seen<'a> {
    /// A segment begins.
    Segment {
        /// Its name.
        name: &'a str,
        /// The position of its first record.
        first: u64,
    },
    /// A batch.
    Batch {
        /// Where it begins.
        offset: u64,
        /// The last position that was durable when it was written.
        durable: u64,
        /// The records.
        batch: Batch<'a>,
    },
    /// The end of what can be read of a segment.
    End {
        /// Its name.
        name: &'a str,
        /// Where it is.
        offset: u64,
        /// The position that would come next; none if the segment cannot be read at all.
        next: Option<u64>,
        /// How it ends.
        end: SegmentEnd,
    },
}

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// The head.
    Head,
    /// The note of attempts.
    Attempts,
    /// A segment.
    Segment,
    /// A spare segment.
    Spare,
    /// A snapshot.
    Snapshot,
    /// A file that is being made, or was when somebody stopped.
    Unfinished,
}

/// A file of the directory.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// What it is.
    pub sort: Sort,
    /// The first and the last position that it has, as far as it can be read.
    pub positions: Option<(u64, u64)>,
    /// Its length, if it is still there.
    pub bytes: Option<u64>,
    /// What is wrong with it, and where.
    pub wrong: Option<String>,
    /// Is its last batch torn, or being written?
    pub is_torn: bool,
}

/// All of it.
#[derive(Clone, Debug)]
pub struct Survey {
    /// The epoch of the last start, if the head can be read.
    pub epoch: Option<u32>,
    /// Up to here all is durable, as the head and the batches say; more may be.
    pub durable: u64,
    /// The files.
    pub entries: Vec<Entry>,
}

impl Contents<'_> {
    /// Reads all segments that have any of these positions, in order, and goes on behind what is damaged.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn read_all(&self, (from, to): (u64, u64), see: &mut dyn FnMut(Seen<'_>)) -> Result<(), OpenError> {
        let mut numbers = self.segments.keys().copied().peekable();
        while let Some(number) = numbers.next() {
            let name = Name::Segment(number).text();
            let following =
                numbers.peek().and_then(|number| Some((*number, self.segments[number].as_ref().ok()?.first)));
            match &self.segments[&number] {
                Err(error) => {
                    let end = SegmentEnd::Damaged(plainly(error));
                    see(Seen::End { name: &name, offset: 0, next: None, end });
                }
                Ok(plate) if plate.first > to => break,
                Ok(_) if following.is_some_and(|(_, first)| first <= from) => {}
                Ok(plate) => self.read_segment(&name, (number, plate.first), following, see)?,
            }
        }
        Ok(())
    }

    fn read_segment(
        &self,
        name: &str,
        (number, first): (u64, u64),
        following: Option<(u64, u64)>,
        see: &mut dyn FnMut(Seen<'_>),
    ) -> Result<(), OpenError> {
        see(Seen::Segment { name, first });
        let Some(mut walk) = self.walk(number)? else { return Ok(()) };
        let mut next = first;
        loop {
            match walk.step() {
                Walked::Batch(offset, durable, batch) if batch.first() == next => {
                    next = batch.next();
                    see(Seen::Batch { offset, durable, batch });
                }
                Walked::Batch(offset, ..) => {
                    let end = SegmentEnd::Damaged("a batch does not follow the one before it".into());
                    see(Seen::End { name, offset, next: Some(next), end });
                    return Ok(());
                }
                Walked::End(offset, why) => {
                    let end = self.judge(next, why, following);
                    see(Seen::End { name, offset, next: Some(next), end });
                    return Ok(());
                }
                Walked::Gap(offset, why, behind) => {
                    let end = SegmentEnd::Damaged(format!(
                        "{why}, and there is an intact batch at offset {behind}, written later"
                    ));
                    see(Seen::End { name, offset, next: Some(next), end });
                    return Ok(());
                }
            }
        }
    }

    /// A segment ends before this position.
    fn judge(&self, next: u64, why: Option<&'static str>, following: Option<(u64, u64)>) -> SegmentEnd {
        let what = why.unwrap_or("there is no batch");
        match (following, why) {
            (Some((_, first)), _) if first == next => SegmentEnd::Whole,
            (Some((number, first)), _) => {
                SegmentEnd::Damaged(format!("{what}, and segment {number} begins with position {first}"))
            }
            (None, _) if next <= self.durable() => {
                SegmentEnd::Damaged(format!("{what}, and position {} was durable", self.durable()))
            }
            (None, Some(why)) => SegmentEnd::Torn(why),
            (None, None) => SegmentEnd::Whole,
        }
    }

    /// Up to here all is durable, as the head says; 0 if it cannot be read.
    #[must_use]
    pub fn durable(&self) -> u64 {
        match &self.head {
            Some(Ok(found)) => found.head.durable,
            Some(Err(_)) | None => 0,
        }
    }

    /// Reads every file of the directory.
    ///
    /// # Errors
    /// One of them cannot be read.
    pub fn survey(&self) -> Result<Survey, OpenError> {
        let mut entries = Vec::new();
        let mut durable = self.durable();
        if let Some(head) = &self.head {
            let wrong = match head {
                Ok(found) if found.has_damage => {
                    Some("one of its two slots is damaged; the other one counts".into())
                }
                Ok(_) => None,
                Err(error) => Some(plainly(error)),
            };
            entries.push(Entry { wrong, ..self.entry(Name::Head.text(), Sort::Head) });
        }
        if self.has_attempts {
            entries.push(self.entry(Name::Attempts.text(), Sort::Attempts));
        }
        for position in self.snapshots() {
            let wrong = self.snapshot(position).and_then(SnapshotReader::verify).err();
            let wrong = wrong.map(|error| plainly(&error));
            let entry = self.entry(Name::Snapshot(position).text(), Sort::Snapshot);
            entries.push(Entry { positions: Some((1, position)), wrong, ..entry });
        }
        self.read_all((0, u64::MAX), &mut |seen| match seen {
            Seen::Segment { name, .. } => entries.push(self.entry(name.into(), Sort::Segment)),
            Seen::Batch { durable: said, batch, .. } => {
                durable = durable.max(said);
                let Some(entry) = entries.last_mut() else { return };
                let first = entry.positions.map_or(batch.first(), |(first, _)| first);
                entry.positions = Some((first, batch.next() - 1));
            }
            Seen::End { name, offset, next, end } => {
                if next.is_none() {
                    entries.push(self.entry(name.into(), Sort::Segment));
                }
                let Some(entry) = entries.last_mut() else { return };
                match end {
                    SegmentEnd::Whole => {}
                    SegmentEnd::Torn(_) => entry.is_torn = true,
                    SegmentEnd::Damaged(why) => {
                        let place = next
                            .map_or(String::new(), |next| format!(" at offset {offset}, position {next}"));
                        entry.wrong = Some(format!("damaged{place}: {why}"));
                    }
                }
            }
        })?;
        entries.extend(self.spares.iter().map(|number| self.entry(Name::Spare(*number).text(), Sort::Spare)));
        entries.extend(self.unfinished.iter().map(|name| self.entry(name.clone(), Sort::Unfinished)));
        let epoch = self.epoch().ok().filter(|_| self.head.is_some());
        Ok(Survey { epoch, durable, entries })
    }

    fn entry(&self, name: String, sort: Sort) -> Entry {
        let bytes = self.access.disk.open(&name).and_then(|file| file.length()).ok();
        Entry { name, sort, positions: None, bytes, wrong: None, is_torn: false }
    }
}

/// What is wrong with a file, without its name and without advice.
fn plainly(error: &OpenError) -> String {
    match error {
        OpenError::Damaged(damage) => match damage.offset {
            Some(offset) => format!("damaged at offset {offset}: {}", damage.why),
            None => format!("damaged: {}", damage.why),
        },
        error => error.to_string(),
    }
}
