//! Who is refused to break a cycle (rule D4): of the requests on it, never a granted lock.

use super::{Due, Seat, Wait};
use enq_protocol::vocabulary::{Flags, LockId, LockspaceId, NEVER_REFUSED, SessionId, Stamp, VictimRule};
use std::cmp::Reverse;

use super::super::time::Instant;

/// What a lockspace says of deadlocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Who goes.
    pub victim: VictimRule,
    /// How long a request waits before anybody looks whether it is in a deadlock; 0 for never.
    pub wait_ms: u32,
}

impl Default for Rule {
    fn default() -> Rule {
        Rule { victim: VictimRule::default(), wait_ms: 1_000 }
    }
}

/// Younger requests first. Stamps compare within a shard; across shards the time at which they began to wait does.
fn youth(seat: &Seat) -> Reverse<(Instant, Stamp, Option<SessionId>, LockId)> {
    Reverse((seat.since, seat.stamp, seat.party.map(|party| party.session), seat.lock))
}

/// D4: may this request be refused at all?
pub(super) fn may_go(seat: &Seat, rule_of: impl Fn(LockspaceId) -> Rule) -> bool {
    let counts = !seat.flags.contains(Flags::NODLCKWT);
    counts && rule_of(seat.lockspace).victim != VictimRule::ReportOnly && seat.priority != NEVER_REFUSED
}

/// D4: which of the waits goes; none if all are spared.
pub(super) fn choose(
    waits: &[Wait],
    rule_of: impl Fn(LockspaceId) -> Rule,
    locks_of: impl Fn(SessionId) -> u32,
) -> Option<usize> {
    let rule = |wait: &Wait| rule_of(wait.waiting.lockspace).victim;
    let may_go = |wait: &Wait| may_go(&wait.waiting, &rule_of);
    // Where lockspaces disagree, the rule that all know decides.
    let by_locks = waits.iter().filter(|wait| may_go(wait)).all(|wait| rule(wait) == VictimRule::FewestLocks);
    let locks = |seat: &Seat| match seat.party {
        Some(party) if by_locks => locks_of(party.session),
        _ => 0,
    };
    let candidates = waits.iter().enumerate().filter(|(_, wait)| may_go(wait));
    let order = |wait: &Wait| (wait.waiting.priority, locks(&wait.waiting), youth(&wait.waiting));
    candidates.min_by_key(|(_, wait)| order(wait)).map(|(at, _)| at)
}

/// D6: has one of its requests waited as long as its lockspace lets it before anybody looks?
pub(super) fn is_due(due: Due, waits: &[Wait], rule_of: impl Fn(LockspaceId) -> Rule) -> bool {
    let Due::At(now) = due else { return true };
    waits.iter().any(|wait| {
        let wait_ms = rule_of(wait.waiting.lockspace).wait_ms;
        wait_ms > 0 && wait.waiting.since.after_ms(wait_ms) <= now
    })
}

/// The youngest request of a cycle, spared or not.
pub(super) fn youngest(waits: &[Wait]) -> Option<usize> {
    let counting = waits.iter().enumerate().filter(|(_, wait)| !wait.waiting.flags.contains(Flags::NODLCKWT));
    counting.min_by_key(|(_, wait)| youth(&wait.waiting)).map(|(at, _)| at)
}
