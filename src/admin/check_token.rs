//! `enq check-token`: is the grant with this seq live? For what would rather ask the server than keep a gate.
//!
//! The answer is one of a moment ago when it arrives: between it and what is done because of it the grant can end. A
//! gate at the protected resource has no such moment.

use enq_protocol::vocabulary::Seq;
use serde_json::json;

use super::{
    args::{CheckToken, Format, Reach},
    ask,
    exit::{self, Failure},
    render, words,
};

/// Asks, prints, and fails if it is not live.
pub(super) async fn check_token(reach: &Reach, check: &CheckToken) -> Result<(), Failure> {
    let path = ask::path(&check.name, check.path)?;
    let client = ask::client(reach).await?;
    let space = ask::space(reach, &client).await?;
    let is_live = ask::within(reach, client.check_token(space, &path, Seq(check.seq))).await?;
    let (name, seq) = (words::name(&path), check.seq);
    match check.output.format {
        Format::Json => {
            let token = json!({ "resource": name, "seq": seq.to_string(), "live": is_live });
            render::object("token", &token)?;
        }
        Format::Table | Format::Wide | Format::Name if is_live => render::print("live\n")?,
        Format::Table | Format::Wide | Format::Name => {}
    }
    if is_live {
        return Ok(());
    }
    let hint =
        "the lock was released, converted or lost since; what was begun under that grant is to be begun anew";
    Err(Failure::new("LOST", format!("no lock on {name} holds the grant {seq}"), hint, exit::LOST))
}
