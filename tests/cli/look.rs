//! What the looking verbs print: JSON that programs can rely on, and the words that people look for.

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::stage::{Server, code_of, eventually, pid_of, said, send, start};

#[tokio::test]
async fn the_listing_verbs_print_what_is_there() {
    let server = Server::start().await;
    let mut holder =
        start(server.enq(&["run", "--path", "--reason", "why", "db/orders", "--", "sleep", "1000"]));
    server.until_queued("db", "granted").await;
    let mut waiting = start(server.enq(&["run", "-m", "PR", "db", "--", "true"]));
    server.until_queued("db", "waiting").await;

    let all = server.json(&["ls", "-o", "json"]).await;
    let locks = all["locks"].as_array().expect("a list");
    let rows: Vec<_> = locks
        .iter()
        .map(|lock| (lock["resource"].as_str(), lock["queue"].as_str(), lock["requested"].as_str()))
        .collect();
    assert_eq!(
        rows,
        [
            (Some("db"), Some("granted"), None),
            (Some("db"), Some("waiting"), Some("PR")),
            (Some("db/orders"), Some("granted"), None),
        ]
    );
    for key in ["id", "seq", "fence", "stamp", "session"] {
        assert!(locks.iter().all(|lock| lock[key].is_string()), "{key} is a string");
    }
    assert_eq!(locks[2]["reason"], "why");
    assert_eq!(locks[2]["path"], Value::from(vec!["db", "orders"]));
    assert!(locks[2]["holder"]["host"].is_string() && locks[2]["holder"]["pid"].is_number());

    let count = async |arguments: &[&str]| {
        let mut all = vec!["ls"];
        all.extend(arguments);
        all.extend(["-o", "json"]);
        server.json(&all).await["locks"].as_array().map(Vec::len)
    };
    assert_eq!(count(&["--granted"]).await, Some(2));
    assert_eq!(count(&["--waiting"]).await, Some(1));
    assert_eq!(count(&["--converting"]).await, Some(0));
    assert_eq!(count(&["--orphan"]).await, Some(0));
    assert_eq!(count(&["--older-than", "1h"]).await, Some(0));
    assert_eq!(count(&["d"]).await, Some(3));
    assert_eq!(count(&["orders"]).await, Some(0));

    let shown = server.json(&["show", "--path", "db/orders", "-o", "json"]).await;
    let resource = &shown["resource"];
    assert_eq!((&resource["name"], &resource["granted"][0]["granted"]), (&"db/orders".into(), &"EX".into()));
    assert_eq!(
        (&resource["conversion"], &resource["waiting"]),
        (&Value::Array(vec![]), &Value::Array(vec![]))
    );
    assert_eq!((&resource["value"]["valid"], &resource["value"]["hex"]), (&true.into(), &"".into()));

    let tree = server.json(&["tree", "db", "-o", "json"]).await;
    let names: Vec<_> = tree["tree"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|entry| (entry["name"].as_str(), entry["depth"].as_u64()))
        .collect();
    assert_eq!(names, [(Some("db"), Some(0)), (Some("db/orders"), Some(1))]);

    for arguments in [&["blockers", "-o", "json"][..], &["blockers", "db", "-o", "json"]] {
        let blockers = server.json(arguments).await;
        let entry = &blockers["waiting"][0];
        assert_eq!((&entry["lock"]["requested"], &entry["total"]), (&"PR".into(), &1.into()), "{blockers}");
        assert_eq!(
            (&entry["waits_for"][0]["why"], &entry["waits_for"][0]["lock"]["granted"]),
            (&"held".into(), &"CW".into())
        );
    }
    send(pid_of(&holder), Signal::SIGTERM);
    assert_eq!(code_of(&mut holder).await, Some(143));
    assert_eq!(code_of(&mut waiting).await, Some(0));
    let shown = server.json(&["show", "db", "-o", "json"]).await;
    assert_eq!(shown["resource"], Value::Null, "nobody has a lock on it");
}

#[tokio::test]
async fn show_is_laid_out_as_the_dump_analyzer_does() {
    let server = Server::start().await;
    let mut holder = start(server.enq(&["run", "-s", "accounts", "--", "sleep", "1000"]));
    server.until_queued("accounts", "granted").await;
    let mut waiting = start(server.enq(&["run", "accounts", "--", "true"]));
    server.until_queued("accounts", "waiting").await;
    let output = server.done(&["show", "accounts"]).await;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for wanted in [
        "Resource database\n-----------------\nResource:       accounts\n",
        "GGMODE:         PR",
        "Lock count:            2",
        "Sub-RSB count:         0",
        "Status:            VALID",
        "\nGranted queue (Lock ID / Gr mode / Seq / Fence):\n  #",
        "\nConversion queue (Lock ID / Gr mode / Rq mode / Seq / Fence):\n      *** EMPTY QUEUE ***\n",
        "\nWaiting queue (Lock ID / Rq mode):\n  #",
        "for enq run sleep",
    ] {
        assert!(text.contains(wanted), "{wanted:?} in\n{text}");
    }
    assert!(!text.contains('\x1b'), "colour is for terminals");
    let output = server.done(&["tree", "accounts"]).await;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.starts_with("accounts   ") && text.contains("PR ") && text.contains(", ?EX "), "{text}");
    send(pid_of(&holder), Signal::SIGKILL);
    code_of(&mut holder).await;
    assert_eq!(code_of(&mut waiting).await, Some(0));
}

#[tokio::test]
async fn lockspaces_are_made_changed_and_removed() {
    let server = Server::start().await;
    let made = server.json(&["space", "create", "batch", "--fair", "true", "-o", "json"]).await;
    assert_eq!(
        (&made["spaces"][0]["name"], &made["spaces"][0]["policy"]["fair"]),
        (&"batch".into(), &true.into())
    );
    let again = server.done(&["space", "create", "batch", "--fair", "true"]).await;
    assert_eq!(again.status.code(), Some(0), "{}", said(&again));
    let exclusive = server.done(&["space", "create", "batch", "--fair", "true", "--exclusive"]).await;
    assert_eq!(exclusive.status.code(), Some(64));
    assert!(said(&exclusive).starts_with("enq: SPACEEXISTS: batch: "), "{}", said(&exclusive));
    let set = server.json(&["space", "set", "batch", "--reason-required", "true", "-o", "json"]).await;
    let policy = &set["spaces"][0]["policy"];
    assert_eq!(
        (&policy["reason_required"], &policy["fair"]),
        (&true.into(), &true.into()),
        "what is not named stays"
    );
    let refused = server.done(&["run", "--space", "batch", "x", "--", "true"]).await;
    assert_eq!(refused.status.code(), Some(77), "{}", said(&refused));
    let mut run =
        start(server.enq(&["run", "--space", "batch", "--reason", "r", "x", "--", "sleep", "1000"]));
    crate::stage::eventually("the lock is granted", async || {
        server.json(&["ls", "--space", "batch", "-o", "json"]).await["locks"]
            .as_array()
            .is_some_and(|locks| locks.len() == 1)
    })
    .await;
    assert_eq!(server.json(&["ls", "-o", "json"]).await["locks"], Value::Array(vec![]), "another lockspace");
    assert_eq!(server.done(&["space", "remove", "batch"]).await.status.code(), Some(70), "it has a lock");
    assert_eq!(server.done(&["space", "remove", "batch", "--force"]).await.status.code(), Some(0));
    assert_eq!(code_of(&mut run).await, Some(76), "its lock went with it");
    let names = server.done(&["space", "ls", "-o", "name"]).await;
    assert_eq!(String::from_utf8_lossy(&names.stdout), "default\n");
    assert_eq!(server.done(&["space", "show", "batch"]).await.status.code(), Some(64));
}

#[tokio::test]
async fn the_small_verbs_answer_in_every_form() {
    let server = Server::start().await;
    assert_eq!(server.json(&["ping", "-o", "json"]).await["servers"][0]["answers"], true);
    let two = server.done(&["ping", "--server", &server.address, "--server", "127.0.0.1:1"]).await;
    assert_eq!(two.status.code(), Some(69));
    assert!(String::from_utf8_lossy(&two.stdout).contains("answers"));
    assert!(server.json(&["stats", "-o", "json"]).await["statistics"]["enq_new_total"].is_number());
    assert_eq!(server.json(&["modes", "-o", "json"]).await["modes"].as_array().map(Vec::len), Some(6));
    assert_eq!(server.json(&["version", "-o", "json"]).await["enq"]["release"], env!("CARGO_PKG_VERSION"));
    for shell in ["bash", "zsh", "fish"] {
        let script = server.done(&["completion", shell]).await;
        assert!(String::from_utf8_lossy(&script.stdout).contains("force-release"), "{shell}");
    }
    for verb in ["ls", "ping", "stats", "modes", "version"] {
        for format in ["table", "wide", "name"] {
            let output = server.done(&[verb, "-o", format]).await;
            assert_eq!(output.status.code(), Some(0), "{verb} {format}");
            assert!(!String::from_utf8_lossy(&output.stdout).contains('\x1b'), "colour is for terminals");
        }
    }
    let gone = server.done(&["force-release", "#1f", "--token", "1", "--reason", "r"]).await;
    assert_eq!((gone.status.code(), said(&gone).starts_with("enq: NOSUCHLOCK: #1f: ")), (Some(70), true));
    let gone = server.done(&["session", "show", "9.9"]).await;
    assert_eq!((gone.status.code(), said(&gone).starts_with("enq: NOSUCHSESSION: ")), (Some(70), true));
}

#[tokio::test]
async fn a_token_is_live_as_long_as_its_grant() {
    let server = Server::start().await;
    let mut holder = start(server.enq(&["run", "--path", "db/orders", "--", "sleep", "1000"]));
    server.until_queued("db", "granted").await;
    let shown = server.json(&["show", "--path", "db/orders", "-o", "json"]).await;
    let seq = shown["resource"]["granted"][0]["seq"].as_str().expect("a string").to_owned();
    let check = ["check-token", "--path", "db/orders", "--seq", &seq];

    let live = server.done(&check).await;
    assert_eq!((live.status.code(), live.stdout.as_slice()), (Some(0), &b"live\n"[..]), "{live:?}");
    let json = server.json(&[check.as_slice(), &["-o", "json"]].concat()).await;
    assert_eq!((&json["token"]["live"], &json["token"]["seq"]), (&true.into(), &Value::from(seq.as_str())));
    for other in [["db/orders", "1"], ["db", seq.as_str()], ["nothing", seq.as_str()]] {
        let output = server.done(&["check-token", "--path", other[0], "--seq", other[1]]).await;
        assert_eq!(output.status.code(), Some(76), "{other:?}: {output:?}");
    }

    send(pid_of(&holder), Signal::SIGKILL);
    code_of(&mut holder).await;
    eventually("the grant has ended", async || server.done(&check).await.status.code() == Some(76)).await;
    let dead = server.done(&[check.as_slice(), &["-o", "json"]].concat()).await;
    let json: Value = serde_json::from_slice(&dead.stdout).expect("it prints JSON all the same");
    assert_eq!((dead.status.code(), &json["token"]["live"]), (Some(76), &false.into()));
    assert!(said(&dead).contains("LOST"), "{}", said(&dead));
}
