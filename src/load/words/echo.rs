//! The words of the floor: the very bytes that enqd would be sent. An echo of as many bytes is an answer.

use std::collections::VecDeque;

use bytes::{Buf as _, BytesMut};
use enq_protocol::wire::{FRAME_LEN_MAX, cut};

use super::{Enq, Heard, Said, Words, Wrong};

/// One connection to an echo.
pub struct Echo {
    enq: Enq,
    /// The lengths of the frames that have not come back.
    flying: VecDeque<usize>,
    /// Bytes that have come back and are no whole frame yet.
    back: usize,
}

impl Echo {
    /// Says what these words say.
    #[must_use]
    pub fn of(enq: Enq) -> Echo {
        Echo { enq, flying: VecDeque::new(), back: 0 }
    }

    /// Notes the frames that were said from there on.
    fn note(&mut self, out: &BytesMut, from: usize, frames: usize) -> Result<(), Wrong> {
        if frames == 1 {
            self.flying.push_back(out.len() - from);
            return Ok(());
        }
        let mut rest = &out[from..];
        while let Some(frame) = cut(rest, FRAME_LEN_MAX)? {
            self.flying.push_back(frame.len);
            rest = &rest[frame.len..];
        }
        Ok(())
    }
}

impl Words for Echo {
    fn greet(&mut self, out: &mut BytesMut) -> Result<usize, Wrong> {
        let from = out.len();
        let answers = self.enq.greet(out)?;
        self.note(out, from, answers)?;
        Ok(answers)
    }

    fn say(&mut self, said: Said, out: &mut BytesMut) -> Result<u32, Wrong> {
        let from = out.len();
        let answers = self.enq.say(said, out)?;
        self.note(out, from, if answers == 1 { 1 } else { 0 })?;
        Ok(answers)
    }

    fn renew(&mut self, out: &mut BytesMut) -> Result<(), Wrong> {
        let from = out.len();
        self.enq.renew(out)?;
        self.note(out, from, 1)
    }

    fn leave(&mut self, _: &mut BytesMut) -> Result<usize, Wrong> {
        Ok(0)
    }

    fn hear(&mut self, input: &mut BytesMut, heard: &mut Vec<Heard>) -> Result<(), Wrong> {
        self.back += input.len();
        input.advance(input.len());
        while let Some(len) = self.flying.front().copied().filter(|len| *len <= self.back) {
            self.back -= len;
            self.flying.pop_front();
            heard.push(Heard::Answered);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use enq_protocol::vocabulary::LockMode;

    use super::{
        super::{Root, Step},
        *,
    };
    use crate::load::{Work, Workload};

    #[test]
    fn as_many_bytes_as_were_said_are_the_answers() {
        for (work, answers) in [(Work::Pair, 1_u32), (Work::PipelinedPath, 4)] {
            let mut words = Echo::of(Enq::new(Root::of_run(1), &Workload::plain(work)));
            let mut out = BytesMut::new();
            let said = Said { step: Step::Ask, slot: 0, name: 0, mode: LockMode::Ex };
            assert_eq!(words.say(said, &mut out).unwrap(), answers);
            let mut heard = Vec::new();
            let mut back = out.split_to(out.len() - 1);
            words.hear(&mut back, &mut heard).unwrap();
            assert_eq!(u32::try_from(heard.len() + 1), Ok(answers));
            words.hear(&mut out, &mut heard).unwrap();
            assert_eq!(u32::try_from(heard.len()), Ok(answers));
        }
    }
}
