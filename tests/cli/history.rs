//! `enq history`: what happened, after all is over; and what the log says of long waits.

use crate::{
    kept::Kept,
    stage::{PATIENCE, Server, said},
};
use serde_json::Value;
use tokio::time::timeout;

async fn entries(server: &Server, arguments: &[&str]) -> Vec<Value> {
    let shown = server.json(&[&["history", "-o", "json"], arguments].concat()).await;
    shown["history"]["entries"].as_array().expect("a list").clone()
}

#[tokio::test]
async fn the_morning_after_there_is_a_history() {
    let server = Server::start().await;
    let kept = Kept::open(&server, &["--name", "night shift"]).await;
    let id = kept.lock("db/orders").await;
    let session = server.json(&["session", "ls", "-o", "json"]).await["sessions"][0]["id"].take();
    let session = session.as_str().expect("ids are strings").to_owned();
    let refused = server.done(&["run", "-n", "db/orders", "--", "true"]).await;
    assert_eq!(refused.status.code(), Some(75), "{refused:?}");
    assert!(kept.done(&["convert", &id, "PR"]).await.status.success());
    assert!(kept.done(&["session", "close"]).await.status.success());

    let all = entries(&server, &["db/orders"]).await;
    let what: Vec<&str> = all.iter().map(|entry| entry["what"].as_str().expect("a word")).collect();
    assert_eq!(what, ["closed", "converted", "refused", "granted"]);
    assert_eq!((&all[2]["status"], &all[2]["blocker"]), (&"NOTQUEUED".into(), &id.as_str().into()));
    assert_eq!((&all[1]["held"], &all[1]["mode"]), (&"EX".into(), &"PR".into()));
    let holder = &all[3]["holder"];
    assert_eq!((&holder["name"], &holder["died"]), (&"night shift".into(), &false.into()));
    assert!(holder["ended"].is_string(), "{holder}");

    let own = entries(&server, &[&session]).await;
    assert_eq!(own.len(), 3, "that of the session: {own:?}");
    assert_eq!(entries(&server, &["--name", &session]).await.len(), 0, "no resource is called so");
    assert_eq!(entries(&server, &["db/orders", "--limit", "1"]).await.len(), 1);
    assert_eq!(entries(&server, &["db/orders", "--since", "1h"]).await.len(), 4);

    let shown = server.done(&["history", &session]).await;
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    for words in ["night shift on ", "closed 20", "EX->PR", "db/orders", "complete since the server's start"]
    {
        assert!(shown.contains(words), "{words} in {shown}");
    }
}

#[tokio::test]
async fn a_server_that_keeps_no_history_is_told_apart_from_an_empty_one() {
    let server = Server::start_with(&["--listen", "127.0.0.1:0", "--history-entries", "0"]).await;
    let shown = server.done(&["history", "x"]).await;
    assert_eq!(shown.status.code(), Some(70), "{shown:?}");
    assert!(said(&shown).contains("keeps no history"), "{}", said(&shown));
}

#[tokio::test]
async fn a_long_wait_is_logged_with_its_holder_and_so_is_its_end() {
    let arguments = ["--listen", "127.0.0.1:0", "--log-wait-after", "50ms", "--log-json"];
    let (server, mut log) = Server::start_heard(&arguments).await;
    let holder = Kept::open(&server, &["--name", "hold\u{1b}er"]).await;
    let id = holder.lock("orders").await;
    let waits = Kept::open(&server, &["--name", "in line"]).await;
    let mut asks = waits.enq(&["lock", "-m", "PR", "orders"]);
    let asks = tokio::spawn(async move { timeout(PATIENCE, asks.output()).await });

    let mut told = async |what: &str| loop {
        let line = timeout(PATIENCE, log.next_line()).await.expect("it is told in time");
        let line = line.expect("it can be read").expect("the server goes on");
        assert!(!line.contains('\u{1b}'), "{line}");
        // What it says before its log begins is for people.
        let Ok(line) = serde_json::from_str::<Value>(&line) else { continue };
        let fields = line["fields"].clone();
        if fields["message"] == what {
            return fields;
        }
    };
    let begun = told("a request waits long").await;
    assert_eq!((&begun["resource"], &begun["mode"]), (&"orders".into(), &"PR".into()));
    assert_eq!((&begun["name"], &begun["others"]), (&"in line".into(), &0.into()));
    assert!(begun["waited_ms"].as_u64() >= Some(50), "{begun}");
    let waits_for = begun["waits_for"].as_str().expect("words");
    assert!(waits_for.starts_with(&format!("{id} EX of hold")), "{waits_for}");

    assert!(holder.done(&["deq", &id]).await.status.success());
    let over = told("a long wait is over").await;
    assert_eq!((&over["lock"], &over["how"]), (&begun["lock"], &"GRANTED".into()));
    assert!(over["waited_ms"].as_u64() >= begun["waited_ms"].as_u64(), "{over}");
    assert!(asks.await.expect("no panic").expect("in time").expect("it starts").status.success());
    for kept in [holder, waits] {
        assert!(kept.done(&["session", "close"]).await.status.success());
    }
}
