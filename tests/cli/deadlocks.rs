//! `enq deadlocks`: a search at once, what it has found, and what the one is told who was refused.

use enq::client::Session;
use std::future::IntoFuture as _;
use tokio::time::timeout;

use crate::{
    kept::Kept,
    stage::{PATIENCE, Server, said},
};

#[tokio::test]
async fn a_deadlock_is_searched_for_shown_and_told_to_the_one_who_is_refused() {
    let server = Server::start().await;
    // Nobody searches but who says so.
    let set = server.done(&["space", "set", "default", "--deadlock-wait", "0"]).await;
    assert!(set.status.success(), "{set:?}");
    let scanned = server.done(&["deadlocks", "scan"]).await;
    assert_eq!(String::from_utf8_lossy(&scanned.stdout), "0 deadlocks found among 0 locks\n");
    assert_eq!(server.json(&["deadlocks", "ls", "-o", "json"]).await["deadlocks"], serde_json::json!([]));

    let elder = Session::builder("elder").bind_connection(true).connect(&[server.address.as_str()]).await;
    // The task below waits in the place of this one.
    let elder = elder.expect("it connects").owner(1);
    let _right = elder.lock("right").await.expect("it is free");
    let kept = Kept::open(&server, &["--name", "younger"]).await;
    assert!(kept.done(&["lock", "left"]).await.status.success());
    let waits = tokio::spawn(elder.lock("left").into_future());
    server.until_queued("left", "waiting").await;
    let mut asks = kept.enq(&["lock", "right"]);
    let asks = tokio::spawn(async move { timeout(PATIENCE, asks.output()).await });
    server.until_queued("right", "waiting").await;

    let scanned = server.json(&["deadlocks", "scan", "-o", "json"]).await;
    assert_eq!(scanned["scan"], serde_json::json!({ "locks": 4, "found": 1, "records": ["1"] }));
    let refused = asks.await.expect("no panic").expect("in time").expect("it starts");
    assert_eq!(refused.status.code(), Some(79), "{refused:?}");
    for words in ["deadlock 1", "enq deadlocks show 1"] {
        assert!(said(&refused).contains(words), "{words} in {}", said(&refused));
    }
    // What the younger one holds is free again when it lets go, and the elder goes on.
    assert!(kept.done(&["session", "close"]).await.status.success());
    let _left = timeout(PATIENCE, waits).await.expect("in time").expect("no panic").expect("it is granted");
    looks(&server).await;
}

#[tokio::test]
async fn who_is_refused_is_said_by_the_lockspace_and_by_the_request() {
    let server = Server::start().await;
    for (wait, good) in [("9ms", false), ("10ms", true), ("1h", true), ("61m", false), ("0", true)] {
        let set = server.done(&["space", "set", "default", "--deadlock-wait", wait]).await;
        assert_eq!(set.status.code(), Some(if good { 0 } else { 64 }), "{wait}: {set:?}");
        assert!(good || said(&set).contains("10ms to 1h, or 0 for never"), "{}", said(&set));
    }
    let made =
        server.json(&["space", "create", "b", "--deadlock-victim", "fewest-locks", "-o", "json"]).await;
    assert_eq!(made["spaces"][0]["policy"]["deadlock_victim"], "fewest-locks");
    let set = server.done(&["space", "set", "b", "--deadlock-victim", "report-only"]).await;
    assert!(set.status.success(), "{set:?}");
    let shown = server.done(&["space", "show", "b"]).await;
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("DEADLOCK VICTIM") && shown.contains("report-only"), "{shown}");

    let kept = Kept::open(&server, &[]).await;
    let locked = kept.done(&["lock", "--deadlock-priority", "255", "a", "-o", "name"]).await;
    let id = String::from_utf8_lossy(&locked.stdout).trim().to_owned();
    assert_eq!(priority(&server).await, 255, "{locked:?}");
    let converted = kept.done(&["convert", "--deadlock-priority", "7", &id, "PR"]).await;
    assert_eq!(priority(&server).await, 7, "{converted:?}");
    assert!(kept.done(&["session", "close"]).await.status.success());
}

/// The deadlock priority of the only lock there is.
async fn priority(server: &Server) -> u64 {
    let listed = server.json(&["ls", "-o", "json"]).await;
    let [lock] = &listed["locks"].as_array().expect("a list")[..] else { panic!("{listed}") };
    lock["priority"].as_u64().expect("a number")
}

async fn looks(server: &Server) {
    let listed = server.json(&["deadlocks", "ls", "-o", "json"]).await;
    let [deadlock] = &listed["deadlocks"].as_array().expect("a list")[..] else { panic!("{listed}") };
    assert_eq!((&deadlock["number"], &deadlock["wait_count"]), (&"1".into(), &2.into()));
    let listed = server.done(&["deadlocks", "ls"]).await;
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(listed.starts_with("NUMBER") && listed.contains("left right"), "{listed}");

    let shown = server.json(&["deadlocks", "show", "1", "-o", "json"]).await["deadlock"].take();
    let waits = shown["waits"].as_array().expect("a list");
    for wait in waits {
        assert_eq!(
            (&wait["waiting"]["requested"], &wait["blocker"]["granted"]),
            (&"EX".into(), &"EX".into())
        );
        let is_younger = wait["waiting"]["holder"]["name"] == "younger";
        assert_eq!(wait["refused"], is_younger, "the one who asked last");
        assert_eq!(wait["waiting"]["resource"], if is_younger { "right" } else { "left" });
        assert_eq!(wait["blocker"]["holder"]["name"], if is_younger { "elder" } else { "younger" });
    }
    let shown = server.done(&["deadlocks", "show", "1"]).await;
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    let lines: Vec<&str> = shown.lines().collect();
    assert!(lines[0].starts_with("deadlock 1: a ring of 2 waits, found "), "{shown}");
    let line = |of: &str| lines.iter().find(|line| line.starts_with(of)).copied().unwrap_or_default();
    assert!(line("younger on ").contains(" right ") && line("younger on ").ends_with("refused"), "{shown}");
    assert!(line("elder on ").contains("younger on ") && line("elder on ").contains("held"), "{shown}");

    let none = server.done(&["deadlocks", "show", "7"]).await;
    assert_eq!(none.status.code(), Some(70), "{none:?}");
    assert!(said(&none).contains("NOSUCHDEADLOCK"), "{}", said(&none));
}
