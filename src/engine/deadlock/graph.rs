//! Which parties and requests can be on a cycle at all: the strongly connected parts of a graph that is as long as the
//! queues.
//!
//! "Everybody ahead, and everybody who holds what I cannot have" is a quadratic number of edges on a long queue. Two
//! sorts of nodes in between make it linear:
//!
//! ```text
//! party --> each of its requests
//! request --> place ahead in the queue --> the place ahead of that --> ...
//!    |            each place --> the request that stands there, and its party
//!    +------> wish (resource, mode) --> each party that holds what conflicts with it, and its conversion
//! ```
//!
//! What is lost are the exceptions of rule D2, such as one's own lock: the graph has a few edges too many and none too
//! few. So a part may turn out to have no cycle, and every cycle is inside a part. `search` looks exactly.

use super::{
    super::planted::Mistake,
    super::shard::{Map, map},
    Copied, Party,
};
use enq_protocol::vocabulary::{EdgeWhy, Flags, LockMode};

/// A node, by number: parties, then the request and then the place of each seat, then six wishes for each resource.
pub(super) type Node = u32;

const NOT_SEEN: u32 = u32::MAX;

/// D3: what must come to pass so that a lock is no longer in the way of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// Its party has to be done with it.
    Done(Node),
    /// It only has to be granted: then the two go together.
    Granted(Node),
    /// It has to be granted, or its party, which runs on meanwhile, is done: the request and the party.
    Either(Node, Node),
}

/// See the front page.
pub(super) struct Graph<'a> {
    pub(super) copied: &'a Copied,
    /// For each party, its requests that wait.
    pub(super) waits: Vec<Vec<usize>>,
    /// For each seat, its party.
    party_of: Vec<Option<Node>>,
    /// Requests that are refused already: they wait for nobody and stand in nobody's way, save by what they hold.
    refused: Vec<bool>,
    /// For each node, the part it was found in last.
    part: Vec<u32>,
    parts: u32,
    index: Vec<u32>,
    low: Vec<u32>,
}

impl<'a> Graph<'a> {
    pub(super) fn new(copied: &'a Copied) -> Graph<'a> {
        let mut numbers: Map<Party, Node> = map(0);
        let mut waits: Vec<Vec<usize>> = Vec::new();
        let party_of: Vec<Option<Node>> = copied
            .seats
            .iter()
            .enumerate()
            .map(|(seat, of)| {
                let next = Self::number(waits.len());
                let party = *numbers.entry(of.party.filter(|_| !of.is_ending)?).or_insert(next);
                if party == next {
                    waits.push(Vec::new());
                }
                if copied.waits(seat) {
                    waits[party as usize].push(seat);
                }
                Some(party)
            })
            .collect();
        let nodes = waits.len() + 2 * copied.seats.len() + 6 * copied.resources.len();
        Graph {
            copied,
            waits,
            party_of,
            refused: vec![false; copied.seats.len()],
            part: vec![0; nodes],
            parts: 0,
            index: vec![NOT_SEEN; nodes],
            low: vec![0; nodes],
        }
    }

    /// Every node: the first part.
    pub(super) fn everything(&self) -> Vec<Node> {
        (0..Self::number(self.part.len())).collect()
    }

    /// The request of a seat.
    pub(super) fn request(&self, seat: usize) -> Node {
        Self::number(self.waits.len() + seat)
    }

    /// The seat of a node, if it is a request.
    pub(super) fn seat(&self, node: Node) -> Option<usize> {
        (node as usize).checked_sub(self.waits.len()).filter(|seat| *seat < self.copied.seats.len())
    }

    /// Is it a party?
    pub(super) fn is_party(&self, node: Node) -> bool {
        (node as usize) < self.waits.len()
    }

    pub(super) fn is_refused(&self, seat: usize) -> bool {
        self.refused[seat]
    }

    /// This request is as good as refused.
    pub(super) fn refuse(&mut self, seat: usize) {
        self.refused[seat] = true;
    }

    /// D3: what a request waits for on account of another lock of its resource; nothing if that is not in its way, or is
    /// nobody's who waits.
    pub(super) fn until(&self, waiting: usize, other: usize) -> Option<Until> {
        let copied = self.copied;
        let why = copied.stands_in_the_way(waiting, other).filter(|_| !self.refused[waiting])?;
        let party = self.party_of[other]?;
        let (lock, blocker) = (&copied.seats[waiting], &copied.seats[other]);
        let (wanted, Some(ahead)) = (lock.wanted?, blocker.wanted) else { return Some(Until::Done(party)) };
        // A request that is refused is ahead of nobody. What it holds it holds on; but whoever only waited for its grant waits
        // for what it holds when it is really refused, and not before: that is for the next search.
        if self.refused[other] && (why == EdgeWhy::Ahead || wanted.is_compatible(ahead)) {
            let counts = why == EdgeWhy::Held && copied.is_planted(Mistake::PlannedRefusalsCount);
            return counts.then_some(Until::Done(party));
        }
        let is_own_place = why == EdgeWhy::Ahead && lock.party == blocker.party;
        if !is_own_place && !wanted.is_compatible(ahead) {
            Some(Until::Done(party))
        } else if copied.waits(other) {
            Some(Until::Granted(self.request(other)))
        } else {
            Some(Until::Either(self.request(other), party))
        }
    }

    /// The strongly connected parts of a set of nodes, of which a cycle can be made.
    ///
    /// Tarjan's algorithm with a stack of its own: a chain of a hundred thousand waits is no deeper than one of two.
    pub(super) fn parts_of(&mut self, set: &[Node]) -> Vec<Vec<Node>> {
        self.parts += 1;
        let inside = self.parts;
        for node in set {
            self.part[*node as usize] = inside;
            self.index[*node as usize] = NOT_SEEN;
        }
        let mut parts = Vec::new();
        let mut open: Vec<Node> = Vec::new();
        let mut path: Vec<(Node, usize)> = Vec::new();
        let mut next_index = 0;
        for root in set {
            if self.index[*root as usize] != NOT_SEEN {
                continue;
            }
            self.enter(*root, &mut next_index, &mut open, &mut path);
            while let Some((node, cursor)) = path.last_mut() {
                let node = *node;
                if let Some(other) = self.edge(node, cursor) {
                    if self.part[other as usize] != inside {
                        continue;
                    }
                    if self.index[other as usize] == NOT_SEEN {
                        self.enter(other, &mut next_index, &mut open, &mut path);
                    } else {
                        let index = self.index[other as usize];
                        self.low[node as usize] = self.low[node as usize].min(index);
                    }
                    continue;
                }
                path.pop();
                if let Some((above, _)) = path.last() {
                    let low = self.low[node as usize];
                    self.low[*above as usize] = self.low[*above as usize].min(low);
                }
                if self.low[node as usize] == self.index[node as usize] {
                    parts.extend(self.leave(node, &mut open));
                }
            }
        }
        parts
    }

    fn enter(
        &mut self,
        node: Node,
        next_index: &mut u32,
        open: &mut Vec<Node>,
        path: &mut Vec<(Node, usize)>,
    ) {
        self.index[node as usize] = *next_index;
        self.low[node as usize] = *next_index;
        *next_index += 1;
        open.push(node);
        path.push((node, 0));
    }

    /// A part is complete: it leaves the set, and is returned if a party is in it with something else.
    fn leave(&mut self, root: Node, open: &mut Vec<Node>) -> Option<Vec<Node>> {
        self.parts += 1;
        let from = open.iter().rposition(|node| *node == root).unwrap_or(0);
        let part = open.split_off(from);
        for node in &part {
            self.part[*node as usize] = self.parts;
        }
        (part.len() > 1 && part.iter().any(|node| self.is_party(*node))).then_some(part)
    }

    /// The next edge of a node; the cursor goes on from 0.
    fn edge(&self, node: Node, cursor: &mut usize) -> Option<Node> {
        let node = node as usize;
        let (parties, seats) = (self.waits.len(), self.copied.seats.len());
        if node < parties {
            let request = self.waits[node].get(*cursor)?;
            *cursor += 1;
            Some(self.request(*request))
        } else if node < parties + seats {
            self.edge_of_request(node - parties, cursor)
        } else if node < parties + 2 * seats {
            self.edge_of_place(node - parties - seats, cursor)
        } else {
            self.edge_of_wish(node - parties - 2 * seats, cursor)
        }
    }

    fn number(number: usize) -> Node {
        u32::try_from(number).expect("there are fewer than 2^32 nodes: a shard has 2^24 locks at most")
    }

    fn place(&self, seat: usize) -> Node {
        Self::number(self.waits.len() + self.copied.seats.len() + seat)
    }

    /// From a request: its wish, and the place ahead of it.
    fn edge_of_request(&self, seat: usize, cursor: &mut usize) -> Option<Node> {
        let lock = &self.copied.seats[seat];
        let wanted = lock.wanted.filter(|_| !self.refused[seat])?;
        *cursor += 1;
        if *cursor == 1 {
            let wish = 6 * self.copied.of[seat] as usize + wanted as usize;
            return Some(Self::number(self.waits.len() + 2 * self.copied.seats.len() + wish));
        }
        let first = self.copied.queues_of(seat).queued().start;
        let is_behind = seat > first && !lock.flags.contains(Flags::NOORDER);
        (*cursor == 2 && is_behind).then(|| self.place(seat - 1))
    }

    /// From a place in a queue: the request that stands there, its party, and the place ahead.
    fn edge_of_place(&self, seat: usize, cursor: &mut usize) -> Option<Node> {
        let first = self.copied.queues_of(seat).queued().start;
        let blocks = !self.copied.seats[seat].flags.contains(Flags::NODLCKBLK) && !self.refused[seat];
        while *cursor < 3 {
            *cursor += 1;
            let next = match *cursor {
                1 => blocks.then(|| self.request(seat)),
                2 => self.party_of[seat].filter(|_| blocks),
                _ => (seat > first).then(|| self.place(seat - 1)),
            };
            if next.is_some() {
                return next;
            }
        }
        None
    }

    /// From a wish: the parties that hold what conflicts with it, and their requests for another mode.
    fn edge_of_wish(&self, wish: usize, cursor: &mut usize) -> Option<Node> {
        let queues = &self.copied.resources[wish / 6];
        let wanted = LockMode::ALL[wish % 6];
        while let Some(seat) = queues.holding().nth(*cursor / 2) {
            let is_request = !cursor.is_multiple_of(2);
            *cursor += 1;
            let lock = &self.copied.seats[seat];
            let blocks = lock.held.is_some_and(|held| !held.is_compatible(wanted))
                && !lock.flags.contains(Flags::NODLCKBLK);
            match self.party_of[seat].filter(|_| blocks) {
                Some(party) if !is_request => return Some(party),
                Some(_) if queues.conversion.contains(&seat) => return Some(self.request(seat)),
                _ => {}
            }
        }
        None
    }
}
