//! `enq ping`: does each server answer, and how fast?

use serde_json::json;

use super::{
    args::{Format, Reach},
    ask,
    exit::Failure,
    render::{self, Column, Item},
};
use crate::client;

/// Asks each of them; it fails as soon as one does not answer, after all have been asked.
pub(super) async fn ping(reach: &Reach, format: Format) -> Result<(), Failure> {
    let mut items = Vec::new();
    let mut failed = None;
    for server in &reach.servers {
        let alone = Reach { servers: vec![server.clone()], ..reach.clone() };
        let began = client::now();
        let answered = async {
            let client = ask::client(&alone).await?;
            ask::within(&alone, client.ping()).await
        };
        let answer = answered.await;
        let took = client::now().since(began).as_secs_f64() * 1_000.0;
        let (word, cause) = match &answer {
            Ok(()) => ("answers", String::new()),
            Err(failure) => ("fails", format!("{}: {}", failure.code, failure.cause)),
        };
        let json = json!({ "server": server, "answers": answer.is_ok(), "ms": took, "cause": cause });
        items.push(Item {
            name: server.clone(),
            json,
            cells: vec![server.clone(), word.into(), format!("{took:.1} ms"), cause],
        });
        failed = failed.or(answer.err());
    }
    let columns =
        [Column("SERVER", false), Column("STATE", false), Column("AFTER", false), Column("CAUSE", false)];
    render::list(format, "servers", &columns, &items)?;
    failed.map_or(Ok(()), Err)
}
