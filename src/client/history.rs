//! What the server's flight recorder has kept of a resource or a session.
//!
//! The recorder is bounded: what is older than it is long is overwritten, and each answer says from when on it is complete.

use super::{Client, LookError};
use enq_protocol::{
    vocabulary::{HistoryCursor, HistoryOf, HistoryPart, Status},
    wire::{Look, Seen},
};

/// How many entries are asked for at once.
const ENTRIES_A_PART: u32 = 500;

impl Client {
    /// What happened to a resource, or to the locks of a session, the newest first: at most so many entries.
    ///
    /// # Errors
    /// [`LookError`], with UNSUPPORTED if the server records nothing.
    pub async fn history(&self, of: &HistoryOf, max: usize) -> Result<HistoryPart, LookError> {
        let mut all = HistoryPart::default();
        let mut before = None;
        loop {
            let left = u32::try_from(max.saturating_sub(all.entries.len())).unwrap_or(u32::MAX);
            let part = self.history_before(of, before, left.clamp(1, ENTRIES_A_PART)).await?;
            let is_empty = part.entries.is_empty();
            before = part.next;
            // Of several answers the last one knows best what was overwritten meanwhile.
            all = HistoryPart { entries: all.entries, sessions: all.sessions, ..part.clone() };
            all.entries.extend(part.entries);
            for session in part.sessions {
                if all.sessions.iter().all(|known| known.session != session.session) {
                    all.sessions.push(session);
                }
            }
            if before.is_none() || is_empty || all.entries.len() >= max {
                return Ok(all);
            }
        }
    }

    /// A part of a history: the entries before the cursor, which is the `next` of the part before; at most 500.
    ///
    /// # Errors
    /// As [`Client::history`].
    pub async fn history_before(
        &self,
        of: &HistoryOf,
        before: Option<HistoryCursor>,
        max: u32,
    ) -> Result<HistoryPart, LookError> {
        match self.see(Look::History { of: of.clone(), before, max }).await? {
            Seen::History(part) => Ok(part),
            _ => Err(LookError::Refused(Status::Protocol)),
        }
    }
}
