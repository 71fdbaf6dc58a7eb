//! `enq why`: why a lock or a session waits, down to whoever waits for nobody; and what would be granted if he ended.

use std::{collections::BTreeSet, fmt::Write as _};

use enq_protocol::vocabulary::{
    ForeseenView, LockId, LockView, Status, WaitLine, WaitsFrom, WaitsView, WhatIf,
};
use serde_json::{Value, json};

use super::{
    args::{Format, Reach, Why, WhyOf},
    ask,
    chain::{self, Chain, Party},
    duration::show_ms,
    exit::Failure,
    render::{self, heading},
    words,
};
use crate::client::{Client, LookError};

/// Waits that are asked for.
pub(super) const WAITS_MAX: u32 = 2_000;

/// Roots of which is asked what would follow from their end.
const ROOTS_PLAYED: usize = 3;

/// Grants that are printed for one root.
const GRANTS_PRINTED: usize = 20;

/// An end, and what would follow from it.
struct End {
    of: String,
    foreseen: ForeseenView,
}

/// Says it.
pub(super) async fn why(reach: &Reach, why: &Why) -> Result<(), Failure> {
    let client = ask::client(reach).await?;
    let from = match why.of {
        WhyOf::Lock(lock) => WaitsFrom { lock: Some(lock), ..WaitsFrom::default() },
        WhyOf::Session(session) => WaitsFrom { session: Some(session), ..WaitsFrom::default() },
    };
    let view = ask::within(reach, client.waits(from, WAITS_MAX)).await;
    let view = view.map_err(|failure| failure.about(why.of))?;
    let chain = Chain::new(&view);
    if why.output.format == Format::Name {
        let roots = chain.roots();
        return render::print(
            &roots.iter().map(|lock| format!("{}\n", chain::root_name(lock))).collect::<String>(),
        );
    }
    let ends = ends(reach, &client, &why.of, &chain).await?;
    if why.output.format == Format::Json {
        let mut json = chain.json();
        json["of"] = json!(why.of.to_string());
        json["what_if"] = ends.iter().map(end_json).collect();
        return render::object("why", &json);
    }
    let wide = why.output.format == Format::Wide;
    let mut text = Text { chain: &chain, wide, seen: BTreeSet::new(), text: String::new() };
    text.tell(&why.of, &view);
    for end in &ends {
        text.foresee(end);
    }
    render::print(&text.text)
}

/// What would follow if a root ended; or what was asked about, if it waits for nobody itself.
async fn ends(reach: &Reach, client: &Client, of: &WhyOf, chain: &Chain<'_>) -> Result<Vec<End>, Failure> {
    let roots = chain.roots();
    let asked: Vec<(String, WhatIf)> = if chain.view.locks.is_empty() {
        let what = match of {
            WhyOf::Lock(lock) => WhatIf::Released(*lock),
            WhyOf::Session(session) => WhatIf::Ended(*session),
        };
        vec![(of.to_string(), what)]
    } else {
        roots.iter().take(ROOTS_PLAYED).map(|lock| root_end(chain, lock)).collect()
    };
    let mut ends = Vec::new();
    for (of, what) in asked {
        let foreseen = async {
            match client.what_if(what).await {
                // It has ended meanwhile.
                Err(LookError::Refused(Status::NoSuchLock | Status::NoSuchSession)) => Ok(None),
                other => other.map(Some),
            }
        };
        if let Some(foreseen) = ask::within(reach, foreseen).await? {
            ends.push(End { of, foreseen });
        }
    }
    Ok(ends)
}

fn root_end(chain: &Chain<'_>, lock: &LockView) -> (String, WhatIf) {
    match lock.session {
        Some(session) => {
            let whose = words::whose(lock, &chain.view.sessions);
            (format!("session {session} ({whose})"), WhatIf::Ended(session))
        }
        None => (format!("lock {}", lock.lock), WhatIf::Released(lock.lock)),
    }
}

fn end_json(end: &End) -> Value {
    let ForeseenView { grants, total, sessions, looked_at, is_complete } = &end.foreseen;
    let grants = grants.iter().map(|grant| {
        json!({
            "lock": words::lock_json(&grant.lock, sessions),
            "mode": grant.mode.letters(),
            "after_ms": grant.after_ms,
        })
    });
    json!({
        "ended": end.of,
        "grants": grants.collect::<Vec<_>>(),
        "total": total,
        "looked_at": looked_at,
        "complete": is_complete,
    })
}

/// The text while it is written. Writing to a string cannot fail.
struct Text<'a> {
    chain: &'a Chain<'a>,
    wide: bool,
    /// Requests that were explained.
    seen: BTreeSet<LockId>,
    text: String,
}

impl Text<'_> {
    fn tell(&mut self, of: &WhyOf, view: &WaitsView) {
        let first: Vec<LockId> = match of {
            WhyOf::Lock(lock) => vec![*lock],
            WhyOf::Session(id) => {
                let its = view.locks.iter().filter(|standing| standing.lock.session == Some(*id));
                its.filter(|standing| standing.lock.requested.is_some()).map(|it| it.lock.lock).collect()
            }
        };
        if view.locks.is_empty() {
            let _ = writeln!(self.text, "{} waits for nobody.", of.in_words());
        }
        for (at, request) in first.into_iter().filter(|lock| self.chain.standing(*lock).is_some()).enumerate()
        {
            if self.seen.contains(&request) {
                continue;
            }
            if at > 0 {
                self.text.push('\n');
            }
            if let Some(standing) = self.chain.standing(request) {
                let _ = writeln!(self.text, "{}", heading(&self.chain.who(&standing.lock)));
            }
            self.request(request, "", true);
        }
        if self.chain.deadlocks() > 0 {
            let hint = "A deadlock: those marked <<< wait for each other, and none of them can go on.\n\
                        The server refuses one of them in its time; enq deadlocks scan has it look at once.\n";
            let _ = write!(self.text, "\n{hint}");
        }
        if !view.is_complete {
            self.text.push_str(
                "\nThat is not all: it is too much for one answer, or something moved meanwhile.\n",
            );
        }
    }

    /// A request, and below it what is in its way.
    fn request(&mut self, request: LockId, indent: &str, is_last: bool) {
        let Some(standing) = self.chain.standing(request) else { return };
        let stuck = if self.chain.is_stuck(request) { "  <<<" } else { "" };
        let id = self.id(request);
        let _ = writeln!(self.text, "{indent}{} {}{id}{stuck}", branch(is_last), chain::wish(standing));
        let indent = format!("{indent}{}", stem(is_last));
        if !self.seen.insert(request) {
            let _ = writeln!(self.text, "{indent}`- as above");
            return;
        }
        let blockers = self.chain.blockers(request);
        if blockers.is_empty() {
            let pause = words::pause(&standing.lock);
            let why =
                pause.unwrap_or_else(|| String::from("look again: it is just being granted, or was cut off"));
            let _ = writeln!(self.text, "{indent}`- nobody is in its way: {why}");
        }
        for (at, wait) in blockers.iter().enumerate() {
            self.blocker(wait, &indent, at + 1 == blockers.len());
        }
    }

    /// What is in the way, and what its party waits for itself.
    fn blocker(&mut self, wait: &WaitLine, indent: &str, is_last: bool) {
        let Some(standing) = self.chain.standing(wait.blocker) else { return };
        let lock = &standing.lock;
        let requests = self.chain.requests(Party::of(lock)).to_vec();
        let (obstacle, who, said) =
            (chain::obstacle(wait.why, lock), self.chain.who(lock), chain::said(lock));
        let root = match (requests.is_empty(), words::pause(lock)) {
            (true, Some(pause)) => format!("  {}", heading(&format!("<- the root: {pause}"))),
            (true, None) => format!("  {}", heading("<- the root: waits for nobody")),
            (false, _) => String::new(),
        };
        let id = self.id(wait.blocker);
        let _ = writeln!(self.text, "{indent}{} {obstacle} by {who}{said}{id}{root}", branch(is_last));
        let indent = format!("{indent}{}", stem(is_last));
        let open: Vec<LockId> = requests.into_iter().filter(|lock| !self.seen.contains(lock)).collect();
        if open.is_empty() && root.is_empty() {
            let _ = writeln!(self.text, "{indent}`- and waits, as above");
        }
        for (at, request) in open.iter().enumerate() {
            self.request(*request, &indent, at + 1 == open.len());
        }
    }

    fn id(&self, lock: LockId) -> String {
        if self.wide { format!(" [{lock}]") } else { String::new() }
    }

    fn foresee(&mut self, end: &End) {
        let ForeseenView { grants, total, sessions, is_complete, .. } = &end.foreseen;
        let of = &end.of;
        if *total == 0 {
            let _ = writeln!(self.text, "\nIf {of} ended, nobody would be granted anything.");
        } else {
            let _ = writeln!(self.text, "\nIf {of} ended, these would be granted, in this order:");
        }
        for (at, grant) in grants.iter().take(GRANTS_PRINTED).enumerate() {
            let (name, mode) = (words::name(&grant.lock.path), grant.mode);
            let whose = words::whose(&grant.lock, sessions);
            let after = match grant.after_ms {
                0 => String::new(),
                after_ms => format!(", after a lock-delay of {}", show_ms(after_ms)),
            };
            let id = self.id(grant.lock.lock);
            let _ = writeln!(self.text, "{:>4}. {mode} on {name} to {whose}{after}{id}", at + 1);
        }
        let printed = u32::try_from(grants.len().min(GRANTS_PRINTED)).unwrap_or(u32::MAX);
        if printed < *total {
            let _ = writeln!(self.text, "      and {} more", total - printed);
        }
        if !is_complete {
            self.text.push_str(
                "      That is not the whole story: more than 10,000 locks are concerned, something moved meanwhile, or a \
                 path that would be granted goes on.\n",
            );
        }
    }
}

fn branch(is_last: bool) -> &'static str {
    if is_last { "`-" } else { "|-" }
}

fn stem(is_last: bool) -> &'static str {
    if is_last { "   " } else { "|  " }
}
