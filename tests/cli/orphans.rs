//! `enq orphans`: what is listed, what a purge needs and says.

use enq::client::Session;
use serde_json::Value;

use crate::stage::{Server, end_of};

#[tokio::test]
async fn orphans_are_listed_and_purged() {
    let server = Server::start().await;
    let opening = Session::builder("lost").orphan_key("billing").bind_connection(true);
    let session = opening.connect(&[server.address.as_str()]).await.expect("it connects");
    let one = session.lock("db").persistent().reason("why").await.expect("it is free");
    let two = session.lock("files").persistent().await.expect("it is free");
    session.close().await.expect("it is closed");
    drop((one, two));

    let listed = server.json(&["orphans", "ls", "-o", "json"]).await;
    let names: Vec<_> =
        listed["locks"].as_array().expect("a list").iter().map(|lock| &lock["resource"]).collect();
    assert_eq!(names, ["db", "files"]);
    assert!(!listed.to_string().contains("billing"), "the orphan key is shown to nobody");
    let listed = server.done(&["orphans", "ls", "d", "-o", "name"]).await;
    assert_eq!(String::from_utf8_lossy(&listed.stdout).lines().count(), 1);

    let purged = server.done(&["orphans", "purge", "--key", "sales"]).await;
    assert_eq!((purged.status.code(), &*purged.stdout), (Some(0), &b"0 orphans released\n"[..]));
    let purged = server.done(&["orphans", "purge", "--key", "billing", "db"]).await;
    assert_eq!(&*purged.stdout, b"1 orphan released\n");
    let mut command = server.enq(&["orphans", "purge", "-o", "json"]);
    command.env("ENQ_ORPHAN_KEY", "billing");
    let purged = end_of(command).await;
    let purged: Value = serde_json::from_slice(&purged.stdout).expect("it prints JSON");
    assert_eq!(purged["purged"]["released"], 1);
    let missing = server.done(&["orphans", "purge"]).await;
    assert_eq!(missing.status.code(), Some(64), "the orphan key is missing");
    let missing = server.done(&["orphans", "purge", "--key", "billing", "--space", "nowhere"]).await;
    assert_eq!(missing.status.code(), Some(64), "the lockspace is missing");
}
