//! Any frame of one side, by its kind.

use super::super::{
    Answer, DecodeError, Event, Family, Fatal, Fault, Header, Hello, Kind, Look, Outcome, Request, Seen,
    Welcome,
};
use super::connection::acknowledgement;
use crate::vocabulary::Place;
use alloc::boxed::Box;

/// What a client says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromClient<'a> {
    /// The first frame.
    Hello(Hello),
    /// Nothing but the header's acknowledgement.
    Ack,
    /// A look: refused by its tag if it could not be read.
    Look {
        /// What the answer echoes.
        tag: u32,
        /// What is asked.
        look: Result<Box<Look>, DecodeError>,
    },
    /// A numbered request; [`Request::Refused`] if it could not be read.
    Request(Request<'a>),
}

/// What a server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromServer {
    /// The answer to HELLO.
    Welcome(Welcome),
    /// Nothing but the header's acknowledgement.
    Acked,
    /// The answer to a look.
    Seen {
        /// The tag of the look.
        tag: u32,
        /// What was seen.
        seen: Seen,
    },
    /// The answer to a numbered request.
    Answer(Answer),
    /// Something unasked.
    Event {
        /// Where it belongs in the order of its shard.
        place: Place,
        /// What.
        event: Event,
    },
    /// The last frame: why the connection ends.
    Fatal(Fatal),
    /// A kind of a later version: its number, if it has one, is acknowledged like any other, and that is all.
    Unknown(Kind),
}

impl<'a> FromClient<'a> {
    /// Reads any frame of a client. What could be refused by its number or tag is no error here.
    ///
    /// # Errors
    /// What ends the connection; [`DecodeError::status`] is what the ERROR frame says.
    #[inline]
    pub fn decode(header: &Header, body: &'a [u8]) -> Result<FromClient<'a>, DecodeError> {
        let message = header.kind;
        let fail = |fault| Err(DecodeError { message, field: "kind", offset: 4, fault });
        if !message.is_from_client() {
            return fail(Fault::WrongSide);
        }
        match message.family() {
            Family::Request => match Request::decode(header, body) {
                Ok(request) => Ok(FromClient::Request(request)),
                Err(error) if error.outcome() == Outcome::Refuse => {
                    Ok(FromClient::Request(Request::Refused(error.status())))
                }
                Err(error) => Err(error),
            },
            Family::Look => match Look::decode(header, body) {
                Ok((tag, look)) => Ok(FromClient::Look { tag, look: Ok(Box::new(look)) }),
                Err(error) => match body.first_chunk() {
                    Some(tag) => Ok(FromClient::Look { tag: u32::from_le_bytes(*tag), look: Err(error) }),
                    None => Err(error),
                },
            },
            _ => match message {
                Kind::HELLO => Hello::decode(header, body).map(FromClient::Hello),
                Kind::ACK => acknowledgement(header, body).map(|()| FromClient::Ack),
                _ => fail(Fault::UnknownKind),
            },
        }
    }
}

impl FromServer {
    /// Reads any frame of a server.
    ///
    /// # Errors
    /// The first field that is wrong. The client closes the connection.
    pub fn decode(header: &Header, body: &[u8]) -> Result<FromServer, DecodeError> {
        let message = header.kind;
        if message.is_from_client() {
            return Err(DecodeError { message, field: "kind", offset: 4, fault: Fault::WrongSide });
        }
        if !message.row().is_some_and(|row| row.spoken) {
            return Ok(FromServer::Unknown(message));
        }
        match message.family() {
            Family::Seen => Seen::decode(header, body).map(|(tag, seen)| FromServer::Seen { tag, seen }),
            Family::Answer => Answer::decode(header, body).map(FromServer::Answer),
            Family::Event => {
                Event::decode(header, body).map(|(place, event)| FromServer::Event { place, event })
            }
            _ => match message {
                Kind::WELCOME => Welcome::decode(header, body).map(FromServer::Welcome),
                Kind::ACKED => acknowledgement(header, body).map(|()| FromServer::Acked),
                Kind::ERROR => Fatal::decode(header, body).map(FromServer::Fatal),
                _ => Ok(FromServer::Unknown(message)),
            },
        }
    }
}
