//! `enq ping`: does each server answer, how fast, and does it keep a journal?

use serde_json::json;

use super::{
    args::{Format, Reach},
    ask,
    exit::Failure,
    render::{self, Column, Item},
};
use crate::client::{self, Client};

/// Asks each of them; it fails as soon as one does not answer, after all have been asked.
pub(super) async fn ping(reach: &Reach, format: Format) -> Result<(), Failure> {
    let mut items = Vec::new();
    let mut failed = None;
    for server in &reach.servers {
        let alone = Reach { servers: vec![server.clone()], ..reach.clone() };
        let began = client::now();
        let answered = async {
            let client = ask::client(&alone).await?;
            ask::within(&alone, client.ping()).await?;
            Ok::<_, Failure>(client)
        };
        let answer = answered.await;
        let took = client::now().since(began).as_secs_f64() * 1_000.0;
        let log = match &answer {
            Ok(client) => log_of(&alone, client).await,
            Err(_) => None,
        };
        let answer = answer.map(|_: Client| ());
        let (word, cause) = match &answer {
            Ok(()) => ("answers", String::new()),
            Err(failure) => ("fails", format!("{}: {}", failure.code, failure.cause)),
        };
        let json =
            json!({ "server": server, "answers": answer.is_ok(), "ms": took, "log": log, "cause": cause });
        items.push(Item {
            name: server.clone(),
            json,
            cells: vec![
                server.clone(),
                word.into(),
                format!("{took:.1} ms"),
                log.unwrap_or("-").into(),
                cause,
            ],
        });
        failed = failed.or(answer.err());
    }
    let columns = [
        Column("SERVER", false),
        Column("STATE", false),
        Column("AFTER", false),
        Column("LOG", false),
        Column("CAUSE", false),
    ];
    render::list(format, "servers", &columns, &items)?;
    failed.map_or(Ok(()), Err)
}

/// What becomes of its locks when it ends, and whether its disk has room; none if it does not say.
async fn log_of(reach: &Reach, client: &Client) -> Option<&'static str> {
    let (_, counters) = ask::within(reach, client.counters()).await.ok()?;
    let value =
        |name: &str| counters.iter().find(|counter| counter.name == name).map(|counter| counter.value);
    match (value("enq_journaled")?, value("enq_journal_room_short")) {
        (0, _) => Some("volatile"),
        (_, Some(1)) => Some("journal, its disk is full"),
        (_, _) => Some("journal"),
    }
}
