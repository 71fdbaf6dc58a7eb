//! Frames about the connection itself: HELLO, WELCOME, acknowledgements, ERROR.

use bytes::BytesMut;

use super::super::{DecodeError, EncodeError, Fatal, Fault, Header, Hello, Kind, MAGIC, Welcome};
use super::{look::TEXT_LEN_MAX, reader::Reader, writer::Writer};
use crate::vocabulary::Status;

/// The longest credentials, in bytes.
const CREDENTIALS_LEN_MAX: usize = 2048;

/// The least bytes a text takes.
const TEXT_LEN_MIN: usize = 2;

impl Hello {
    /// Reads a HELLO.
    ///
    /// # Errors
    /// The first field that is wrong; every error ends the connection.
    pub fn decode(header: &Header, body: &[u8]) -> Result<Hello, DecodeError> {
        let mut r = Reader::new(header, body, false)?;
        let offset = r.offset();
        if r.array("magic")? != MAGIC {
            return Err(r.fail("magic", offset, Fault::BadMagic));
        }
        let hello = Hello {
            version_min: r.u16("version_min")?,
            version_max: r.u16("version_max")?,
            features: r.u64("features")?,
            method: r.u8("method")?,
            credentials: r.bytes("credentials", CREDENTIALS_LEN_MAX)?.into(),
            agent: r.text("agent", TEXT_LEN_MAX)?.into(),
        };
        r.finish(&[]).map(|_| hello)
    }

    /// Appends the HELLO as one frame.
    ///
    /// # Errors
    /// [`EncodeError`] if it does not fit into a frame.
    pub fn encode(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        let mut w = Writer::new(Kind::HELLO, 0, 0, 64, out);
        w.raw(&MAGIC);
        w.u16(self.version_min);
        w.u16(self.version_max);
        w.u64(self.features);
        w.u8(self.method);
        w.bytes(&self.credentials);
        w.text(&self.agent);
        w.finish()
    }
}

impl Welcome {
    /// Reads a WELCOME.
    ///
    /// # Errors
    /// The first field that is wrong.
    pub fn decode(header: &Header, body: &[u8]) -> Result<Welcome, DecodeError> {
        let any = usize::MAX;
        let mut r = Reader::new(header, body, false)?;
        let welcome = Welcome {
            version: r.u16("version")?,
            features: r.u64("features")?,
            frame_len_max: r.u32("frame_len_max")?,
            window_requests: r.u32("window_requests")?,
            window_bytes: r.u32("window_bytes")?,
            locks_max: r.u32("locks_max")?,
            waiting_max: r.u32("waiting_max")?,
            ttl_min_ms: r.u32("ttl_min_ms")?,
            ttl_max_ms: r.u32("ttl_max_ms")?,
            server: r.text("server", any)?.into(),
            role: r.u8("role")?,
            leader: r.text("leader", any)?.into(),
            members: r.list("members", TEXT_LEN_MIN, |r| r.text("members", any).map(Into::into))?,
            log: r.u8("log")?,
            unsafe_settings: r
                .list("unsafe_settings", TEXT_LEN_MIN, |r| r.text("unsafe_settings", any).map(Into::into))?,
        };
        r.finish(&[]).map(|_| welcome)
    }

    /// Appends the WELCOME as one frame.
    ///
    /// # Errors
    /// [`EncodeError`] if it does not fit into a frame.
    pub fn encode(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        let mut w = Writer::new(Kind::WELCOME, 0, 0, 128, out);
        w.u16(self.version);
        w.u64(self.features);
        w.u32(self.frame_len_max);
        w.u32(self.window_requests);
        w.u32(self.window_bytes);
        w.u32(self.locks_max);
        w.u32(self.waiting_max);
        w.u32(self.ttl_min_ms);
        w.u32(self.ttl_max_ms);
        w.text(&self.server);
        w.u8(self.role);
        w.text(&self.leader);
        w.list(self.members.iter(), |w, member| w.text(member));
        w.u8(self.log);
        w.list(self.unsafe_settings.iter(), |w, setting| w.text(setting));
        w.finish()
    }
}

impl Fatal {
    /// Reads an ERROR.
    ///
    /// # Errors
    /// The first field that is wrong.
    pub fn decode(header: &Header, body: &[u8]) -> Result<Fatal, DecodeError> {
        let mut r = Reader::new(header, body, false)?;
        let fatal = Fatal {
            status: Status(r.u16("status")?),
            detail: [r.u32("detail")?, r.u32("detail")?],
            text: r.text("text", usize::MAX)?.into(),
        };
        r.finish(&[]).map(|_| fatal)
    }

    /// Appends the ERROR as one frame.
    ///
    /// # Errors
    /// [`EncodeError`] if the text does not fit into a frame.
    pub fn encode(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        let [first, second] = self.detail;
        let mut w = Writer::new(Kind::ERROR, 0, 0, 64, out);
        w.u16(self.status.0);
        w.u32(first);
        w.u32(second);
        w.text(&self.text);
        w.finish()
    }
}

/// Appends a bare acknowledgement: [`Kind::ACK`] of a client, [`Kind::ACKED`] of a server.
///
/// # Errors
/// None in this version; the signature is that of its neighbours.
pub fn acknowledge(kind: Kind, ack: u64, out: &mut BytesMut) -> Result<(), EncodeError> {
    Writer::new(kind, 0, ack, 2, out).finish()
}

/// Reads a bare acknowledgement, which says nothing beside its header.
pub(super) fn acknowledgement(header: &Header, body: &[u8]) -> Result<(), DecodeError> {
    Reader::new(header, body, false)?.finish(&[]).map(|_| ())
}
