//! What seqs and fences promise to a guarded resource (F1, F2), for every history of a few grants of three clients.
//!
//! **F**, fenced effects: when the resource has seen a grant, it refuses what comes late of an ended grant whose mode
//! conflicts. **L**, no false reject: a grant that is live is never refused, whatever the resource has seen. Both are
//! asked of two gates: one mark, the highest fence seen; and one mark a mode, the highest seq seen in it. The numbers
//! are the engine's; three rules that are known to be wrong must be caught by the same check.

use crate::model::beside;
use enq::engine::{Ask, Input, Instant, Limits, LockRef, Output, Planted, Said, Shard, Under};
use enq_protocol::vocabulary::{Flags, Handle, LockMode, LockspaceId, Owner, ResourceName, SessionId};

/// The modes that carry a fence.
const FENCED: [LockMode; 4] = [LockMode::Cw, LockMode::Pr, LockMode::Pw, LockMode::Ex];

/// All modes that conflict with any.
const ALL: [LockMode; 5] = [LockMode::Cr, LockMode::Cw, LockMode::Pr, LockMode::Pw, LockMode::Ex];

/// What a client does. What cannot be granted at once does not happen.
#[derive(Clone, Copy, Debug)]
enum Act {
    Take(usize, LockMode),
    Convert(usize, LockMode),
    End(usize),
}

/// One grant and whether it is live.
#[derive(Clone, Copy, Debug)]
struct Granted {
    client: usize,
    mode: LockMode,
    seq: u64,
    fence: u64,
    live: bool,
}

/// Who gives the numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Rule {
    /// The engine, perhaps with a mistake in it.
    Engine(Planted),
    /// Each grant has its own number as its fence.
    PlainCounter,
    /// A down-conversion keeps what it had.
    DownKeeps,
    /// As the engine, but CR joins and is joined.
    CrJoins,
}

/// What the resource compares.
#[derive(Clone, Copy, Debug)]
enum Gate {
    Scalar,
    PerMode,
}

impl Gate {
    /// After `first` was seen, is `second` let through?
    fn lets(self, first: &Granted, second: &Granted) -> bool {
        match self {
            Gate::Scalar => second.fence >= first.fence,
            Gate::PerMode => beside(first.mode, second.mode) || second.seq >= first.seq,
        }
    }
}

fn covers(a: LockMode, b: LockMode) -> bool {
    crate::model::covers(a, b)
}

/// A resource with three clients, under one of the rules.
struct Guarded {
    rule: Rule,
    shard: Shard,
    name: ResourceName,
    locks: [Option<enq_protocol::vocabulary::LockId>; 3],
    grants: Vec<Granted>,
    counter: u64,
}

impl Guarded {
    fn new(rule: Rule) -> Guarded {
        let planted = if let Rule::Engine(planted) = rule { planted } else { Planted::NONE };
        Guarded {
            rule,
            shard: Shard::new(0, Limits { planted, ..Limits::default() }, 1, 1),
            name: ResourceName::new(b"guarded").expect("a short name"),
            locks: [None; 3],
            grants: Vec::new(),
            counter: 0,
        }
    }

    /// Does it; false if it cannot be done at once.
    fn act(&mut self, act: Act) -> bool {
        let (Act::Take(client, _) | Act::Convert(client, _) | Act::End(client)) = act;
        let session = SessionId(client as u64 + 1);
        let flags = Flags::NOQUEUE;
        let input = match (act, self.locks[client]) {
            (Act::Take(_, mode), None) => Input::Enq {
                ask: Ask {
                    session,
                    mode,
                    flags,
                    owner: Owner::default(),
                    timeout_ms: None,
                    priority: 0,
                    reason: b"",
                },
                handle: Handle::new(1).expect("not 0"),
                under: Under::Lockspace(LockspaceId(0)),
                name: &self.name,
            },
            (Act::Convert(_, mode), Some(lock)) => Input::Convert {
                session,
                lock: LockRef::Id(lock),
                mode,
                flags,
                timeout_ms: None,
                priority: 0,
                value: None,
            },
            (Act::End(_), Some(lock)) => {
                Input::Deq { session, lock: LockRef::Id(lock), flags: Flags::NONE, value: None }
            }
            _ => return false,
        };
        let mut outputs: Vec<Output> = Vec::new();
        self.shard.step(Instant::START, input, &mut outputs);
        match outputs.first().map(|output| &output.said) {
            Some(Said::Granted(grant)) => {
                self.locks[client] = Some(grant.lock);
                let (seq, fence) = self.numbers(client, grant.mode, (grant.seq.0, grant.fence.0));
                self.end(client);
                self.grants.push(Granted { client, mode: grant.mode, seq, fence, live: true });
                true
            }
            Some(Said::Released { .. }) => {
                self.locks[client] = None;
                self.end(client);
                true
            }
            _ => false,
        }
    }

    fn end(&mut self, client: usize) {
        for grant in self.grants.iter_mut().filter(|grant| grant.client == client) {
            grant.live = false;
        }
    }

    /// The numbers of a grant under the rule.
    fn numbers(&mut self, client: usize, mode: LockMode, engine: (u64, u64)) -> (u64, u64) {
        if matches!(self.rule, Rule::Engine(_)) {
            return engine;
        }
        self.counter += 1;
        let mut live = self.grants.iter().filter(|grant| grant.live);
        let before = live.clone().find(|grant| grant.client == client);
        let down = before.filter(|before| covers(before.mode, mode) && before.mode != mode);
        let counts = |mode: LockMode| FENCED.contains(&mode) || self.rule == Rule::CrJoins;
        let joined = live.find(|grant| grant.client != client && counts(grant.mode));
        let fence = match (self.rule, down, joined) {
            (Rule::PlainCounter, ..) => self.counter,
            (Rule::DownKeeps, Some(before), _) => return (before.seq, before.fence),
            _ if !counts(mode) => 0,
            (_, _, Some(other)) => other.fence,
            _ => self.counter,
        };
        (self.counter, fence)
    }

    /// What the last grant breaks, or what it leaves broken.
    fn broken(&self, gate: Gate, modes: &[LockMode]) -> Option<&'static str> {
        let known: Vec<&Granted> = self.grants.iter().filter(|grant| modes.contains(&grant.mode)).collect();
        for (place, late) in known.iter().enumerate() {
            for newer in &known[place + 1..] {
                // The engine must also fence a client's own late effects; the wrong rules fail between two clients.
                let another = late.client != newer.client || matches!(self.rule, Rule::Engine(_));
                let conflicts = !beside(late.mode, newer.mode) && another;
                if !late.live && conflicts && gate.lets(newer, late) {
                    return Some("F: a late effect passes");
                }
            }
            if late.live && known.iter().any(|seen| !gate.lets(seen, late)) {
                return Some("L: a live grant is refused");
            }
        }
        None
    }
}

/// How one search went.
struct Found {
    histories: u64,
    broken: Option<(Vec<Act>, &'static str)>,
}

/// Every history of at most so many events, clients in the order of their first act.
fn search(rule: Rule, gate: Gate, modes: &[LockMode], events: u64) -> Found {
    let mut found = Found { histories: 0, broken: None };
    let mut history = Vec::new();
    go_on(rule, gate, modes, events, &mut history, &mut found);
    found
}

fn go_on(rule: Rule, gate: Gate, modes: &[LockMode], events: u64, history: &mut Vec<Act>, found: &mut Found) {
    if events == 0 || found.broken.is_some() {
        return;
    }
    let seen = history
        .iter()
        .map(|act| match act {
            Act::Take(client, _) | Act::Convert(client, _) | Act::End(client) => client + 1,
        })
        .max()
        .unwrap_or(0);
    for client in 0..3.min(seen + 1) {
        let takes = modes.iter().map(|mode| Act::Take(client, *mode));
        let converts = modes.iter().map(|mode| Act::Convert(client, *mode));
        for act in takes.chain(converts).chain([Act::End(client)]) {
            let mut guarded = Guarded::new(rule);
            for earlier in &*history {
                guarded.act(*earlier);
            }
            if !guarded.act(act) {
                continue;
            }
            found.histories += 1;
            history.push(act);
            if let Some(why) = guarded.broken(gate, modes) {
                found.broken.get_or_insert_with(|| (history.clone(), why));
            }
            go_on(rule, gate, modes, events - 1, history, found);
            history.pop();
        }
    }
}

/// The shortest history that breaks the rule, if one does.
fn shortest(rule: Rule, gate: Gate, modes: &[LockMode], events: u64) -> Option<(Vec<Act>, &'static str)> {
    (1..=events).find_map(|events| search(rule, gate, modes, events).broken)
}

/// What the numbers of an engine with a mistake in it break, if they do.
pub(crate) fn breaks(planted: Planted, events: u64) -> Option<String> {
    [(Gate::Scalar, &FENCED[..]), (Gate::PerMode, &ALL[..])].into_iter().find_map(|(gate, modes)| {
        shortest(Rule::Engine(planted), gate, modes, events).map(|broken| format!("{gate:?}: {broken:?}"))
    })
}

#[test]
fn the_engines_fences_keep_both_promises_at_both_gates() {
    let events = crate::number("ENQ_SIM_FENCE_EVENTS", 6);
    std::thread::scope(|threads| {
        for (gate, modes) in [(Gate::Scalar, &FENCED[..]), (Gate::PerMode, &ALL[..])] {
            threads.spawn(move || {
                let found = search(Rule::Engine(crate::museum::of_environment()), gate, modes, events);
                println!("{gate:?}, {events} events: {} histories", found.histories);
                assert!(found.broken.is_none(), "{gate:?}: {:?}", found.broken);
                assert!(found.histories > 1_000, "{gate:?}: only {} histories", found.histories);
            });
        }
    });
}

#[test]
fn rules_that_are_known_to_be_wrong_are_caught() {
    for (rule, modes) in
        [(Rule::PlainCounter, &FENCED[..]), (Rule::DownKeeps, &FENCED[..]), (Rule::CrJoins, &ALL[..])]
    {
        let broken = shortest(rule, Gate::Scalar, modes, 5);
        println!("{rule:?}: {broken:?}");
        assert!(broken.is_some(), "{rule:?} was not caught");
    }
}
