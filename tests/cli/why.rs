//! Five parties, three resources and a conversion: why somebody waits, down to the root, as text, as a tree, as a graph;
//! and the same when the ring is closed.

use enq::client::{Lock, LockMode, NotGranted, Session};
use std::future::IntoFuture as _;
use tokio::{task::JoinHandle, time::timeout};

use crate::stage::{PATIENCE, Server, said};

type Granted = Result<Lock, NotGranted>;

/// Who is who: `export` waits for `billing`, that for `report`, that for `backup`, which waits for nobody.
struct Story {
    server: Server,
    backup: Session,
    export: Session,
    /// What is held.
    held: Vec<Lock>,
    /// What waits.
    waiting: Vec<JoinHandle<()>>,
    report: JoinHandle<Granted>,
}

async fn session(server: &Server, name: &str) -> Session {
    let opening = Session::builder(name).purpose("month end").bind_connection(true);
    // Each does one thing after the other, in however many tasks this file plays it.
    opening.connect(&[server.address.as_str()]).await.expect("it connects").owner(0)
}

async fn held(session: &Session, name: &str, mode: LockMode, reason: &str) -> Lock {
    session.lock(name).mode(mode).reason(reason).await.expect("it is free")
}

impl Story {
    async fn begin() -> Story {
        let server = Server::start().await;
        // Nobody searches but who says so.
        let set = server.done(&["space", "set", "default", "--deadlock-wait", "0"]).await;
        assert!(set.status.success(), "{set:?}");
        let (backup, report) = (session(&server, "backup").await, session(&server, "report").await);
        let (billing, audit) = (session(&server, "billing").await, session(&server, "audit").await);
        let export = session(&server, "export").await;
        let mut all = vec![held(&backup, "ledger", LockMode::Ex, "copying to tape").await];
        all.push(held(&report, "accounts", LockMode::Pr, "monthly report").await);
        let converts = held(&billing, "accounts", LockMode::Pr, "").await;
        all.push(held(&billing, "invoices", LockMode::Ex, "printing").await);
        let asked = report.lock("ledger").mode(LockMode::Pw).reason("closing").into_future();
        let report_waits = tokio::spawn(asked);
        server.until_queued("ledger", "waiting").await;
        let mut waiting = Vec::new();
        waiting.push(tokio::spawn(async move {
            let _billing = billing;
            let _ = converts.convert(LockMode::Ex).await;
        }));
        server.until_queued("accounts", "conversion").await;
        for (session, mode) in [(&audit, LockMode::Pr), (&export, LockMode::Ex)] {
            let asked = session.lock("invoices").mode(mode).into_future();
            waiting.push(tokio::spawn(async move { _ = asked.await }));
            let wanted = waiting.len() - 1;
            until_waiting(&server, "invoices", wanted).await;
        }
        // The sessions live as long as their locks do.
        waiting.push(tokio::spawn(async move {
            let _both = (report, audit);
            std::future::pending::<()>().await;
        }));
        Story { server, backup, export, held: all, waiting, report: report_waits }
    }

    async fn text(&self, arguments: &[&str]) -> String {
        let output = self.server.done(arguments).await;
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        let text = String::from_utf8(output.stdout).expect("it is text");
        if std::env::var_os("ENQ_STORY").is_some() {
            eprintln!("$ enq {}\n{text}", arguments.join(" "));
        }
        text
    }
}

async fn until_waiting(server: &Server, name: &str, count: usize) {
    crate::stage::eventually("so many wait", async || {
        let seen = server.json(&["show", name, "-o", "json"]).await;
        seen["resource"]["waiting"].as_array().is_some_and(|locks| locks.len() == count)
    })
    .await;
}

/// The line with these words.
fn line<'a>(text: &'a str, words: &str) -> &'a str {
    text.lines().find(|line| line.contains(words)).unwrap_or_else(|| panic!("{words} in\n{text}"))
}

#[tokio::test]
async fn who_waits_is_told_why_down_to_the_root() {
    let story = Story::begin().await;
    let export = story.export.id().to_string();
    let text = story.text(&["why", &export]).await;
    assert!(text.starts_with("export on "), "{text}");
    assert!(line(&text, "wants EX on invoices").contains("2 of 2 in the queue"), "{text}");
    assert!(line(&text, "held in EX").contains(" by billing on "), "{text}");
    assert!(
        line(&text, "wants EX on accounts").contains("has PR and converts, 1 of 1 in the queue"),
        "{text}"
    );
    assert!(line(&text, "held in PR").contains(" by report on "), "{text}");
    assert!(line(&text, "wants PW on ledger").contains(": \"closing\""), "{text}");
    let root = line(&text, "the root: waits for nobody");
    assert!(root.contains(" by backup on ") && root.contains(": \"copying to tape\""), "{text}");
    assert!(line(&text, "behind a request for PR").contains(" by audit on "), "{text}");
    let backup = story.backup.id().to_string();
    let ended = format!("If session {backup} (backup on ");
    assert!(line(&text, &ended).contains("these would be granted, in this order:"), "{text}");
    assert!(line(&text, "   1. ").contains("PW on ledger to report on "), "{text}");

    assert_eq!(story.text(&["why", &export, "-o", "name"]).await, format!("{backup}\n"));
    let json = story.server.json(&["why", &export, "-o", "json"]).await["why"].take();
    assert_eq!(
        (&json["roots"][0], &json["complete"], &json["deadlocks"]),
        (&backup.clone().into(), &true.into(), &0.into())
    );
    assert_eq!(json["waits"].as_array().expect("a list").len(), 5, "{json}");
    assert_eq!(json["what_if"][0]["grants"][0]["mode"], "PW");

    // One that waits for nobody, and what is not there.
    let text = story.text(&["why", &backup]).await;
    assert!(text.starts_with(&format!("Session {backup} waits for nobody.")), "{text}");
    assert!(text.contains("1. PW on ledger to report on "), "{text}");
    let none = story.server.done(&["why", "77.77"]).await;
    assert!(none.status.code() == Some(70) && said(&none).contains("enq session ls"), "{none:?}");
    let none = story.server.done(&["why", "#77"]).await;
    assert!(none.status.code() == Some(70) && said(&none).contains("enq ls"), "{none:?}");
    let none = story.server.done(&["why", "accounts"]).await;
    assert!(none.status.code() == Some(64) && said(&none).contains("a lock id is"), "{none:?}");
}

#[tokio::test]
async fn the_whole_is_drawn_with_its_root_on_top() {
    let story = Story::begin().await;
    let tree = story.text(&["blockers", "--tree"]).await;
    assert!(
        tree.starts_with("backup on ") && line(&tree, "backup on ").ends_with("waits for nobody"),
        "{tree}"
    );
    let indent = |words: &str| line(&tree, words).find(|c: char| c.is_ascii_lowercase());
    let depths: Vec<_> = ["report on", "billing on", "audit on"].map(indent).into_iter().collect();
    assert!(depths.is_sorted() && depths[0] < depths[1] && depths[1] < depths[2], "{depths:?}\n{tree}");
    assert_eq!(story.text(&["graph"]).await.lines().count(), tree.lines().count(), "the same without a form");
    let roots = story.server.json(&["blockers", "--roots", "-o", "json"]).await;
    let [root] = &roots["roots"].as_array().expect("a list")[..] else { panic!("one root: {roots}") };
    assert_eq!((&root["holder"]["name"], &root["waiting_behind"]), (&"backup".into(), &4.into()));

    let dot = story.text(&["graph", "--dot"]).await;
    assert!(dot.starts_with("digraph waits {") && dot.ends_with("}\n"), "{dot}");
    assert!(
        line(&dot, "n0 [label=").contains("backup") && line(&dot, "n0 [label=").contains("waits for nobody")
    );
    assert_eq!(dot.matches(" -> ").count(), 5, "{dot}");
    assert!(line(&dot, "style=dashed").contains("wants EX, behind PR"), "{dot}");
    assert!(line(&dot, "PR to EX").contains("held in PR"), "{dot}");
    let folder = tempfile::tempdir().expect("there is room");
    let file = folder.path().join("waits.svg");
    story.text(&["graph", "--svg", file.to_str().expect("its name is text")]).await;
    let svg = std::fs::read_to_string(&file).expect("it was drawn");
    assert_eq!(svg, story.text(&["graph", "--svg", "-"]).await, "the same each time");
    assert!(svg.starts_with("<?xml") && svg.trim_end().ends_with("</svg>"), "{svg}");
    let places: Vec<f64> = ["backup", "report", "billing", "audit"].map(|name| height(&svg, name)).to_vec();
    assert!(places.is_sorted(), "the root is on top: {places:?}");
}

/// How far down a word stands in a picture.
fn height(svg: &str, word: &str) -> f64 {
    let at = svg.find(&format!(">{word}<")).unwrap_or_else(|| panic!("{word} in {svg}"));
    let (_, rest) = svg[..at].rsplit_once(" y=\"").expect("it has a place");
    rest.split_once('"').and_then(|(number, _)| number.parse().ok()).expect("a number")
}

#[tokio::test]
async fn a_ring_is_marked_and_told_apart_from_who_merely_waits_for_it() {
    let story = Story::begin().await;
    let closes = tokio::spawn(story.backup.lock("invoices").mode(LockMode::Ex).into_future());
    until_waiting(&story.server, "invoices", 3).await;
    let text = story.text(&["why", &story.export.id().to_string()]).await;
    assert!(text.contains("enq deadlocks scan") && !text.contains("the root"), "{text}");
    assert_eq!(text.lines().filter(|line| line.ends_with("  <<<")).count(), 3, "{text}");
    assert!(!line(&text, "2 of 3 in the queue").contains("<<<"), "{text}");
    let dot = story.text(&["graph", "--dot"]).await;
    assert_eq!(dot.matches("penwidth=3").count(), 3, "{dot}");
    let svg = story.text(&["graph", "--svg", "-"]).await;
    assert_eq!(svg.matches("stroke=\"#c00000\" stroke-width=\"3\"").count(), 3, "{svg}");
    assert_eq!(svg.matches("class=\"label\" fill=\"#c00000\"").count(), 6, "labels have two lines: {svg}");
    assert_eq!(svg.matches("class=\"label\"").count(), 14, "whatever way they take: {svg}");
    let tree = story.text(&["blockers", "--tree"]).await;
    assert!(line(&tree, "in a deadlock").starts_with(|c: char| c.is_ascii_lowercase()), "{tree}");
    assert_eq!(tree.matches("  <<<").count(), 3, "{tree}");
    assert_eq!(tree.matches("(shown above)").count(), 1, "only where the ring is closed: {tree}");
    story.text(&["deadlocks", "scan"]).await;
    let refused = timeout(PATIENCE, closes).await.expect("in time").expect("no panic");
    assert!(matches!(refused, Err(NotGranted::Deadlock { record: 1 })), "{refused:?}");
    let shown = story.text(&["deadlocks", "show", "1"]).await;
    assert!(shown.starts_with("deadlock 1: a ring of 3 waits"), "{shown}");
    drop(story.held);
    let granted = timeout(PATIENCE, story.report).await.expect("in time").expect("no panic");
    assert_eq!(granted.expect("granted, as it was foreseen").mode(), LockMode::Pw);
    story.waiting.iter().for_each(JoinHandle::abort);
}
