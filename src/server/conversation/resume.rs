//! RESUME: a connection goes on with a session.
//!
//! Whoever cannot is told the same bytes, whatever the reason, and secrets are compared in constant time. The newest
//! connection wins: the session counts its attachments, and a conversation whose attachment is not the last one executes
//! nothing and says nothing for the session any more.

use super::Conversation;
use super::turn::Next;
use crate::{
    engine::{Instant, Mistake, session::Register},
    server::peer::{Misbehaved, Phase},
    table::SessionCell,
};
use enq_protocol::{
    vocabulary::Status,
    wire::{Resume, Resumed, Seen},
};
use std::sync::{Arc, atomic::Ordering};

impl Conversation {
    /// Goes on with a session, which this connection has from then on, and says so as soon as nothing is under way that was
    /// asked on another one. The caller holds no in-half.
    pub(super) fn resume(&mut self, tag: u32, asked: &Resume, now: Instant) -> Result<Next, Misbehaved> {
        let refused = || Misbehaved::told(Status::Session);
        let cell = self.house.resumable(now, asked, self.address.ip().to_canonical()).ok_or_else(refused)?;
        let mut register = cell.in_half.lock();
        // It may have ended since it was found.
        let ended = register.ended();
        if register.is_dead() {
            return Err(refused());
        }
        let answered = match cell.attach(&mut register, asked.received, self.address.to_string()) {
            Ok(answered) => answered,
            Err(status) => {
                let misbehaved = Misbehaved::told(status);
                self.judge(now, &cell, &mut register, &misbehaved);
                return Err(misbehaved);
            }
        };
        let metrics = &self.house.metrics;
        metrics.resumed.fetch_add(1, Ordering::Relaxed);
        metrics.sent_again.fetch_add(register.to_send_again(), Ordering::Relaxed);
        cell.renew(now);
        self.resuming = Some((tag, answered));
        self.say_resumed(&cell, &register);
        if ended.is_some() {
            self.part_again(&cell, &mut register);
            return Ok(Next::Frame);
        }
        tracing::info!(session = %cell.id, name = cell.about.name, address = %self.address, "session resumed");
        self.attachment = register.attachment();
        self.awaits_executed = register.under_way();
        drop(register);
        self.session = Some(cell);
        self.phase = Phase::Attached;
        Ok(Next::Session)
    }

    /// Says that the session goes on here. What is under way then would be executed, acknowledged and answered after that,
    /// before the client has said it again on this connection.
    pub(super) fn say_resumed(&mut self, cell: &SessionCell, register: &Register) {
        if register.under_way().is_some() {
            return;
        }
        let Some((tag, answered)) = self.resuming.take() else { return };
        let resumed = Resumed { executed: register.last(), ttl_ms: cell.about.ttl_ms };
        self.told = answered;
        self.answer_look(tag, &Seen::Resumed(resumed), answered);
        if register.ended().is_some() {
            self.parted_through = register.last();
        }
    }

    /// The session was closed in order: its last answers are said again, and the connection has no session.
    fn part_again(&mut self, cell: &Arc<SessionCell>, register: &mut Register) {
        self.encode_from(cell, register);
        if register.unacknowledged() == 0 {
            self.house.log.table().forget_closed(cell.id);
        }
        self.told = 0;
        self.phase = Phase::Parted;
    }

    /// Has another connection gone on with the session?
    pub(super) fn is_superseded(&self, register: &Register) -> bool {
        let planted = self.house.log.table().bounds().planted;
        register.attachment() != self.attachment && !planted.is(Mistake::SupersededGoesOn)
    }
}
