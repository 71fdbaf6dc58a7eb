//! Connections: two streams of bytes that take their time, and end in all the ways in which connections end.
//!
//! As TCP promises, bytes come in order, each once, until the stream ends; when they come, in how many pieces, and how
//! many of the last ones never, nobody promises. Two connections know nothing of each other: what was written on an old
//! one may come long after a new one was made.

use super::clock::Time;
use rand::{Rng as _, rngs::StdRng};
use std::collections::VecDeque;

/// How a connection treats its bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manners {
    /// How long a piece takes.
    pub(crate) latency: (Time, Time),
    /// Bytes that are on their way or not read, at most; beyond that a write takes nothing.
    pub(crate) room: usize,
    /// Pieces are no longer than that.
    pub(crate) piece: usize,
}

/// One direction.
#[derive(Debug)]
pub(crate) struct Stream {
    manners: Manners,
    flying: VecDeque<(Time, Vec<u8>)>,
    arrived: VecDeque<u8>,
    last: Time,
    stalled_until: Time,
    /// Bytes that still go through before the stream breaks.
    passes: Option<usize>,
    /// The stream has ended, and the reader learns that then, after what came before.
    ends: Option<Time>,
    /// Since when something is there that was not read.
    unread: Option<Time>,
}

/// What a reader finds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Nothing,
    Bytes(Vec<u8>),
    End,
}

impl Stream {
    pub(crate) fn new(manners: Manners) -> Stream {
        Stream {
            manners,
            flying: VecDeque::new(),
            arrived: VecDeque::new(),
            last: 0,
            stalled_until: 0,
            passes: None,
            ends: None,
            unread: None,
        }
    }

    fn inside(&self) -> usize {
        self.flying.iter().map(|(_, piece)| piece.len()).sum::<usize>() + self.arrived.len()
    }

    /// Takes as many bytes as there is room for, and says how many; `comes` learns when its pieces come.
    pub(crate) fn write(
        &mut self,
        now: Time,
        bytes: &[u8],
        random: &mut StdRng,
        comes: &mut Vec<Time>,
    ) -> usize {
        if self.ends.is_some() {
            // It is broken, and the writer has not learnt it.
            return bytes.len();
        }
        let taken = bytes.len().min(self.manners.room.saturating_sub(self.inside()));
        let mut rest = &bytes[..taken];
        while !rest.is_empty() {
            let len = random.random_range(1..=self.manners.piece).min(rest.len());
            let (piece, after) = rest.split_at(len);
            rest = after;
            let (least, most) = self.manners.latency;
            let at = now.max(self.stalled_until) + random.random_range(least..=most);
            self.last = self.last.max(at);
            if comes.last() != Some(&self.last) {
                comes.push(self.last);
            }
            let piece = match &mut self.passes {
                None => piece.to_vec(),
                Some(passes) => {
                    let through = len.min(*passes);
                    *passes -= through;
                    piece[..through].to_vec()
                }
            };
            if self.passes == Some(0) {
                self.ends.get_or_insert(self.last);
            }
            self.flying.push_back((self.last, piece));
        }
        taken
    }

    /// What has come by now is there to be read.
    fn arrive(&mut self, now: Time) {
        while self.flying.front().is_some_and(|(comes, _)| *comes <= now) {
            let (comes, piece) = self.flying.pop_front().expect("it was looked at");
            if !piece.is_empty() {
                self.unread.get_or_insert(comes);
            }
            self.arrived.extend(piece);
        }
    }

    /// Since when something is there that was not read, if anything is.
    pub(crate) fn unread_since(&mut self, now: Time) -> Option<Time> {
        self.arrive(now);
        self.unread
    }

    /// What the reader finds now.
    pub(crate) fn read(&mut self, now: Time) -> Found {
        self.arrive(now);
        if !self.arrived.is_empty() {
            self.unread = None;
            return Found::Bytes(self.arrived.drain(..).collect());
        }
        match self.ends {
            Some(ends) if ends <= now && self.flying.is_empty() => Found::End,
            _ => Found::Nothing,
        }
    }

    /// Nothing comes before that moment.
    pub(crate) fn stall(&mut self, until: Time) {
        self.stalled_until = self.stalled_until.max(until);
        for (comes, _) in &mut self.flying {
            *comes = (*comes).max(until);
        }
        self.last = self.flying.back().map_or(self.last, |(comes, _)| self.last.max(*comes));
        self.ends = self.ends.map(|ends| ends.max(self.last));
    }

    /// No more stalling: what is on its way comes soon.
    pub(crate) fn heal(&mut self, soon: Time) {
        self.stalled_until = 0;
        let mut last = 0;
        for (comes, _) in &mut self.flying {
            *comes = (*comes).min(soon);
            last = *comes;
        }
        self.last = last;
        self.ends = self.ends.map(|ends| ends.min(soon).max(last));
        self.passes = None;
    }

    /// It breaks after so many more bytes.
    pub(crate) fn break_after(&mut self, bytes: usize) {
        self.passes.get_or_insert(bytes);
    }

    /// The writer says no more: the reader learns it after all that was written. Says when.
    pub(crate) fn finish(&mut self, at: Time) -> Time {
        self.last = self.last.max(at);
        *self.ends.get_or_insert(self.last)
    }

    /// The connection is reset: what is on its way is lost, and sometimes what was not read. Says when the reader
    /// learns it.
    pub(crate) fn reset(&mut self, at: Time, loses_unread: bool) -> Time {
        self.flying.clear();
        if loses_unread {
            self.arrived.clear();
            self.unread = None;
        }
        self.ends = Some(self.ends.map_or(at, |ends| ends.min(at)));
        at
    }
}

#[test]
fn bytes_come_in_order_whatever_the_pieces() {
    use rand::SeedableRng as _;
    for seed in 0..50 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut stream = Stream::new(Manners { latency: (1, 50), room: 40, piece: 7 });
        let sent: Vec<u8> = (0..200).collect();
        let (mut at, mut now, mut got) = (0, 0, Vec::new());
        while got.len() < sent.len() {
            now += 3;
            at += stream.write(now, &sent[at..], &mut random, &mut Vec::new());
            if now % 30 == 0 {
                stream.stall(now + 20);
            }
            if let Found::Bytes(bytes) = stream.read(now) {
                got.extend(bytes);
            }
        }
        assert_eq!(got, sent);
        assert_eq!(stream.read(now), Found::Nothing);
        let ends = stream.finish(now);
        assert_eq!(stream.read(ends), Found::End);
    }
}
