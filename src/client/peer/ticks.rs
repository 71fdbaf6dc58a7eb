//! What a peer says because time has passed, and when that is.

use super::{Line, Peer, Stream, Told};
use crate::client::Moment;
use enq_protocol::wire::{self, Look};

impl<L: Clone> Peer<L> {
    /// What has to be said because time has passed: a renewal, an acknowledgement, releases of what is adrift; and who holds
    /// nothing any more.
    pub fn tick(&mut self, now: Moment, told: &mut Vec<Told<L>>) {
        if self.lost.is_some() {
            return;
        }
        self.lapse(now, told);
        if self.renew_at().is_some_and(|at| at <= now) {
            self.renewing = self.say(&Look::Renew, None).is_ok();
        }
        let stream = self.session.as_mut().filter(|_| self.line == Line::Up);
        if let Some(stream) = stream.filter(|stream| stream.must_acknowledge(now)) {
            let ack = stream.acknowledgement();
            let sent = wire::acknowledge(wire::Kind::ACK, ack, &mut self.aside);
            debug_assert!(sent.is_ok(), "an acknowledgement fits into a frame");
        }
        if self.adrift_at().is_some_and(|at| at <= now)
            && let Some(stream) = &mut self.session
        {
            self.adrift_since = Some(now);
            stream.release_adrift();
        }
    }

    /// When [`Peer::tick`] has something to say.
    #[must_use]
    pub fn next_tick(&self) -> Option<Moment> {
        let stream = self.session.as_ref().filter(|_| self.line == Line::Up);
        let acknowledge_at = stream.and_then(Stream::acknowledge_at);
        [self.renew_at(), acknowledge_at, self.adrift_at()].into_iter().flatten().min()
    }

    fn renew_at(&self) -> Option<Moment> {
        let lease = self.lease().filter(|_| self.line == Line::Up && !self.renewing);
        lease.map(|lease| self.spoke.plus(lease.renew_after()))
    }

    /// When what is adrift is released again, as often as a silent session renews its lease. Nothing is asked behind CLOSE.
    fn adrift_at(&self) -> Option<Moment> {
        let lease = self.lease().filter(|_| self.line == Line::Up)?;
        Some(self.adrift_since?.plus(lease.renew_after()))
    }

    /// Is there something adrift by now?
    pub(super) fn note_adrift(&mut self, now: Moment) {
        let is_adrift = self.session.as_ref().is_some_and(Stream::is_adrift);
        self.adrift_since = self.adrift_since.or(Some(now)).filter(|_| is_adrift);
    }
}
