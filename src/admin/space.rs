//! `enq space`: lockspaces and their policies.
//!
//! A change names the version it was made from: if somebody else was faster, it is refused and nothing is overwritten.

use std::os::unix::ffi::OsStrExt as _;
use std::time::Duration;

use enq_protocol::vocabulary::{ConversionDeadlock, LockspaceView, ModeSet, Policy, VictimRule};

use super::{
    args::{Format, PolicyArgs, Reach, SpaceVerb, Victim, WhenRefused},
    ask,
    duration::{ms, show_ms},
    exit::Failure,
    render, words,
};

/// Does it.
pub(super) async fn space(reach: &Reach, verb: &SpaceVerb) -> Result<(), Failure> {
    match verb {
        SpaceVerb::Create { name, exclusive, policy, output } => {
            let policy = changed(Policy::default(), policy)?;
            let session = ask::session(reach).await?;
            let made = ask::within(reach, session.create_space(name.as_bytes(), policy, *exclusive)).await;
            let (view, _) = made.map_err(|failure| failure.about(name.to_string_lossy()))?;
            // It has done its work; if it cannot be closed in order it ends with its connection.
            let _ = ask::within(reach, session.close()).await;
            print(output.format, &[view])
        }
        SpaceVerb::Ls(output) => {
            let client = ask::client(reach).await?;
            let mut spaces = ask::within(reach, client.spaces()).await?;
            spaces.sort_by_key(|space| space.lockspace);
            print(output.format, &spaces)
        }
        SpaceVerb::Show { name, output } => {
            let client = ask::client(reach).await?;
            let view = ask::within(reach, client.show_space(name.as_bytes())).await;
            let view = view.map_err(|failure| failure.about(name.to_string_lossy()))?;
            let format = if output.format == Format::Table { Format::Wide } else { output.format };
            print(format, &[view])
        }
        SpaceVerb::Set { name, policy, output } => {
            let session = ask::session(reach).await?;
            let seen = ask::within(reach, session.show_space(name.as_bytes())).await;
            let seen = seen.map_err(|failure| failure.about(name.to_string_lossy()))?;
            let policy = changed(seen.policy, policy)?;
            let set = ask::within(reach, session.set_space(seen.lockspace, seen.version, policy)).await;
            let (view, _) = set.map_err(|failure| failure.about(name.to_string_lossy()))?;
            // As above.
            let _ = ask::within(reach, session.close()).await;
            let format = if output.format == Format::Table { Format::Wide } else { output.format };
            print(format, &[view])
        }
        SpaceVerb::Remove { name, force } => {
            let session = ask::session(reach).await?;
            let removed = async {
                let seen = session.show_space(name.as_bytes()).await?;
                session.remove_space(seen.lockspace, *force).await
            };
            let removed = ask::within(reach, removed).await;
            removed.map_err(|failure| failure.about(name.to_string_lossy()))?;
            // As above.
            let _ = ask::within(reach, session.close()).await;
            Ok(())
        }
    }
}

fn print(format: Format, spaces: &[LockspaceView]) -> Result<(), Failure> {
    let items: Vec<_> = spaces.iter().map(words::space_item).collect();
    render::list(format, "spaces", &words::SPACE_COLUMNS, &items)
}

/// The policy with what the arguments name put in its place.
fn changed(mut policy: Policy, named: &PolicyArgs) -> Result<Policy, Failure> {
    let milliseconds = |duration: Duration| {
        u32::try_from(ms(duration)).map_err(|_| Failure::usage("a wait of a policy is at most 49 days", ""))
    };
    if let Some(len) = named.value_len {
        policy.value_len_max = len;
    }
    if let Some(fair) = named.fair {
        policy.fair = fair;
    }
    if let Some(when) = named.conversion_deadlock {
        policy.conversion_deadlock = match when {
            WhenRefused::Immediate => ConversionDeadlock::Immediate,
            WhenRefused::Timed => ConversionDeadlock::Timed,
        };
    }
    if let Some(wait) = named.deadlock_wait {
        policy.deadlock_wait_ms = milliseconds(wait)?;
        if !matches!(policy.deadlock_wait_ms, 0 | 10..=3_600_000) {
            let cause =
                format!("a deadlock wait is 10ms to 1h, or 0 for never; this is {}", show_ms(ms(wait)));
            return Err(Failure::usage(
                cause,
                "deadlocks that are only to be told: --deadlock-victim report-only",
            ));
        }
    }
    if let Some(wait) = named.wait_max {
        policy.wait_ms_max = milliseconds(wait)?;
    }
    if let Some(modes) = &named.modes {
        policy.modes = modes.iter().copied().fold(ModeSet::EMPTY, ModeSet::with);
    }
    if let Some(required) = named.reason_required {
        policy.reason_required = required;
    }
    if let Some(delay) = named.lock_delay {
        policy.lock_delay_ms = milliseconds(delay)?;
    }
    if let Some(victim) = named.deadlock_victim {
        policy.deadlock_victim = match victim {
            Victim::Youngest => VictimRule::Youngest,
            Victim::FewestLocks => VictimRule::FewestLocks,
            Victim::ReportOnly => VictimRule::ReportOnly,
        };
    }
    Ok(policy)
}
