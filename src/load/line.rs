//! One connection: slots on which the work is done, and the loop that says and hears it.
//!
//! Each slot is a small machine: idle, asking, giving up. The loop has all slots that can go on say their next step, writes once, reads
//! once, and takes in what was read. At full speed and without contention the slots go in step, all answers before the next
//! requests, so that every server is handed the same batches; where one can wait for another, each goes on by itself.

use std::{collections::VecDeque, io, time::Duration};

use bytes::BytesMut;
use enq_protocol::vocabulary::LockMode;
use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::yield_now,
};

use super::{
    error::LoadError,
    tally::Tally,
    words::{Heard, Said, Step, Words},
    zipf::{Chance, Draw},
};
use crate::client::{Moment, now};

/// Room for what is read at once; more than any answer to a batch takes.
const BUFFER: usize = 64 * 1024;

/// When pairs begin.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pace {
    /// As soon as a slot is free.
    Full,
    /// At these moments, whether a slot is free or not: one that is not begins late, and has been waiting.
    At {
        /// The first.
        first: Moment,
        /// Nanoseconds from one to the next.
        every: f64,
    },
}

/// What a line is to do.
#[derive(Clone, Debug)]
pub(super) struct Orders {
    pub(super) pace: Pace,
    /// No pair begins after this.
    pub(super) until: Moment,
    /// The modes, and how they are drawn if there are several.
    pub(super) modes: Vec<LockMode>,
    pub(super) mode_draw: Option<Draw>,
    /// How names are drawn; without it each slot has its own, from this number on.
    pub(super) name_draw: Option<Draw>,
    pub(super) first_name: u32,
    /// Is there one name for all, each release of which goes with the next request?
    pub(super) is_handoff: bool,
    pub(super) chance: Chance,
}

impl Orders {
    /// Do all slots go in step?
    fn is_in_step(&self) -> bool {
        matches!(self.pace, Pace::Full) && self.name_draw.is_none() && !self.is_handoff
    }

    fn name(&mut self, slot: u32) -> u32 {
        match &self.name_draw {
            Some(draw) => u32::try_from(draw.next(&mut self.chance)).unwrap_or(0),
            None if self.is_handoff => 0,
            None => self.first_name + slot,
        }
    }

    fn mode(&mut self) -> LockMode {
        let at = self.mode_draw.as_ref().map_or(0, |draw| draw.next(&mut self.chance));
        self.modes.get(at).copied().unwrap_or(LockMode::Ex)
    }
}

/// One place for one pair at a time.
#[derive(Clone, Copy, Debug)]
struct Slot {
    step: Step,
    /// Answers, or grants, that the step still waits for.
    left: u32,
    /// When the pair should have begun.
    since: Moment,
    /// The name that is worked on.
    name: u32,
}

/// One connection.
pub(super) struct Line {
    server: String,
    stream: TcpStream,
    words: Box<dyn Words>,
    input: BytesMut,
    out: BytesMut,
    slots: Vec<Slot>,
    /// Slots on which nothing goes on.
    idle: Vec<u32>,
    /// Slots whose step is done.
    done: Vec<u32>,
    /// The slot of each request without an answer, oldest first.
    flying: VecDeque<u32>,
    heard: Vec<Heard>,
    /// How many moments of the pace are over.
    begun: u64,
}

impl Line {
    /// Connects and greets.
    pub(super) async fn open(
        server: &str,
        address: &str,
        words: Box<dyn Words>,
        slots: u32,
    ) -> Result<Line, LoadError> {
        let lost = |why| LoadError::Lost { server: server.into(), why };
        let stream = TcpStream::connect(address).await.map_err(lost)?;
        stream.set_nodelay(true).map_err(lost)?;
        let idle = Slot { step: Step::Prepare, left: 0, since: Moment::default(), name: 0 };
        let mut line = Line {
            server: server.into(),
            stream,
            words,
            input: BytesMut::with_capacity(BUFFER),
            out: BytesMut::with_capacity(BUFFER),
            slots: vec![idle; usize::try_from(slots).unwrap_or(0)],
            idle: (0..slots).rev().collect(),
            done: Vec::new(),
            flying: VecDeque::new(),
            heard: Vec::new(),
            begun: 0,
        };
        let answers = line.words.greet(&mut line.out).map_err(|wrong| wrong.of(server))?;
        line.exchange(answers).await?;
        Ok(line)
    }

    /// The most requests that may be in flight.
    pub(super) fn window(&self) -> Option<u32> {
        self.words.window()
    }

    /// Takes what the pairs work on, before they are counted.
    pub(super) async fn prepare(&mut self, orders: &mut Orders) -> Result<(), LoadError> {
        let mut answers = 0;
        for slot in 0..self.slots.len() {
            let slot = u32::try_from(slot).unwrap_or(0);
            let said = Said { step: Step::Prepare, slot, name: orders.name(slot), mode: LockMode::Nl };
            answers += self.words.say(said, &mut self.out).map_err(|wrong| wrong.of(&self.server))?;
        }
        self.exchange(usize::try_from(answers).unwrap_or(0)).await
    }

    /// Says nothing but that it is still there, and waits for the answer.
    pub(super) async fn renew(&mut self) -> Result<(), LoadError> {
        self.words.renew(&mut self.out).map_err(|wrong| wrong.of(&self.server))?;
        self.exchange(1).await
    }

    /// Asks for a lock on each of these names, in slots from this one on; waits for all answers.
    pub(super) async fn hold(&mut self, slot: u32, names: std::ops::Range<u32>) -> Result<(), LoadError> {
        let mut answers = 0;
        for (slot, name) in (slot..).zip(names) {
            let said = Said { step: Step::Ask, slot, name, mode: LockMode::Ex };
            answers += self.words.say(said, &mut self.out).map_err(|wrong| wrong.of(&self.server))?;
        }
        self.exchange(usize::try_from(answers).unwrap_or(0)).await
    }

    /// Says goodbye; all that the connection holds is free when it has returned.
    pub(super) async fn close(mut self) -> Result<(), LoadError> {
        let answers = self.words.leave(&mut self.out).map_err(|wrong| wrong.of(&self.server))?;
        self.exchange(answers).await
    }

    /// Writes what there is, and reads so many answers.
    async fn exchange(&mut self, answers: usize) -> Result<(), LoadError> {
        self.send().await?;
        let mut have = 0;
        while have < answers {
            self.receive().await?;
            have += self.heard.len();
            self.heard.clear();
        }
        Ok(())
    }

    /// Does as it is told until the time is over and everything is answered.
    pub(super) async fn run(&mut self, mut orders: Orders, tally: &Mutex<Tally>) -> Result<(), LoadError> {
        let in_step = orders.is_in_step();
        loop {
            let at = now();
            if !in_step || self.flying.is_empty() {
                self.go_on(at, &mut orders, tally)?;
                self.begin(at, &mut orders)?;
            }
            if self.idle.len() == self.slots.len() && self.is_over(at, &orders) {
                tally.lock().hand(self.words.handed());
                return Ok(());
            }
            self.send().await?;
            match orders.pace {
                Pace::Full => self.receive().await?,
                Pace::At { .. } => self.receive_if_any().await?,
            }
            if !self.heard.is_empty() {
                self.take_in(now(), tally)?;
            }
        }
    }

    /// Idle slots begin a pair, each at its moment.
    fn begin(&mut self, at: Moment, orders: &mut Orders) -> Result<(), LoadError> {
        while let Some(since) = self.due(at, orders)
            && let Some(slot) = self.idle.pop()
        {
            self.begun += 1;
            self.ask(slot, since, orders)?;
        }
        Ok(())
    }

    /// The moment at which the next pair begins or should have begun, unless it is still to come.
    fn due(&self, at: Moment, orders: &Orders) -> Option<Moment> {
        match orders.pace {
            // Each slot does one pair at least, however late this machine lets it begin.
            Pace::Full => (at < orders.until || self.begun < self.slots.len() as u64).then_some(at),
            Pace::At { first, every } => {
                let due = first.plus(Duration::from_nanos(nanoseconds(every, self.begun)));
                (due <= at && due < orders.until).then_some(due)
            }
        }
    }

    /// Will no pair begin any more?
    fn is_over(&self, at: Moment, orders: &Orders) -> bool {
        match orders.pace {
            Pace::Full => at >= orders.until,
            // Pairs that should have begun in time are done, however late.
            Pace::At { .. } => at >= orders.until && self.due(at, orders).is_none(),
        }
    }

    /// Slots whose step is done go on with the next one.
    fn go_on(&mut self, at: Moment, orders: &mut Orders, tally: &Mutex<Tally>) -> Result<(), LoadError> {
        let mut done = std::mem::take(&mut self.done);
        let mut pairs = 0;
        for slot in done.drain(..) {
            let Some(Slot { step, name, .. }) = self.slot(slot).copied() else { continue };
            if step == Step::Ask {
                self.say(Said { step: Step::GiveUp, slot, name, mode: LockMode::Ex })?;
                // Whoever hands the lock on queues for it again in the same breath.
                if orders.is_handoff && at < orders.until {
                    pairs += 1;
                    self.ask(slot, at, orders)?;
                }
            } else {
                pairs += 1;
                self.idle.push(slot);
            }
        }
        self.done = done;
        if pairs > 0 {
            tally.lock().count(pairs);
        }
        Ok(())
    }

    fn ask(&mut self, slot: u32, since: Moment, orders: &mut Orders) -> Result<(), LoadError> {
        let (name, mode) = (orders.name(slot), orders.mode());
        if let Some(slot) = self.slot(slot) {
            slot.since = since;
            slot.name = name;
        }
        self.say(Said { step: Step::Ask, slot, name, mode })
    }

    fn say(&mut self, said: Said) -> Result<(), LoadError> {
        let answers = self.words.say(said, &mut self.out).map_err(|wrong| wrong.of(&self.server))?;
        self.flying.extend(std::iter::repeat_n(said.slot, usize::try_from(answers).unwrap_or(0)));
        if let Some(slot) = self.slot(said.slot) {
            slot.step = said.step;
            slot.left += answers;
        }
        Ok(())
    }

    fn slot(&mut self, slot: u32) -> Option<&mut Slot> {
        self.slots.get_mut(usize::try_from(slot).ok()?)
    }

    /// What was heard counts for the slots it is about.
    fn take_in(&mut self, at: Moment, tally: &Mutex<Tally>) -> Result<(), LoadError> {
        let mut tally = tally.lock();
        tally.heard_at(at);
        for heard in self.heard.drain(..) {
            let slot = match heard {
                Heard::Answered => self.flying.pop_front(),
                Heard::Queued => {
                    self.flying.pop_front();
                    continue;
                }
                Heard::GrantedLater(slot) => Some(slot),
            };
            let state = slot.and_then(|slot| self.slots.get_mut(usize::try_from(slot).ok()?));
            let (Some(slot), Some(state)) = (slot, state.filter(|state| state.left > 0)) else {
                let said = String::from("an answer to no request");
                return Err(LoadError::Nonsense { server: self.server.clone(), said });
            };
            state.left -= 1;
            if state.left == 0 {
                if state.step == Step::Ask {
                    tally.latency(at.since(state.since));
                }
                self.done.push(slot);
            }
        }
        Ok(())
    }

    async fn send(&mut self) -> Result<(), LoadError> {
        if !self.out.is_empty() {
            let written = self.stream.write_all(&self.out).await;
            written.map_err(|why| LoadError::Lost { server: self.server.clone(), why })?;
            self.out.clear();
        }
        Ok(())
    }

    /// Waits for something and reads it.
    async fn receive(&mut self) -> Result<(), LoadError> {
        self.input.reserve(BUFFER);
        let read = self.stream.read_buf(&mut self.input).await;
        self.take_read(read)
    }

    /// Reads what there is. If there is nothing, others have their turn, and the machine is not let sleep: waking up is
    /// slower than what is measured, and a timer is coarser.
    async fn receive_if_any(&mut self) -> Result<(), LoadError> {
        self.input.reserve(BUFFER);
        match self.stream.try_read_buf(&mut self.input) {
            Err(nothing) if nothing.kind() == io::ErrorKind::WouldBlock => {
                yield_now().await;
                Ok(())
            }
            read => self.take_read(read),
        }
    }

    fn take_read(&mut self, read: io::Result<usize>) -> Result<(), LoadError> {
        let read = match read {
            Ok(0) => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
            read => read,
        };
        read.map_err(|why| LoadError::Lost { server: self.server.clone(), why })?;
        self.words.hear(&mut self.input, &mut self.heard).map_err(|wrong| wrong.of(&self.server))
    }
}

/// So many intervals, in nanoseconds.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an interval is positive, and a turn is far shorter than the 584 years of 64 bits"
)]
fn nanoseconds(every: f64, times: u64) -> u64 {
    (every * times as f64) as u64
}
