//! Asking a server: connecting within the time that is given, and turning what goes wrong into what is printed.

use std::{ffi::OsStr, future::Future, os::unix::ffi::OsStrExt as _};

use enq_protocol::vocabulary::{LockspaceId, ResourceName, SessionView, Status};

use super::{
    args::Reach,
    duration::{ms, show_ms},
    exit::{self, Failure},
};
use crate::client::{Client, ConnectError, LookError, Session};

/// A connection for looking and for administration.
pub(super) async fn client(reach: &Reach) -> Result<Client, Failure> {
    connected(reach, Client::connect_within(&reach.servers, reach.timeout)).await
}

/// A session for what must be asked in order, as changes of lockspaces are. It ends with its connection.
pub(super) async fn session(reach: &Reach) -> Result<Session, Failure> {
    let opening = Session::builder("enq").purpose("administration").bind_connection(true);
    connected(reach, opening.connect_within(reach.timeout).connect(&reach.servers)).await
}

/// Waits for a connection.
pub(super) async fn connected<T>(
    reach: &Reach,
    connecting: impl Future<Output = Result<T, ConnectError>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(reach.timeout, connecting).await {
        Ok(Ok(connected)) => Ok(connected),
        Ok(Err(error)) => Err(refused(&error)),
        Err(_) => Err(too_late(reach)),
    }
}

fn refused(error: &ConnectError) -> Failure {
    match error {
        ConnectError::Refused { server, status } => Failure::status(*status).about(server),
        ConnectError::PeerMisbehaved { .. } => Failure::new(
            &Status::Protocol.to_string(),
            error.to_string(),
            "is that the port of enqd?",
            exit::SOFTWARE,
        ),
        other => Failure::unreachable(other.to_string()),
    }
}

fn too_late(reach: &Reach) -> Failure {
    Failure::unreachable(format!(
        "no answer from {} within {}",
        reach.servers.join(", "),
        show_ms(ms(reach.timeout))
    ))
}

/// Waits for an answer.
pub(super) async fn within<T>(
    reach: &Reach,
    answer: impl Future<Output = Result<T, LookError>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(reach.timeout, answer).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(LookError::Refused(status))) => Err(Failure::status(status)),
        Ok(Err(LookError::Lost(cause))) => Err(Failure::unreachable(cause.to_string())),
        Ok(Err(LookError::Name(error))) => Err(Failure::usage(error.to_string(), "")),
        Ok(Err(error)) => Err(Failure::usage(error.to_string(), "")),
        Err(_) => Err(too_late(reach)),
    }
}

/// The number of the lockspace that is looked in.
pub(super) async fn space(reach: &Reach, client: &Client) -> Result<LockspaceId, Failure> {
    if reach.space == "default" {
        return Ok(LockspaceId::default());
    }
    let view = within(reach, client.show_space(&reach.space)).await;
    view.map(|view| view.lockspace).map_err(|failure| failure.about(&reach.space))
}

/// All sessions, to say whose the locks of a listing are.
pub(super) async fn sessions(reach: &Reach, client: &Client) -> Result<Vec<SessionView>, Failure> {
    within(reach, client.sessions()).await
}

/// What the user named: one root, byte for byte, or a path.
pub(super) fn path(name: &OsStr, is_path: bool) -> Result<Vec<ResourceName>, Failure> {
    let hint = "a name has 1 to 255 bytes; --path takes several with / between";
    if !is_path {
        return match ResourceName::new(name.as_bytes()) {
            Ok(name) => Ok(vec![name]),
            Err(error) => Err(Failure::usage(error.to_string(), hint)),
        };
    }
    let text = name.to_str().ok_or_else(|| Failure::usage("a path is text", "write other bytes as \\xNN"))?;
    ResourceName::path_from_printable(text).map_err(|error| Failure::usage(error.to_string(), hint))
}
