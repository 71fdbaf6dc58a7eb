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
    let mut stuck: Vec<Node> = part.iter().copied().filter(of_interest).collect();
    stuck.sort_unstable();
    loop {
        let before = stuck.len();
        let still: Vec<Node> = stuck.iter().copied().filter(|node| is_stuck(graph, &stuck, *node)).collect();
        stuck = still;
        if stuck.len() == before {
            break;
        }
    }
    let first = stuck.iter().copied().find(|node| graph.is_party(*node))?;
    Some(closure(graph, &stuck, first))
}

fn has(stuck: &[Node], node: Node) -> bool {
    stuck.binary_search(&node).is_ok()
}

fn is_stuck(graph: &Graph<'_>, stuck: &[Node], node: Node) -> bool {
    match graph.seat(node) {
        None => graph.waits[node as usize].iter().any(|seat| has(stuck, graph.request(*seat))),
        Some(seat) => reason(graph, stuck, seat).is_some(),
    }
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

/// The waits by which a stuck party is stuck, all the way.
fn closure(graph: &Graph<'_>, stuck: &[Node], first: Node) -> Vec<Edge> {
    let mut seen = vec![first];
    let mut edges = Vec::new();
    let mut next = 0;
    while let Some(node) = seen.get(next).copied() {
        next += 1;
        let mut visit = |node: Node| {
            if !seen.contains(&node) {
                seen.push(node);
            }
        };
        match graph.seat(node) {
            None => {
                let requests = graph.waits[node as usize].iter().map(|seat| graph.request(*seat));
                requests.filter(|node| has(stuck, *node)).take(1).for_each(&mut visit);
            }
            Some(seat) => {
                if let Some((other, nodes)) = reason(graph, stuck, seat) {
                    edges.push((seat, other));
                    nodes.into_iter().flatten().for_each(&mut visit);
                }
            }
        }
    }
    edges
}
