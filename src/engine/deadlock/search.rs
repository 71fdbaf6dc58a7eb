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
    while let Some(set) = sets.pop() {
        for part in graph.parts_of(&set) {
            let ring = ring(&graph, &part);
            let is_ring = ring.is_some();
            let Some(edges) = ring.or_else(|| knot::knot(&graph, &part)) else { continue };
            let wait = |(waiting, blocker): &Edge| {
                let why = copied.stands_in_the_way(*waiting, *blocker)?;
                Some(Wait { waiting: copied.seats[*waiting], blocker: copied.seats[*blocker], why })
            };
            let waits: Vec<Wait> = edges.iter().filter_map(wait).collect();
            let victim = victim::choose(&waits, &rule_of, &locks_of);
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
