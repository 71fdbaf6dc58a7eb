//! Deadlocks that are no ring: where a request with NODLCKWT stands in the way, either its grant or the end of its party
//! would do, and only if neither can come is there a deadlock.
//!
//! Rare, so it is looked for only where no ring was found. Everything is taken for stuck that cannot be shown to go on;
//! what is outside the part goes on, or belongs to a deadlock of its own.

use super::{
    graph::{Graph, Node, Until},
    search::Edge,
};

/// The waits of a knot in this part, if there is one: enough of them that, while they stand, none can end.
pub(super) fn knot(graph: &Graph<'_>, part: &[Node]) -> Option<Vec<Edge>> {
    let of_interest = |node: &Node| graph.is_party(*node) || graph.seat(*node).is_some();
    let mut nodes: Vec<Node> = part.iter().copied().filter(of_interest).collect();
    nodes.sort_unstable();
    let stuck = Stuck::new(graph, nodes).whoever_is_left();
    let first = stuck.iter().copied().find(|node| graph.is_party(*node))?;
    Some(closure(graph, &stuck, innermost(graph, &stuck, first)))
}

/// Who cannot be shown to go on, so far. What somebody waits for in vain is looked at again only when that goes on, and
/// from there on only what comes behind it: who goes on never gets stuck again. So each pair is looked at once, although
/// a queue goes on one by one.
struct Stuck<'a> {
    graph: &'a Graph<'a>,
    nodes: Vec<Node>,
    goes_on: Vec<bool>,
    /// For each node, how many of those it waits for are known to go on.
    passed: Vec<usize>,
    /// For each node, who was last seen to wait for it in vain.
    because: Vec<Vec<usize>>,
}

impl<'a> Stuck<'a> {
    fn new(graph: &'a Graph<'a>, nodes: Vec<Node>) -> Stuck<'a> {
        let len = nodes.len();
        Stuck {
            graph,
            nodes,
            goes_on: vec![false; len],
            passed: vec![0; len],
            because: vec![Vec::new(); len],
        }
    }

    fn whoever_is_left(mut self) -> Vec<Node> {
        let mut look: Vec<usize> = (0..self.nodes.len()).collect();
        while let Some(at) = look.pop() {
            if !self.goes_on[at] && !self.is_stuck(at) {
                self.goes_on[at] = true;
                look.append(&mut self.because[at]);
            }
        }
        let left = self.nodes.iter().zip(&self.goes_on).filter(|(_, goes_on)| !**goes_on);
        left.map(|(node, _)| *node).collect()
    }

    fn place(&self, node: Node) -> Option<usize> {
        self.nodes.binary_search(&node).ok().filter(|at| !self.goes_on[*at])
    }

    fn is_stuck(&mut self, at: usize) -> bool {
        let (graph, node) = (self.graph, self.nodes[at]);
        let reason = match graph.seat(node) {
            None => {
                let mut requests = graph.waits[node as usize].iter().skip(self.passed[at]);
                requests.find_map(|seat| {
                    let request = self.place(graph.request(*seat));
                    self.passed[at] += usize::from(request.is_none());
                    request.map(|request| [Some(request), None])
                })
            }
            Some(waiting) => {
                let queues = graph.copied.queues_of(waiting);
                let mut others = (queues.granted.start..queues.waiting.end).skip(self.passed[at]);
                others.find_map(|other| {
                    let reason = graph.until(waiting, other).and_then(|until| self.reason(until));
                    self.passed[at] += usize::from(reason.is_none());
                    reason
                })
            }
        };
        for place in reason.into_iter().flatten().flatten() {
            self.because[place].push(at);
        }
        reason.is_some()
    }

    /// By whom it is seen that this does not come to pass.
    fn reason(&self, until: Until) -> Option<[Option<usize>; 2]> {
        match until {
            Until::Done(node) | Until::Granted(node) => self.place(node).map(|at| [Some(at), None]),
            Until::Either(request, party) => Some([Some(self.place(request)?), Some(self.place(party)?)]),
        }
    }
}

fn has(stuck: &[Node], node: Node) -> bool {
    stuck.binary_search(&node).is_ok()
}

/// Whom this request waits for in vain, and which nodes show that.
fn reason(graph: &Graph<'_>, stuck: &[Node], waiting: usize) -> Option<(usize, [Option<Node>; 2])> {
    let queues = graph.copied.queues_of(waiting);
    let all = queues.granted.start..queues.waiting.end;
    all.into_iter().find_map(|other| match graph.until(waiting, other)? {
        Until::Done(node) | Until::Granted(node) => has(stuck, node).then_some((other, [Some(node), None])),
        Until::Either(request, party) => {
            (has(stuck, request) && has(stuck, party)).then_some((other, [Some(request), Some(party)]))
        }
    })
}

/// By whom this one is stuck, and by which wait if it is a request.
fn support(graph: &Graph<'_>, stuck: &[Node], node: Node) -> (Option<Edge>, [Option<Node>; 2]) {
    match graph.seat(node) {
        None => {
            let mut requests = graph.waits[node as usize].iter().map(|seat| graph.request(*seat));
            (None, [requests.find(|node| has(stuck, *node)), None])
        }
        Some(seat) => reason(graph, stuck, seat)
            .map_or((None, [None, None]), |(other, nodes)| (Some((seat, other)), nodes)),
    }
}

/// One of those that are stuck by each other and by nobody else, to whom this one leads: whoever only waits for them is on
/// no deadlock, and his end would end none. (Tarjan; the strongly connected part that is complete first leads nowhere else.)
fn innermost(graph: &Graph<'_>, stuck: &[Node], first: Node) -> Node {
    let place =
        |node: Node| stuck.binary_search(&node).unwrap_or_else(|_| unreachable!("it is stuck itself"));
    // When each was come to, from 1, and who was come to first of those that it leads back to.
    let (mut come, mut back) = (vec![0; stuck.len()], vec![0; stuck.len()]);
    let (mut all, mut path, mut new) = (Vec::new(), Vec::new(), Some(place(first)));
    loop {
        if let Some(at) = new.take() {
            all.push(at);
            (come[at], back[at]) = (all.len(), all.len());
            path.push((at, support(graph, stuck, stuck[at]).1.into_iter().flatten()));
        }
        let Some((at, ahead)) = path.last_mut() else { return first };
        let at = *at;
        match ahead.next().map(place) {
            Some(to) if come[to] == 0 => new = Some(to),
            Some(to) => back[at] = back[at].min(come[to]),
            None if back[at] == come[at] => {
                return all.iter().skip(come[at] - 1).map(|at| stuck[*at]).min().unwrap_or(first);
            }
            None => {
                path.pop();
                if let Some((before, _)) = path.last() {
                    back[*before] = back[*before].min(back[at]);
                }
            }
        }
    }
}

/// The waits by which this one is stuck, all the way.
fn closure(graph: &Graph<'_>, stuck: &[Node], first: Node) -> Vec<Edge> {
    let mut seen = vec![first];
    let mut edges = Vec::new();
    let mut next = 0;
    while let Some(node) = seen.get(next).copied() {
        next += 1;
        let (edge, nodes) = support(graph, stuck, node);
        edges.extend(edge);
        for node in nodes.into_iter().flatten() {
            if !seen.contains(&node) {
                seen.push(node);
            }
        }
    }
    edges
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{
        Instant,
        deadlock::{Copied, Party, Seat},
    };
    use enq_protocol::vocabulary::{Flags, LockId, LockMode, LockspaceId, Owner, Seq, SessionId, Stamp};

    type Modes = (Option<LockMode>, Option<LockMode>);

    fn holds(mode: LockMode) -> Modes {
        (Some(mode), None)
    }

    fn wants(mode: LockMode) -> Modes {
        (None, Some(mode))
    }

    fn seat(slot: u32, session: u64, (held, wanted): Modes) -> Seat {
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
            priority: 0,
            flags: Flags::NONE,
        }
    }

    /// His party runs on meanwhile.
    fn aside(slot: u32, session: u64, modes: Modes) -> Seat {
        Seat { flags: Flags::NODLCKWT, ..seat(slot, session, modes) }
    }

    fn found(copied: &Copied) -> Option<Vec<(u32, u32)>> {
        let graph = Graph::new(copied);
        let edges = knot(&graph, &graph.everything())?;
        let slot = |at: usize| copied.seats[at].lock.slot();
        Some(edges.into_iter().map(|(waiting, other)| (slot(waiting), slot(other))).collect())
    }

    /// 3 waits until 2 is granted or 2's party is done. Both wait for 3 in the end: the grant by way of 1's party, the party
    /// by a request of its own. On the way to each of these waits there is somebody who goes on, and is no part of it.
    #[test]
    fn a_knot_is_told_by_those_waits_alone_that_tie_it() {
        use LockMode::{Cr, Cw, Ex, Pr, Pw};
        let knotted = |is_tied: bool| {
            let mut copied = Copied::default();
            let queue = [aside(7, 8, wants(Cw)), aside(2, 2, wants(Cw)), seat(3, 3, wants(Cr))];
            copied.add([seat(1, 1, holds(Pw))], [], queue);
            copied.add([seat(9, 9, holds(Ex))], [], [seat(10, 3, wants(Ex))]);
            let mut queue = vec![seat(5, 1, wants(Ex))];
            queue.extend(is_tied.then(|| seat(6, 2, wants(Ex))));
            copied.add([seat(8, 9, holds(Pr)), seat(4, 3, holds(Pr))], [], queue);
            found(&copied)
        };
        assert_eq!(knotted(true), Some(vec![(5, 4), (3, 2), (2, 1), (6, 4)]));
        assert_eq!(knotted(false), None, "2's party can be done");
    }

    /// Session 3 waits, with 6, behind a request of its own that it lets wait, 4, and that waits for what it holds. Session 1
    /// waits for it besides and is on no deadlock, though it is stuck, and though 6 is behind a request of its, too.
    #[test]
    fn whoever_only_waits_for_a_knot_is_no_part_of_it() {
        use LockMode::{Cr, Cw, Ex, Pr, Pw};
        let mut copied = Copied::default();
        // He comes first.
        copied.add([seat(7, 1, holds(Pr))], [], []);
        copied.add([seat(1, 3, holds(Pw))], [], [seat(2, 1, wants(Ex))]);
        let queue = [aside(4, 3, wants(Pr)), seat(5, 1, wants(Cr)), seat(6, 3, wants(Cw))];
        copied.add([seat(3, 3, holds(Cw))], [], queue);
        assert_eq!(found(&copied), Some(vec![(6, 4), (4, 3)]));
    }

    /// However long a queue is, and although it goes on one by one.
    #[test]
    fn whoever_was_seen_to_go_on_is_not_looked_at_again() {
        let mut copied = Copied::default();
        let granted = [seat(1, 1, holds(LockMode::Pr)), seat(2, 2, holds(LockMode::Pr))];
        copied.add(granted, [], [seat(3, 3, wants(LockMode::Ex))]);
        copied.add([seat(4, 4, holds(LockMode::Pr))], [], [seat(5, 3, wants(LockMode::Ex))]);
        let graph = Graph::new(&copied);
        // By number: the four parties, and then the requests of the five seats.
        let mut stuck = Stuck::new(&graph, (0..9).collect());
        let (request, waiter) = (6, 2);
        // Who holds, one after the other; the request itself is never in its own way.
        for (goes_on, still_stuck, passed) in [(0, true, 1), (1, false, 3)] {
            assert!(stuck.is_stuck(request));
            stuck.goes_on[goes_on] = true;
            assert_eq!((stuck.is_stuck(request), stuck.passed[request]), (still_stuck, passed));
        }
        assert!(stuck.is_stuck(waiter));
        stuck.goes_on[request] = true;
        assert!(stuck.is_stuck(waiter), "its other request waits on");
        assert_eq!(stuck.passed[waiter], 1);
    }
}
