//! Any sequence of inputs, given to the engine and to the model of its rules: all answers, events, views and counts are
//! equal, and the invariants of both hold after each step.
//!
//! The model and what compares the two are those of `tests/sim`.

use crate::compare::{Options, Pair};
use crate::words::{Ask, Command, End, Step, Under, Which};
use enq::engine::Planted;
use enq_protocol::vocabulary::{ConversionDeadlock, Flags, LockMode, Policy};

const ROOTS: [&str; 3] = ["a", "b", "c"];
const CHILDREN: [&str; 2] = ["x", "y"];

/// Steps that are looked at.
const STEPS_MAX: usize = 120;

/// Reads bytes as numbers; zeros after the end.
struct Numbers<'a>(&'a [u8]);

impl Numbers<'_> {
    fn next(&mut self) -> u8 {
        match self.0.split_first() {
            Some((first, rest)) => {
                self.0 = rest;
                *first
            }
            None => 0,
        }
    }

    fn below(&mut self, bound: u8) -> u8 {
        self.next() % bound
    }

    fn one_in(&mut self, bound: u8) -> bool {
        self.below(bound) == bound - 1
    }

    fn session(&mut self) -> u64 {
        u64::from(self.below(4)) + 1
    }

    fn mode(&mut self) -> LockMode {
        LockMode::ALL[usize::from(self.below(6))]
    }

    fn flags(&mut self, legal: Flags) -> Flags {
        let dice = self.next();
        match dice {
            0..90 => Flags::NONE,
            250.. => Flags(1 << (self.next() % 32)),
            _ => {
                let flag = |number: u8| Flags::TABLE[usize::from(number) % Flags::TABLE.len()].0;
                let flags = flag(dice) | flag(self.next());
                if dice.is_multiple_of(8) { flags } else { Flags(flags.0 & legal.0) }
            }
        }
    }

    fn timeout(&mut self) -> Option<u32> {
        self.one_in(3).then(|| u32::from(self.next()) % 40)
    }

    fn value(&mut self, flags: Flags) -> Option<Vec<u8>> {
        let has = flags.contains(Flags::VALBLK) != self.one_in(20);
        has.then(|| vec![self.next(); usize::from(self.below(10))])
    }

    fn which(&mut self, session: u64) -> Which {
        let owner = if self.one_in(30) { self.session() } else { session };
        Which { name: (owner, self.handle()), by_handle: self.one_in(4) }
    }

    fn handle(&mut self) -> u32 {
        u32::from(self.below(5)) + 1
    }

    fn ask(&mut self, session: u64) -> Ask {
        Ask {
            session,
            mode: self.mode(),
            flags: self.flags(Flags::OF_ENQ),
            owner: u64::from(self.below(3)),
            timeout_ms: self.timeout(),
            priority: self.below(3),
            reason: "because",
        }
    }

    fn command(&mut self) -> Command {
        let session = self.session();
        match self.below(24) {
            0..6 => {
                let ask = self.ask(session);
                let handle = self.handle();
                let (under, name) = if self.one_in(3) {
                    (Under::Lock(self.which(session)), CHILDREN[usize::from(self.below(2))])
                } else {
                    (Under::Space(u32::from(self.one_in(12))), ROOTS[usize::from(self.below(3))])
                };
                Command::New { ask, handle, under, name }
            }
            6..8 => {
                let mut path = vec![ROOTS[usize::from(self.below(3))]];
                path.extend(&CHILDREN[..usize::from(self.below(3))]);
                let mut handles: Vec<u32> = Vec::new();
                while handles.len() < path.len() {
                    let next = (self.handle()..).find(|handle| !handles.contains(handle));
                    handles.push(next.expect("there are more handles than levels"));
                }
                Command::Path { ask: self.ask(session), handles, space: 0, path }
            }
            8..13 => {
                let flags = self.flags(Flags::OF_CONVERT);
                Command::Convert {
                    session,
                    lock: self.which(session),
                    mode: self.mode(),
                    flags,
                    timeout_ms: self.timeout(),
                    priority: self.below(3),
                    value: self.value(flags),
                }
            }
            13..16 => {
                let flags = self.flags(Flags::OF_DEQ);
                Command::Release { session, lock: self.which(session), flags, value: self.value(flags) }
            }
            16 => Command::Cancel { session, lock: self.which(session), flags: self.flags(Flags::OF_CANCEL) },
            17 => {
                let flags = self.flags(Flags::OF_DEQ_ALL);
                Command::ReleaseSublocks { session, lock: self.which(session), flags }
            }
            18 => {
                let end = match self.below(3) {
                    0 => End::Died,
                    1 => End::Closed,
                    _ => End::ReleasedAll { invalidate: self.one_in(2) },
                };
                Command::EndSession { session: if end == End::Died { 4 } else { session }, end }
            }
            19 => Command::Continue,
            20 => Command::Tick,
            21 => self.policy(),
            22 => Command::ForceRelease { lock: self.which(session), stale: self.one_in(6), by: 999 },
            _ => Command::EndRequest { lock: self.which(session) },
        }
    }

    fn policy(&mut self) -> Command {
        let modes = [LockMode::Cr, LockMode::Pw].into_iter().fold(Policy::default().modes, |modes, mode| {
            if self.one_in(4) { modes.without(mode) } else { modes }
        });
        let deadlock = if self.one_in(3) { ConversionDeadlock::Timed } else { ConversionDeadlock::Immediate };
        let policy = Policy {
            fair: self.one_in(2),
            conversion_deadlock: deadlock,
            wait_ms_max: u32::from(self.below(3)) * 10,
            modes,
            reason_required: self.one_in(8),
            ..Policy::default()
        };
        Command::SetPolicy { space: u32::from(self.one_in(2)), policy: Some(policy) }
    }
}

/// A history of engine and model.
pub fn steps(bytes: &[u8]) {
    let mut numbers = Numbers(bytes);
    let waiting_a_resource = if numbers.one_in(4) { 3 } else { 10_000 };
    let recovering_ms = if numbers.one_in(8) { u32::from(numbers.next()) } else { 0 };
    // By its length, so that what the bytes stand for is the same with images and without.
    let images = bytes.len() % 2 == 1;
    let planted = Planted::NONE;
    let mut pair = Pair::new(Options { waiting_a_resource, hash_seed: 1, planted, recovering_ms, images });
    let mut history = Vec::new();
    for number in 0..STEPS_MAX {
        if numbers.0.is_empty() {
            break;
        }
        let after_ms = if numbers.one_in(3) { u32::from(numbers.below(20)) } else { 0 };
        let step = Step { after_ms, command: numbers.command() };
        history.push(step.clone());
        let mut result = pair.step(&step);
        for at in pair.model.resources().iter().filter(|_| number % 4 == 0) {
            result = result.and_then(|()| pair.compare_views(at));
        }
        if let Err(wrong) = result {
            panic!("engine and model differ\n{history:#?}\n{wrong}");
        }
    }
}
