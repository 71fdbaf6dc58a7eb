//! Every small history: three owners, two resources, six modes, no flags, each sequence of a few commands.
//!
//! States that differ only in who is who, or in which resource is which, are one state; of each only the first
//! history that reached it is gone on with.

use crate::compare::{Options, Pair};
use crate::model::{Model, Queue};
use crate::words::{Ask, Command, Step, Under, Which};
use enq::engine::Planted;
use enq_protocol::vocabulary::{Flags, LockMode};
use std::collections::BTreeSet;

/// States with the histories that led to them.
type Reached = Vec<(Vec<u8>, Vec<Command>)>;

const OWNERS: [u64; 3] = [1, 2, 3];
const RESOURCES: [&str; 2] = ["a", "b"];
/// A difference, with the history that shows it.
type Wrong = String;

fn options(planted: Planted) -> Options {
    Options { waiting_a_resource: 10_000, hash_seed: 1, recovering_ms: 0, planted, images: false }
}

/// The commands that may come next. Whoever is idle so far is like any other who is idle: one of them is enough.
fn commands(model: &Model) -> Vec<Command> {
    let mut commands = Vec::new();
    let is_idle = |owner: u64| model.locks.iter().all(|lock| lock.session != Some(owner));
    let first_idle = OWNERS.into_iter().find(|owner| is_idle(*owner));
    for owner in OWNERS.into_iter().filter(|owner| !is_idle(*owner) || Some(*owner) == first_idle) {
        let used = |handle: &u32| {
            model.locks.iter().any(|lock| lock.session == Some(owner) && lock.handle == *handle)
        };
        let handle = (1..).find(|handle| !used(handle)).expect("there are more handles than locks");
        for name in RESOURCES {
            for mode in LockMode::ALL {
                let ask = Ask {
                    session: owner,
                    mode,
                    flags: Flags::NONE,
                    owner: 0,
                    timeout_ms: None,
                    priority: 0,
                    reason: "",
                };
                commands.push(Command::New { ask, handle, under: Under::Space(0), name });
            }
        }
    }
    for lock in &model.locks {
        let session = lock.session.expect("nobody ends here");
        let which = Which { name: (session, lock.handle), by_handle: false };
        for mode in LockMode::ALL {
            commands.push(Command::Convert {
                session,
                lock: which,
                mode,
                flags: Flags::NONE,
                timeout_ms: None,
                priority: 0,
                value: None,
            });
        }
        commands.push(Command::Release { session, lock: which, flags: Flags::NONE, value: None });
        commands.push(Command::Cancel { session, lock: which, flags: Flags::NONE });
    }
    commands
}

/// The queues, with owners and resources renamed so that the text is the least there is.
fn canonical(model: &Model) -> Vec<u8> {
    const ORDERS: [[u8; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    let number = |mode: Option<LockMode>| {
        let place = mode.and_then(|mode| LockMode::ALL.iter().position(|other| *other == mode));
        place.map_or(9, |place| u8::try_from(place).expect("six modes"))
    };
    let mut least = None;
    for order in ORDERS {
        for resources in [[0, 1], [1, 0]] {
            let mut text = Vec::new();
            for at in resources {
                let place = (0, vec![RESOURCES[at]]);
                for queue in [Queue::Granted, Queue::Converting, Queue::Waiting] {
                    let locks = model.queue(&place, queue).into_iter();
                    let mut locks: Vec<[u8; 3]> = locks
                        .map(|lock| {
                            let owner = OWNERS.iter().position(|owner| lock.session == Some(*owner));
                            let owner = order[owner.expect("one of the three")];
                            [owner, number(lock.held), number(lock.wish.as_ref().map(|wish| wish.mode))]
                        })
                        .collect();
                    if queue == Queue::Granted {
                        locks.sort_unstable();
                    }
                    text.extend(locks.concat());
                    text.push(b'|');
                }
            }
            least = Some(least.map_or(text.clone(), |least: Vec<u8>| least.min(text)));
        }
    }
    least.expect("there are orders")
}

/// Plays a history; the pair after it.
fn replay(history: &[Command], planted: Planted) -> Result<Pair, Wrong> {
    let mut pair = Pair::new(options(planted));
    for command in history {
        let step = Step { after_ms: 0, command: command.clone() };
        if let Err(wrong) = pair.step(&step) {
            let lines: Vec<String> = history.iter().map(|command| format!("  {command:?}")).collect();
            return Err(format!("{}\n{wrong}", lines.join("\n")));
        }
    }
    Ok(pair)
}

/// Every history that is one command longer than one of these, with the state it leads to.
fn expand(histories: &[Vec<Command>], planted: Planted) -> Result<Reached, Wrong> {
    let mut reached = Vec::new();
    for history in histories {
        for command in commands(&replay(history, planted)?.model) {
            let mut longer = history.clone();
            longer.push(command);
            let pair = replay(&longer, planted)?;
            reached.push((canonical(&pair.model), longer));
        }
    }
    Ok(reached)
}

fn expand_on_two_threads(histories: &[Vec<Command>], planted: Planted) -> Result<Reached, Wrong> {
    let (left, right) = histories.split_at(histories.len() / 2);
    std::thread::scope(|threads| {
        let other = threads.spawn(|| expand(right, planted));
        let mut reached = expand(left, planted)?;
        reached.extend(other.join().expect("a difference is returned, not panicked")?);
        Ok(reached)
    })
}

/// How many states were reached, and by how many steps.
pub(crate) fn explore(depth: u64, planted: Planted) -> Result<(usize, u64), Wrong> {
    let mut seen = BTreeSet::from([canonical(&Pair::new(options(planted)).model)]);
    let mut frontier: Vec<Vec<Command>> = vec![Vec::new()];
    let mut transitions = 0_u64;
    for left in (0..depth).rev() {
        let mut next = Vec::new();
        for some in frontier.chunks(2_000) {
            let reached = expand_on_two_threads(some, planted)?;
            transitions += u64::try_from(reached.len()).expect("a count");
            for (state, history) in reached {
                if seen.insert(state) && left > 0 {
                    next.push(history);
                }
            }
        }
        frontier = next;
    }
    Ok((seen.len(), transitions))
}

#[test]
fn every_small_history_ends_alike_in_engine_and_model() {
    let depth = crate::number("ENQ_SIM_DEPTH", 4);
    match explore(depth, crate::museum::of_environment()) {
        Ok((states, transitions)) => {
            println!("{depth} commands deep: {states} distinct states, {transitions} transitions");
            assert!(states > 100, "too few states to mean anything: {states}");
        }
        Err(wrong) => panic!("engine and model differ\n{wrong}"),
    }
}
