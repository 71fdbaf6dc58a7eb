//! `enq session`: who is there, what they have, and how to end one.

use enq_protocol::vocabulary::{LockFilter, SessionId};
use serde_json::json;

use super::{
    args::{Format, Reach, SessionAct},
    ask,
    exit::Failure,
    kept, ls, render, words,
};

/// Does it.
pub(super) async fn session(reach: &Reach, act: &SessionAct) -> Result<(), Failure> {
    match act {
        SessionAct::Ls(output) => {
            let client = ask::client(reach).await?;
            let items: Vec<_> =
                ask::sessions(reach, &client).await?.iter().map(words::session_item).collect();
            render::list(output.format, "sessions", &words::SESSION_COLUMNS, &items)
        }
        SessionAct::Open(open) => kept::open(reach, open),
        SessionAct::Close => kept::close().await,
        SessionAct::Show { id: Some(id), output } => show(reach, *id, output.format).await,
        SessionAct::Show { id: None, output } => {
            let (reach, id) = kept::own(reach).await?;
            show(&reach, id, output.format).await
        }
        SessionAct::Expire { id, reason } => {
            let client = ask::client(reach).await?;
            let expired = ask::within(reach, client.expire_session(*id, reason.as_str())).await;
            expired.map_err(|failure| failure.about(format!("session {id}")))
        }
    }
}

/// The session, then its locks in all lockspaces.
async fn show(reach: &Reach, id: SessionId, format: Format) -> Result<(), Failure> {
    let client = ask::client(reach).await?;
    let session = ask::within(reach, client.show_session(id)).await;
    let session = session.map_err(|failure| failure.about(format!("session {id}")))?;
    let locks = ls::all(reach, &client, LockFilter { session: Some(id), ..LockFilter::default() }).await?;
    let sessions = std::slice::from_ref(&session);
    if format == Format::Json {
        let locks: Vec<_> = locks.iter().map(|lock| words::lock_json(lock, sessions)).collect();
        return render::object(
            "session",
            &json!({ "session": words::session_json(&session), "locks": locks }),
        );
    }
    let items: Vec<_> = locks.iter().map(|lock| words::lock_item(lock, sessions, format)).collect();
    if format != Format::Name {
        render::list(Format::Wide, "sessions", &words::SESSION_COLUMNS, &[words::session_item(&session)])?;
        render::print("\n")?;
    }
    render::list(format, "locks", &words::LOCK_COLUMNS, &items)
}
