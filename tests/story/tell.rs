//! Outputs in the words of a story, in the order in which the engine left them.

use super::cast::Cast;
use super::stage::Stage;
use enq::engine::{Output, Said};
use enq_protocol::vocabulary::{Grant, Handle, LockMode, PathLevel, Seq, SessionId, Status, ValueBlock};
use std::fmt::Write as _;

/// What is told of one step, joined by `; `; `nothing` if there is nothing to tell.
pub(crate) fn tell(
    stage: &mut Stage,
    outputs: &[Output],
    wanted: Option<LockMode>,
) -> Result<Vec<String>, String> {
    let mut told = Vec::new();
    for output in outputs {
        keep_books(stage, output)?;
        // A session that has left hears nothing more.
        if !stage.cast.has_left(output.session) {
            told.push(write(stage, output, wanted)?);
        }
    }
    Ok(told)
}

/// What must be true of every output, whatever the story.
fn keep_books(stage: &mut Stage, output: &Output) -> Result<(), String> {
    let session = output.session;
    if stage.cast.has_left(session) {
        return Ok(());
    }
    stage.quotas.note(output);
    let cast = &mut stage.cast;
    match &output.said {
        Said::Granted(grant) | Said::GrantedLater(grant) => cast.granted(session, grant),
        Said::PathGranted { leaf, levels } | Said::PathGrantedLater { leaf, levels } => {
            for level in &levels[..] {
                cast.learn(session, level.handle, level.lock)?;
                if matches!(output.said, Said::PathGranted { .. }) {
                    cast.arrive(session, level.handle)?;
                }
            }
            cast.granted(session, leaf)
        }
        Said::Ended { handle, holds: None, .. }
        | Said::Released { handle, frees: true }
        | Said::Revoked { handle, .. }
        | Said::Gone { handle } => cast.freed(session, *handle),
        Said::Blocking { handle, seq, .. } => {
            let name = cast.name_of(session, *handle).to_owned();
            let actor = cast.named(&name)?;
            // Of the intents of a path nobody is told the seq.
            if actor.seq == *seq || actor.seq == Seq(0) {
                Ok(())
            } else {
                Err(format!("B2: {name} was granted anew since"))
            }
        }
        Said::Purged { next, .. } => {
            stage.purging = *next;
            Ok(())
        }
        Said::Queued { .. }
        | Said::Done(_)
        | Said::Released { .. }
        | Said::Refused { .. }
        | Said::Ended { .. }
        | Said::Demoted { .. } => Ok(()),
    }
}

fn write(stage: &mut Stage, output: &Output, wanted: Option<LockMode>) -> Result<String, String> {
    let session = output.session;
    let cast = &stage.cast;
    let name_of = |handle: Handle| cast.name_of(session, handle);
    Ok(match &output.said {
        Said::Granted(grant) => {
            let mode = if wanted == Some(grant.mode) { String::new() } else { format!(" {}", grant.mode) };
            format!("granted{mode}{}", details(stage, grant))
        }
        Said::GrantedLater(grant) => {
            format!("grant {} {}{}", name_of(grant.handle), grant.mode, details(stage, grant))
        }
        Said::PathGranted { leaf, levels } => {
            let mode = if wanted == Some(leaf.mode) { String::new() } else { format!(" {}", leaf.mode) };
            format!("granted{mode}{} by {}", details(stage, leaf), way(cast, session, levels))
        }
        Said::PathGrantedLater { leaf, levels } => {
            let name = name_of(leaf.handle);
            format!("grant {name} {}{} by {}", leaf.mode, details(stage, leaf), way(cast, session, levels))
        }
        Said::Queued { handle, lock } => {
            let asked = name_of(*handle).to_owned();
            if cast.named(&asked)?.by_path {
                format!("queued at {}", stage.learn_level(&asked, *lock)?)
            } else {
                stage.cast.learn(session, *handle, *lock)?;
                "queued".into()
            }
        }
        Said::Done(Status::Done) => "done".into(),
        Said::Done(status) => status.to_string(),
        Said::Released { .. } => "released".into(),
        Said::Refused { status, blocker: Some(blocker), waiting } => {
            format!("{status} by {}, {waiting} wait", cast.name_of_id(*blocker))
        }
        Said::Refused { status: Status::Recovering, waiting, .. } => format!("RECOVERING for {waiting} ms"),
        Said::Refused { status, .. } => status.to_string(),
        Said::Ended { handle, status, holds, .. } => {
            let holds = holds.map_or(String::new(), |mode| format!(" holds {mode}"));
            format!("ended {} {status}{holds}", name_of(*handle))
        }
        Said::Purged { released, next: None } => format!("purged {released}"),
        Said::Purged { released, next: Some(_) } => format!("purged {released}, and more"),
        Said::Gone { handle } => format!("gone {}", name_of(*handle)),
        Said::Demoted { handle } => format!("demoted {}", name_of(*handle)),
        Said::Revoked { handle, by, reason } => {
            format!("revoked {} by s{} {reason}", name_of(*handle), by.0)
        }
        Said::Blocking { handle, mode, .. } => format!("blocking {} {mode}", name_of(*handle)),
    })
}

/// The levels of a path, root first.
fn way(cast: &Cast, session: SessionId, levels: &[PathLevel]) -> String {
    let level = |level: &PathLevel| {
        let made = if level.made { "made" } else { "reused" };
        format!("{} {} {made}", cast.name_of(session, level.handle), level.mode)
    };
    levels.iter().map(level).collect::<Vec<_>>().join(", ")
}

/// All a grant says besides its mode.
fn details(stage: &Stage, grant: &Grant) -> String {
    let mut text = String::new();
    let words = [(grant.synchronous, "sync"), (grant.alternate, "alternate"), (grant.demoted, "demoted")];
    for (_, word) in words.into_iter().chain([(grant.stored, "stored")]).filter(|(is, _)| *is) {
        let _ = write!(text, " {word}");
    }
    if let Some(value) = &grant.value {
        let _ = write!(text, " read {}", block(value, stage.numbers));
    }
    if stage.numbers {
        let fence = stage.cast.rank_of_fence(grant.fence);
        let _ = write!(text, " seq {} fence {fence}", stage.cast.rank(grant.seq));
    }
    text
}

/// A value block: `none` if it has no bytes.
pub(crate) fn block(value: &ValueBlock, numbers: bool) -> String {
    let bytes = String::from_utf8_lossy(&value.bytes);
    let bytes = if bytes.is_empty() { "none" } else { &bytes };
    let stores = if numbers { format!(" of {} stores", value.seq) } else { String::new() };
    format!("{bytes}{stores}{}", if value.valid { "" } else { " not valid" })
}
