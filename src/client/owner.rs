//! Whose a lock is within its session: of the task that asks for it, unless somebody says otherwise.
//!
//! The deadlock search takes the locks and requests of one owner for those of one that does one thing after the other
//! (rule D3). If all tasks of a session were one owner, a task that waits for another one, which goes on, would look like
//! one that waits for itself, and be refused.

use enq_protocol::vocabulary::Owner;

/// The owner with this token; without one the task that runs now, or 0 outside of any.
pub(super) fn owner(token: Option<u64>) -> Owner {
    Owner { scope: 0, token: token.unwrap_or_else(current_task) }
}

/// The number of the task of the runtime that runs now; 0 outside of any. The numbers of tasks that live at one time differ
/// within a process, whatever runtimes it has.
fn current_task() -> u64 {
    // The runtime shows a task's number, and gives it in no other way.
    let number = tokio::task::try_id().and_then(|id| id.to_string().parse::<u64>().ok());
    number.map_or(0, |number| Owner::TASKS.saturating_add(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_has_a_number_and_what_is_none_has_not() {
        assert_eq!(owner(None).token, 0, "the future that a runtime blocks on is no task");
        let (one, other) = tokio::join!(
            tokio::spawn(async { (owner(None).token, async { owner(None).token }.await) }),
            tokio::spawn(async { (owner(None).token, owner(Some(7)).token) }),
        );
        let (one, other) = (one.unwrap(), other.unwrap());
        let is_task = |token| Owner { scope: 0, token }.task().is_some_and(|task| task > 0);
        assert!(is_task(one.0) && is_task(other.0) && one.0 != other.0, "{one:?} {other:?}");
        assert_eq!(one.0, one.1, "a task has one number");
        assert_eq!(other.1, 7);
    }
}
