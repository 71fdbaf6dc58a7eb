//! One resource as the VMS System Dump Analyzer shows it: SHOW RESOURCE's block, then the three queues.
//!
//! Somebody who has read these blocks for decades finds each word where it was: GGMODE, CGMODE, Sub-RSB count, Lock
//! count, Valblk, Seqnum, and `*** EMPTY QUEUE ***`. What VMS could not know (host, session, lease) follows on each
//! lock's second line.

use std::fmt::Write as _;

use enq_protocol::vocabulary::{LockMode, LockView, Queue, ResourceView, SessionView};

use super::{
    duration::show_ms,
    render::{heading, hexadecimal, printable},
    words,
};

/// Bytes of the value block a line.
const VALUE_BYTES_A_LINE: usize = 16;

/// The whole page.
#[must_use]
pub(super) fn page(resource: &ResourceView, space: &str, sessions: &[SessionView]) -> String {
    let mut page = block(resource, space);
    for (queue, title) in [
        (Queue::Granted, "Granted queue (Lock ID / Gr mode / Seq / Fence):"),
        (Queue::Conversion, "Conversion queue (Lock ID / Gr mode / Rq mode / Seq / Fence):"),
        (Queue::Waiting, "Waiting queue (Lock ID / Rq mode):"),
    ] {
        // Writing to a string cannot fail, here and below.
        let _ = writeln!(page, "\n{}", heading(title));
        let mut empty = true;
        for lock in resource.locks.iter().filter(|lock| lock.queue == queue) {
            empty = false;
            page.push_str(&entry(lock, sessions));
        }
        if empty {
            page.push_str("      *** EMPTY QUEUE ***\n");
        }
    }
    let shown = u32::try_from(resource.locks.len()).unwrap_or(u32::MAX);
    if shown < resource.lock_count {
        let _ = writeln!(page, "\n{} more locks are not shown.", resource.lock_count - shown);
    }
    page
}

/// What SDA puts above the queues.
fn block(resource: &ResourceView, space: &str) -> String {
    let name = words::name(&resource.path);
    let length = resource.path.last().map_or(0, |name| name.as_bytes().len());
    let count = |queue| resource.locks.iter().filter(|lock| lock.queue == queue).count();
    let group = |modes: Option<LockMode>| modes.map_or("-", LockMode::letters);
    let valid = if resource.value.valid { "VALID" } else { "VALNOTVALID" };
    let mut block = format!("{}\n", heading("Resource database\n-----------------"));
    let _ = writeln!(block, "Resource:       {name}");
    let _ = writeln!(block, "Lockspace:      {:<20} Length:       {length:>10}", printable(space.as_bytes()));
    let _ = writeln!(
        block,
        "GGMODE:         {:<20} Lock count:   {:>10}",
        group(greatest(resource, |lock| lock.granted)),
        resource.lock_count
    );
    let _ = writeln!(
        block,
        "CGMODE:         {:<20} Sub-RSB count:{:>10}",
        group(greatest(resource, |lock| lock.granted.and(lock.requested).or(lock.granted))),
        resource.subresources
    );
    let _ = writeln!(block, "Granted:        {:<20} Status:       {valid:>10}", count(Queue::Granted));
    let _ = writeln!(
        block,
        "Converting:     {:<20} Seqnum:       {:>10}",
        count(Queue::Conversion),
        resource.value.seq
    );
    let _ = writeln!(
        block,
        "Waiting:        {:<20} Valblk length:{:>10}",
        count(Queue::Waiting),
        resource.value.bytes.len()
    );
    for (at, line) in resource.value.bytes.chunks(VALUE_BYTES_A_LINE).enumerate() {
        let label = if at == 0 { "Valblk:" } else { "" };
        let longwords: Vec<String> = line.chunks(4).map(hexadecimal).collect();
        let text: String = line
            .iter()
            .map(|byte| if byte.is_ascii_graphic() || *byte == b' ' { char::from(*byte) } else { '.' })
            .collect();
        let _ = writeln!(block, "{label:<15} {:<35}  {text}", longwords.join(" "));
    }
    block
}

/// The greatest mode by M2; of the two that cannot be compared, the one that protects.
fn greatest(resource: &ResourceView, mode: fn(&LockView) -> Option<LockMode>) -> Option<LockMode> {
    resource
        .locks
        .iter()
        .filter_map(mode)
        .reduce(|a, b| if b.covers(a) || (b, a) == (LockMode::Pr, LockMode::Cw) { b } else { a })
}

/// One lock: SDA's line, and a second one with what a network needs to know.
fn entry(lock: &LockView, sessions: &[SessionView]) -> String {
    let letters = |mode: Option<LockMode>| mode.map_or("", LockMode::letters);
    let mut line = match lock.queue {
        Queue::Granted => {
            format!(
                "  {:<18} {}   seq {}  fence {}",
                lock.lock.to_string(),
                letters(lock.granted),
                lock.seq,
                lock.fence
            )
        }
        Queue::Conversion => format!(
            "  {:<18} {} {}   seq {}  fence {}",
            lock.lock.to_string(),
            letters(lock.granted),
            letters(lock.requested),
            lock.seq,
            lock.fence
        ),
        Queue::Waiting => format!("  {:<18} {}", lock.lock.to_string(), letters(lock.requested)),
    };
    let _ = write!(line, "   since {}", show_ms(lock.age_ms));
    if let Some(left) = lock.timeout_ms {
        let _ = write!(line, ", willing to wait {} more", show_ms(left));
    }
    if let Some(pause) = words::pause(lock) {
        let _ = write!(line, ", {pause}");
    }
    let _ = write!(line, "\n      {}", words::whose(lock, sessions));
    if let Some(session) = words::session_of(lock, sessions) {
        let _ = write!(line, ", session {}, lease left {}", session.session, show_ms(session.lease_left_ms));
        if !session.purpose.is_empty() {
            let _ = write!(line, ", for {}", printable(session.purpose.as_bytes()));
        }
    }
    if !lock.reason.is_empty() {
        let _ = write!(line, "\n      reason: {}", printable(&lock.reason));
    }
    line.push('\n');
    line
}
