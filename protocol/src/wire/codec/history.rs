//! SHOW_HISTORY and its answer: what the flight recorder has kept.

use super::super::Fault;
use super::{
    reader::{Read, Reader},
    writer::Writer,
};
use crate::vocabulary::{
    Fence, Happened, HistoryCursor, HistoryOf, HistoryPart, HistoryView, LockId, LockspaceId, PastSession,
    Seq, SessionId, Status,
};

/// The shortest entry: without lock and session, with a path of one name of one byte.
const ENTRY_LEN_MIN: usize = 53;

/// A session without texts that has not ended.
const SESSION_LEN_MIN: usize = 28;

impl Reader<'_> {
    /// A resource or a session, and exactly one of them.
    pub(super) fn history_of(&mut self) -> Read<HistoryOf> {
        let resource = self.option("resource", |r, _| {
            Ok(HistoryOf::Resource { lockspace: LockspaceId(r.u32("lockspace")?), path: r.path()? })
        })?;
        let offset = self.offset();
        let session = self.option("session", Reader::u64)?.map(|id| HistoryOf::Session(SessionId(id)));
        match (resource, session) {
            (Some(of), None) | (None, Some(of)) => Ok(of),
            (resource, _) => {
                let number = u8::from(resource.is_some());
                Err(self.fail("session", offset, Fault::BadChoice { number }))
            }
        }
    }

    pub(super) fn history_cursor(&mut self, field: &'static str) -> Read<Option<HistoryCursor>> {
        self.option(field, |r, _| Ok(HistoryCursor { at: r.u64("at")?, entry: r.u64("entry")? }))
    }

    fn happened(&mut self) -> Read<Happened> {
        let offset = self.offset();
        let number = self.u8("happened")?;
        Happened::from_number(number)
            .ok_or_else(|| self.fail("happened", offset, Fault::BadChoice { number }))
    }

    fn history_entry(&mut self) -> Read<HistoryView> {
        Ok(HistoryView {
            age_ms: self.u64("age_ms")?,
            happened: self.happened()?,
            status: Status(self.u16("status")?),
            lock: self.option("lock", Reader::u64)?.map(LockId),
            session: self.option("session", Reader::u64)?.map(SessionId),
            lockspace: LockspaceId(self.u32("lockspace")?),
            path: self.path()?,
            is_cut: self.bool("cut")?,
            held: self.mode_or_none("held")?,
            mode: self.mode_or_none("mode")?,
            seq: Seq(self.u64("seq")?),
            fence: Fence(self.u64("fence")?),
            waited_ms: self.u32("waited_ms")?,
            detail: self.u64("detail")?,
        })
    }

    fn past_session(&mut self) -> Read<PastSession> {
        let any = usize::MAX;
        Ok(PastSession {
            session: SessionId(self.u64("session")?),
            name: self.text("name", any)?.into(),
            purpose: self.text("purpose", any)?.into(),
            host: self.text("host", any)?.into(),
            pid: self.u32("pid")?,
            age_ms: self.u64("age_ms")?,
            ended_ms: self.option("ended_ms", Reader::u64)?,
            died: self.bool("died")?,
        })
    }

    pub(super) fn history_part(&mut self) -> Read<HistoryPart> {
        Ok(HistoryPart {
            entries: self.list("entries", ENTRY_LEN_MIN, Self::history_entry)?,
            next: self.history_cursor("next")?,
            complete_ms: self.u64("complete_ms")?,
            since_start: self.bool("since_start")?,
            sessions: self.list("sessions", SESSION_LEN_MIN, Self::past_session)?,
        })
    }
}

impl Writer<'_> {
    pub(super) fn history_of(&mut self, of: &HistoryOf) {
        match of {
            HistoryOf::Resource { lockspace, path } => {
                self.bool(true);
                self.u32(lockspace.0);
                self.path(path);
                self.bool(false);
            }
            HistoryOf::Session(session) => {
                self.bool(false);
                self.bool(true);
                self.u64(session.0);
            }
        }
    }

    pub(super) fn history_cursor(&mut self, cursor: Option<HistoryCursor>) {
        self.option(cursor, |w, HistoryCursor { at, entry }| {
            w.u64(at);
            w.u64(entry);
        });
    }

    fn history_entry(&mut self, view: &HistoryView) {
        self.u64(view.age_ms);
        self.u8(view.happened as u8);
        self.u16(view.status.0);
        self.option(view.lock.map(|lock| lock.0), Writer::u64);
        self.option(view.session.map(|session| session.0), Writer::u64);
        self.u32(view.lockspace.0);
        self.path(&view.path);
        self.bool(view.is_cut);
        self.mode_or_none(view.held);
        self.mode_or_none(view.mode);
        self.u64(view.seq.0);
        self.u64(view.fence.0);
        self.u32(view.waited_ms);
        self.u64(view.detail);
    }

    fn past_session(&mut self, past: &PastSession) {
        self.u64(past.session.0);
        self.text(&past.name);
        self.text(&past.purpose);
        self.text(&past.host);
        self.u32(past.pid);
        self.u64(past.age_ms);
        self.option(past.ended_ms, Writer::u64);
        self.bool(past.died);
    }

    pub(super) fn history_part(&mut self, part: &HistoryPart) {
        self.list(part.entries.iter(), |w, view| w.history_entry(view));
        self.history_cursor(part.next);
        self.u64(part.complete_ms);
        self.bool(part.since_start);
        self.list(part.sessions.iter(), |w, past| w.past_session(past));
    }
}
