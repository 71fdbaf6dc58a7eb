//! A register in the state image: what its session may say next, and what it has not acknowledged.
//!
//! What belongs to one connection is not in it: how much was sent there, whether somebody hears notices, the notices. Who
//! comes out of an image has been sent nothing; but each output that was made may be acknowledged, for a connection of
//! before may have brought it.

use super::super::super::LockRef;
use super::super::super::image::{Bad, Image, Reader, Writer};
use super::super::{
    handles::Handles,
    outgoing::{Entry, Outgoing},
};
use super::{Bounds, Register};
use enq_protocol::vocabulary::{Handle, LockId};
use std::collections::VecDeque;

impl Register {
    /// Writes both halves.
    pub fn put_image(&self, outgoing: &Outgoing, to: &mut Writer) {
        let Register {
            bounds: _,
            last,
            last_digest,
            admitted: _,
            admitted_digest: _,
            under_way_bytes: _,
            handles,
            touched,
            waiting_at_most: _,
            answers: _,
            in_flight: _,
            in_flight_bytes: _,
            to_send,
            to_send_weight: _,
            retained,
            retained_weight: _,
            sent: _,
            acked,
            hears_from: _,
            attachment: _,
            ended,
            condemned: _,
        } = self;
        let Outgoing { last: last_output, unsent, unsent_weight: _, ended: freed, waiting, heard: _ } =
            outgoing;
        last.write(to);
        to.fixed(&last_digest.to_le_bytes());
        write_handles(handles, to);
        for shards in touched {
            to.fixed(&shards.to_le_bytes());
        }
        ended.write(to);
        acked.write(to);
        last_output.write(to);
        waiting.write(to);
        freed.write(to);
        let kept = || retained.iter().chain(to_send).chain(unsent).filter(|entry| entry.number != 0);
        kept().count().write(to);
        kept().for_each(|entry| entry.write(to));
    }

    /// The two halves with this image; all that is not acknowledged is to be sent.
    ///
    /// # Errors
    /// The bytes are not those of a register.
    pub fn from_image(from: &mut Reader<'_>, bounds: Bounds) -> Result<(Register, Outgoing), Bad> {
        let last = Image::read(from)?;
        let last_digest = u64::from_le_bytes(from.fixed()?);
        let handles = read_handles(from)?;
        let mut touched = [0; 4];
        for shards in &mut touched {
            *shards = u64::from_le_bytes(from.fixed()?);
        }
        let ended = Image::read(from)?;
        let (acked, last_output) = (u64::read(from)?, u64::read(from)?);
        let (waiting, freed) = (Image::read(from)?, Image::read(from)?);
        let to_send = read_entries(from, acked, last_output)?;
        let answers = || to_send.iter().filter(|entry| entry.request().is_some());
        let in_flight_bytes = answers().try_fold(0_u32, |bytes, entry| bytes.checked_add(entry.request_len));
        let register = Register {
            bounds,
            last,
            last_digest,
            admitted: last,
            admitted_digest: last_digest,
            under_way_bytes: 0,
            handles,
            touched,
            waiting_at_most: waiting,
            answers: 0,
            in_flight: u32::try_from(answers().count()).unwrap_or(u32::MAX),
            in_flight_bytes: in_flight_bytes
                .ok_or_else(|| from.wrong("requests that are too long together"))?,
            to_send_weight: to_send.iter().map(Entry::weight).sum(),
            to_send,
            retained: VecDeque::new(),
            retained_weight: 0,
            sent: last_output,
            acked,
            hears_from: None,
            attachment: 0,
            ended,
            condemned: false,
        };
        let (unsent, unsent_weight) = (VecDeque::new(), 0);
        let outgoing =
            Outgoing { last: last_output, unsent, unsent_weight, ended: freed, waiting, heard: false };
        Ok((register, outgoing))
    }

    /// About how many bytes it takes to say what is not acknowledged, notices apart: the same for whoever has taken the
    /// same inputs, whatever was sent.
    #[must_use]
    pub fn kept_weight(&self, outgoing: &Outgoing) -> usize {
        let all = self.retained.iter().chain(&self.to_send).chain(&outgoing.unsent);
        all.filter(|entry| entry.number != 0).map(Entry::weight).sum()
    }
}

/// Each as how far it is from the one before, and its lock; for a level of a path a lock of that shard in generation 0.
fn write_handles(handles: &Handles, to: &mut Writer) {
    handles.in_use().write(to);
    let mut last = 0;
    for (handle, shard, meant) in handles.from(0) {
        (handle.number() - last).write(to);
        last = handle.number();
        match meant {
            LockRef::Id(lock) => lock.write(to),
            LockRef::Handle(_) => LockId::new(shard, 0, 0).write(to),
        }
    }
}

fn read_handles(from: &mut Reader<'_>) -> Result<Handles, Bad> {
    let mut handles = Handles::default();
    let mut last = 0_u32;
    for _ in 0..from.count()? {
        let number = last.checked_add(u32::read(from)?).filter(|number| *number > last);
        // With no bound on locks handles still stay below the slots of a shard, so their table does.
        let number = number.filter(|number| *number <= LockId::SLOT_MAX);
        let handle = number.and_then(Handle::new).ok_or_else(|| from.wrong("a handle out of order"))?;
        last = handle.number();
        let lock = LockId::read(from)?;
        match lock.generation() {
            0 => {
                from.ensure(lock.slot() == 0, "a level of a path with a slot")?;
                handles.start_path(handle, lock.shard());
            }
            _ => handles.start(handle, lock),
        }
    }
    Ok(handles)
}

/// Numbered so that the last one is the last output.
fn read_entries(from: &mut Reader<'_>, acked: u64, last: u64) -> Result<VecDeque<Entry>, Bad> {
    let mut entries: VecDeque<Entry> = VecDeque::read(from)?;
    let count = entries.len() as u64;
    let fits = last.checked_sub(acked).is_some_and(|unacknowledged| count <= unacknowledged);
    from.ensure(fits && last < u64::MAX, "more outputs than are not acknowledged")?;
    for (entry, number) in entries.iter_mut().zip(last - count + 1..) {
        entry.number = number;
    }
    Ok(entries)
}
