//! Dumps: a resource with its queues, a lock, who waits for whom.

use super::cast::Cast;
use super::stage::Stage;
use super::tell::block;
use super::words::Words;
use enq_protocol::vocabulary::{Edge, EdgeWhy, Fence, Flags, LockView, Queue, ResourceName, Seq};

/// The lines below `----`.
pub(crate) fn look(stage: &mut Stage, text: &str) -> Result<Vec<String>, String> {
    let mut words = Words::of(text);
    let verb = words.take("a look")?;
    let name = words.take("a name")?;
    words.end()?;
    match verb {
        "show" if is_lock(name) => show_lock(stage, name),
        "show" => Ok(show_resource(stage, name)?),
        "why" => {
            let found = stage.shard.blocked_by(stage.now, stage.id_of(name)?);
            edges(stage, name, "waits for", found)
        }
        "blocking" => {
            let found = stage.shard.blocking_of(stage.now, stage.id_of(name)?);
            edges(stage, name, "is waited for by", found)
        }
        _ => Err(format!("no look: {verb}")),
    }
}

/// `s1.a` is a lock; anything else names a resource.
fn is_lock(name: &str) -> bool {
    let owner = name.split_once('.').and_then(|(owner, _)| owner.strip_prefix('s'));
    owner.is_some_and(|number| number.parse::<u64>().is_ok())
}

fn show_resource(stage: &mut Stage, name: &str) -> Result<Vec<String>, String> {
    let (space, path) = stage.place(name);
    let path = ResourceName::path_from_printable(path).map_err(|why| why.to_string())?;
    let Some(view) = stage.shard.show_resource(stage.now, space, &path) else {
        return Ok(vec![format!("{name}  nothing")]);
    };
    let mut rows = Vec::new();
    let queues =
        [(Queue::Granted, "granted"), (Queue::Conversion, "conversion"), (Queue::Waiting, "waiting")];
    for (queue, word) in queues {
        for lock in &view.locks {
            learn(stage, lock)?;
        }
        let locks = view.locks.iter().filter(|lock| lock.queue == queue);
        let locks: Vec<String> = locks.map(|lock| brief(&stage.cast, lock, stage.numbers)).collect();
        if !locks.is_empty() {
            rows.push(format!("{word:<11} {}", locks.join(", ")));
        }
    }
    if view.value.seq > 0 || !view.value.valid {
        rows.push(format!("{:<11} {}", "value", block(&view.value, stage.numbers)));
    }
    if view.subresources > 0 {
        rows.push(format!("{:<11} {}", "below", view.subresources));
    }
    let indent = " ".repeat(name.chars().count());
    let head = |at: usize| if at == 0 { name } else { &indent };
    Ok(rows.iter().enumerate().map(|(at, row)| format!("{}  {row}", head(at))).collect())
}

/// A level of a path is known by its handle until somebody tells its id.
fn learn(stage: &mut Stage, lock: &LockView) -> Result<(), String> {
    match lock.session {
        Some(session) => stage.cast.learn(session, lock.handle, lock.lock),
        None => Ok(()),
    }
}

/// One lock in its queue: `s1.a PR`, `s1.a PR->EX`, `s1.a EX`.
fn brief(cast: &Cast, lock: &LockView, numbers: bool) -> String {
    let mode = match (lock.granted, lock.requested) {
        (Some(granted), Some(requested)) => format!("{granted}->{requested}"),
        (Some(mode), None) | (None, Some(mode)) => mode.to_string(),
        (None, None) => "?".into(),
    };
    let mut text = format!("{} {mode}", cast.name_of_id(lock.lock));
    if numbers && lock.seq != Seq(0) {
        let fence =
            if lock.fence == Fence::UNFENCED { "none".into() } else { cast.rank_of_fence(lock.fence) };
        text += &format!(" seq {} fence {fence}", cast.rank(lock.seq));
    }
    match (lock.session, lock.pause_ms) {
        (None, None) => text += " orphan",
        (None, Some(left)) => text += &format!(" lock-delay {left} ms"),
        (Some(_), Some(left)) => text += &format!(" restarted {left} ms"),
        (Some(_), None) => {}
    }
    text
}

/// Everything a view of a lock says, without what is usual.
fn show_lock(stage: &mut Stage, name: &str) -> Result<Vec<String>, String> {
    let Some(view) = stage.shard.show_lock(stage.now, stage.id_of(name)?) else {
        return Ok(vec![format!("{name}  nothing")]);
    };
    let queue = match view.queue {
        Queue::Granted => "granted",
        Queue::Conversion => "converting",
        Queue::Waiting => "waiting",
    };
    let mode = |mode: Option<_>| mode.map_or("none".into(), |mode| format!("{mode}"));
    let mut lines = vec![
        format!("resource   {}", ResourceName::path_to_printable(&view.path)),
        format!("{queue:<10} holds {}, wants {}", mode(view.granted), mode(view.requested)),
    ];
    if view.flags != Flags::NONE {
        lines.push(format!("flags      {}", view.flags));
    }
    if let Some(parent) = view.parent {
        lines.push(format!("parent     {}", stage.cast.name_of_id(parent)));
    }
    if view.sublocks > 0 {
        lines.push(format!("sublocks   {}", view.sublocks));
    }
    if let Some(left) = view.timeout_ms {
        lines.push(format!("waits      {left} ms more"));
    }
    match (view.session, view.pause_ms) {
        (None, None) => lines.push("orphan".into()),
        (None, Some(left)) => lines.push(format!("lock-delay {left} ms")),
        (Some(_), Some(left)) => lines.push(format!("restarted  {left} ms")),
        (Some(_), None) => {}
    }
    if !view.reason.is_empty() {
        lines.push(format!("reason     {}", String::from_utf8_lossy(&view.reason)));
    }
    let indent = " ".repeat(name.len());
    let head = |at: usize| if at == 0 { name } else { &indent };
    Ok(lines.iter().enumerate().map(|(at, line)| format!("{}  {line}", head(at))).collect())
}

fn edges(
    stage: &Stage,
    name: &str,
    verb: &str,
    found: Option<(Vec<Edge>, u32)>,
) -> Result<Vec<String>, String> {
    let Some((edges, count)) = found else {
        return Ok(vec![format!("{name}  nothing")]);
    };
    if edges.is_empty() && count == 0 {
        return Ok(vec![format!("{name}  {verb} nobody")]);
    }
    let line = |edge: &Edge| {
        let why = match edge.why {
            EdgeWhy::Held => "held",
            EdgeWhy::Ahead => "ahead",
        };
        format!("{name}  {verb} {} {why}", stage.cast.name_of_id(edge.lock.lock))
    };
    // A list that was cut short is told by its length alone.
    if usize::try_from(count) != Ok(edges.len()) {
        return Ok(vec![format!("{name}  {verb} {count} locks, {} shown", edges.len())]);
    }
    Ok(edges.iter().map(line).collect())
}
