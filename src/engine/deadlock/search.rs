//! Finds the cycles in a copy, and says for each who is refused (rules D2-D5).

use super::{
    super::time::Instant,
    Copied, Cycle, Rule, Wait,
    graph::{Graph, Node, Until},
    knot, victim,
};
use enq_protocol::vocabulary::{LockspaceId, SessionId};

/// A part with more nodes is not looked through for its shortest ring.
const SHORTENED_MAX: usize = 128;

/// Which cycles are acted upon (rule D6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Those with a request that has waited as long as its lockspace says, as of this moment.
    At(Instant),
    /// All: somebody has asked for a search.
    All,
}

/// What a cycle is made of while it is looked for: the seat that waits and the seat it waits for.
pub(super) type Edge = (usize, usize);

/// The cycles of a copy that are due; where nobody may be refused, the cycle is told all the same. Each of them is there
/// whatever becomes of the others. When their victims have gone there is none left, save where a conversion was refused:
/// who waited for its grant waits for what it still holds from then on.
///
/// `rule_of` tells what a lockspace says of deadlocks, `locks_of` how many locks a session has.
pub fn search(
    due: Due,
    copied: &Copied,
    rule_of: impl Fn(LockspaceId) -> Rule,
    locks_of: impl Fn(SessionId) -> u32,
) -> Vec<Cycle> {
    let mut graph = Graph::new(copied);
    let mut found = Vec::new();
    let mut sets = vec![graph.everything()];
    let waits_of = |edges: &[Edge]| -> Vec<Wait> {
        let wait = |(waiting, blocker): &Edge| {
            let why = copied.stands_in_the_way(*waiting, *blocker)?;
            Some(Wait { waiting: copied.seats[*waiting], blocker: copied.seats[*blocker], why })
        };
        edges.iter().filter_map(wait).collect()
    };
    while let Some(set) = sets.pop() {
        for part in graph.parts_of(&set) {
            let ring = ring(&graph, &part);
            let is_ring = ring.is_some();
            let Some(mut edges) = ring.or_else(|| knot::knot(&graph, &part)) else { continue };
            let mut waits = waits_of(&edges);
            let mut victim = victim::choose(&waits, &rule_of, &locks_of);
            if victim.is_none() && is_ring {
                // Another ring may share requests with it, and be one that can be broken.
                let may_go = |seat: usize| victim::may_go(&copied.seats[seat], &rule_of);
                if let Some(other) = Look::new(&graph, &part).ring_through(may_go) {
                    (waits, edges) = (waits_of(&other), other);
                    victim = victim::choose(&waits, &rule_of, &locks_of);
                }
            }
            // A cycle that nobody may break is put out of the way by its youngest request.
            let goes = victim.or_else(|| victim::youngest(&waits));
            if let Some((waiting, _)) = goes.and_then(|goes| edges.get(goes)) {
                graph.refuse(*waiting);
                sets.push(part);
            }
            if victim::is_due(due, &waits, &rule_of) {
                found.push(Cycle { waits, is_ring, victim });
            }
        }
    }
    found
}

/// A ring of waits inside a part, if there is one.
fn ring(graph: &Graph<'_>, part: &[Node]) -> Option<Vec<Edge>> {
    let mut look = Look::new(graph, part);
    let ring = (0..look.nodes.len()).find_map(|at| look.ring_from(at))?;
    if part.len() > SHORTENED_MAX {
        return Some(ring);
    }
    let shortest = (0..look.nodes.len()).filter_map(|at| look.shortest_from(at)).min_by_key(Vec::len);
    Some(shortest.filter(|shortest| shortest.len() < ring.len()).unwrap_or(ring))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    New,
    OnPath,
    Done,
}

/// The parties and requests of one part, and how far they are looked through.
struct Look<'a> {
    graph: &'a Graph<'a>,
    /// In ascending order.
    nodes: Vec<Node>,
    state: Vec<State>,
}

/// A node of a path, the next of its waits to follow, and the wait by which the path went on.
struct Step {
    at: usize,
    next: usize,
    edge: Option<Edge>,
}

impl<'a> Look<'a> {
    fn new(graph: &'a Graph<'a>, part: &[Node]) -> Look<'a> {
        let of_interest = |node: &Node| graph.is_party(*node) || graph.seat(*node).is_some();
        let mut nodes: Vec<Node> = part.iter().copied().filter(of_interest).collect();
        nodes.sort_unstable();
        let state = vec![State::New; nodes.len()];
        Look { graph, nodes, state }
    }

    fn place(&self, node: Node) -> Option<usize> {
        self.nodes.binary_search(&node).ok()
    }

    /// Depth first, with a stack of its own, from a node that was not looked at.
    fn ring_from(&mut self, root: usize) -> Option<Vec<Edge>> {
        if self.state[root] != State::New {
            return None;
        }
        let mut path = vec![Step { at: root, next: 0, edge: None }];
        self.state[root] = State::OnPath;
        while let Some(last) = path.last_mut() {
            let Some((edge, at)) = self.follow(last.at, &mut last.next) else {
                self.state[last.at] = State::Done;
                path.pop();
                continue;
            };
            last.edge = edge;
            match self.state[at] {
                State::Done => {}
                State::New => {
                    self.state[at] = State::OnPath;
                    path.push(Step { at, next: 0, edge: None });
                }
                State::OnPath => {
                    let from = path.iter().position(|step| step.at == at)?;
                    return Some(path[from..].iter().filter_map(|step| step.edge).collect());
                }
            }
        }
        None
    }

    /// The next node that this one waits for, within the part: a party for its requests, a request by rule D2.
    fn follow(&self, at: usize, next: &mut usize) -> Option<(Option<Edge>, usize)> {
        let node = self.nodes[at];
        let Some(waiting) = self.graph.seat(node) else {
            while let Some(request) = self.graph.waits[node as usize].get(*next) {
                *next += 1;
                if let Some(at) = self.place(self.graph.request(*request)) {
                    return Some((None, at));
                }
            }
            return None;
        };
        let queues = self.graph.copied.queues_of(waiting);
        let all = queues.granted.start..queues.waiting.end;
        while !self.graph.is_refused(waiting) && all.start + *next < all.end {
            let other = all.start + *next;
            *next += 1;
            // What either of two things can end does not make a ring by itself: see `knot`.
            if let Some(Until::Done(node) | Until::Granted(node)) = self.graph.until(waiting, other)
                && let Some(at) = self.place(node)
            {
                return Some((Some((waiting, other)), at));
            }
        }
        None
    }

    /// The shortest ring through one of these requests, if any of them is on one.
    fn ring_through(&self, wanted: impl Fn(usize) -> bool) -> Option<Vec<Edge>> {
        let on_rings = self.on_rings();
        let is_wanted = |at: &usize| on_rings[*at] && self.graph.seat(self.nodes[*at]).is_some_and(&wanted);
        (0..self.nodes.len()).find(is_wanted).and_then(|at| self.shortest_from(at))
    }

    /// Which nodes are on rings: those of strongly connected parts with more than one (Tarjan). `Graph::parts_of` finds
    /// larger ones, for it has a few edges too many.
    fn on_rings(&self) -> Vec<bool> {
        let len = self.nodes.len();
        let (mut on_rings, mut on_stack) = (vec![false; len], vec![false; len]);
        // When each was come to, from 1, and who was come to first of those that it leads back to.
        let (mut come, mut back) = (vec![0; len], vec![0; len]);
        let (mut stack, mut path, mut count) = (Vec::new(), Vec::new(), 0);
        for root in 0..len {
            let mut new = (come[root] == 0).then_some(root);
            loop {
                if let Some(at) = new.take() {
                    count += 1;
                    (come[at], back[at], on_stack[at]) = (count, count, true);
                    stack.push(at);
                    path.push((at, 0));
                }
                let Some((at, next)) = path.last_mut() else { break };
                let at = *at;
                if let Some((_, other)) = self.follow(at, next) {
                    if come[other] == 0 {
                        new = Some(other);
                    } else if on_stack[other] {
                        back[at] = back[at].min(come[other]);
                    }
                    continue;
                }
                path.pop();
                if let Some((before, _)) = path.last() {
                    back[*before] = back[*before].min(back[at]);
                }
                if back[at] == come[at] {
                    let from = stack.iter().rposition(|other| *other == at).unwrap_or(stack.len());
                    let part = stack.split_off(from);
                    for other in &part {
                        (on_stack[*other], on_rings[*other]) = (false, part.len() > 1);
                    }
                }
            }
        }
        on_rings
    }

    /// The shortest ring through a node.
    fn shortest_from(&self, start: usize) -> Option<Vec<Edge>> {
        let mut came: Vec<Option<(usize, Option<Edge>)>> = vec![None; self.nodes.len()];
        let mut level = vec![start];
        while !level.is_empty() {
            let mut below = Vec::new();
            for at in level {
                let mut next = 0;
                while let Some((edge, other)) = self.follow(at, &mut next) {
                    if other == start {
                        return Some(way_back(&came, start, at, edge));
                    }
                    if came[other].is_none() {
                        came[other] = Some((at, edge));
                        below.push(other);
                    }
                }
            }
            level = below;
        }
        None
    }
}

fn way_back(
    came: &[Option<(usize, Option<Edge>)>],
    start: usize,
    last: usize,
    closing: Option<Edge>,
) -> Vec<Edge> {
    let mut ring: Vec<Edge> = closing.into_iter().collect();
    let mut at = last;
    while at != start {
        let Some((before, edge)) = came[at] else { break };
        ring.extend(edge);
        at = before;
    }
    ring.reverse();
    ring
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{
        Instant,
        deadlock::{Party, Seat},
    };
    use enq_protocol::vocabulary::{Flags, LockId, LockMode, NEVER_REFUSED, Owner, Seq, SessionId, Stamp};

    fn seat(
        slot: u32,
        session: u64,
        (held, wanted): (Option<LockMode>, Option<LockMode>),
        priority: u8,
    ) -> Seat {
        Seat {
            lock: LockId::new(0, slot, 1),
            party: Some(Party { session: SessionId(session), owner: Owner::default() }),
            is_ending: false,
            lockspace: LockspaceId(0),
            held,
            wanted,
            stamp: Stamp(slot.into()),
            seq: Seq::default(),
            since: Instant::START,
            priority,
            flags: Flags::NONE,
        }
    }

    /// Two spared ones wait for each other; one of them also waits for a third, who waits for that one and may go. Whatever
    /// their numbers, so whichever ring is found first, the third is refused, and what is left is told.
    #[test]
    fn a_ring_that_stays_hides_none_that_can_be_broken() {
        let (holds, wants) = ((Some(LockMode::Pr), None), (None, Some(LockMode::Ex)));
        for [one, both, third] in [[1, 2, 3], [3, 2, 1], [1, 3, 2], [2, 1, 3], [2, 3, 1], [3, 1, 2]] {
            let mut copied = Copied::default();
            copied.add([seat(1, both, holds, 0)], [], [seat(2, one, wants, NEVER_REFUSED)]);
            copied.add([seat(4, both, holds, 0)], [], [seat(5, third, wants, 0)]);
            let shared = [seat(6, one, holds, 0), seat(7, third, holds, 0)];
            copied.add(shared, [], [seat(8, both, wants, NEVER_REFUSED)]);
            let cycles = search(Due::All, &copied, |_| Rule::default(), |_| 0);
            let victims: Vec<Option<u32>> =
                cycles.iter().map(|cycle| Some(cycle.waits[cycle.victim?].waiting.lock.slot())).collect();
            assert_eq!(victims, [Some(5), None], "{one} {both} {third}: {cycles:#?}");
            assert!(cycles.iter().all(|cycle| cycle.is_ring && cycle.waits.len() == 2));
        }
    }

    /// A queue behind a ring leads there and is on none, and so are two who only wait for one who runs.
    #[test]
    fn on_rings_are_those_who_come_back_to_themselves() {
        let (holds, wants) = ((Some(LockMode::Ex), None), (None, Some(LockMode::Ex)));
        let mut copied = Copied::default();
        copied.add([seat(1, 1, holds, 0)], [], [seat(2, 2, wants, 0), seat(3, 3, wants, 0)]);
        copied.add([seat(4, 2, holds, 0)], [], [seat(5, 1, wants, 0), seat(6, 4, wants, 0)]);
        copied.add([seat(7, 9, holds, 0)], [], [seat(8, 5, wants, 0), seat(9, 6, wants, 0)]);
        let graph = Graph::new(&copied);
        let everything: Vec<Node> = graph.everything();
        let look = Look::new(&graph, &everything);
        let on_rings = look.on_rings();
        let nodes = look.nodes.iter().zip(&on_rings).filter(|(_, is)| **is).map(|(node, _)| *node);
        let slots = nodes.filter_map(|node| graph.seat(node)).map(|seat| copied.seats[seat].lock.slot());
        let mut slots: Vec<u32> = slots.collect();
        slots.sort_unstable();
        assert_eq!(slots, [2, 5]);
        assert_eq!(on_rings.iter().filter(|is| **is).count(), 4, "two requests and their parties");
    }
}
