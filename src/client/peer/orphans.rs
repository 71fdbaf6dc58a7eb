//! What is asked about orphans: an adoption begins a lock like any other, a purge is answered with a number.

use super::{Peer, Ticket, stream::About};
use enq_protocol::{
    vocabulary::{Handle, Status},
    wire::{Adopt, Purge, Request},
};

impl<L: Clone> Peer<L> {
    /// Adopts an orphan; `ask` is given the handle.
    ///
    /// # Errors
    /// [`Status::Quota`] if all handles are in use, [`Status::SessionLost`] without a session.
    pub fn adopt<'a>(&mut self, to: L, ask: impl FnOnce(Handle) -> Adopt<'a>) -> Result<Ticket, Status> {
        let stream = self.stream()?;
        let ticket = stream.locks.begin(to).ok_or(Status::Quota)?;
        let asked = stream.ask(&Request::Adopt(ask(ticket.handle)), About::Ask(ticket.handle));
        asked.inspect_err(|_| stream.locks.forget(ticket.handle))?;
        Ok(ticket)
    }

    /// Releases orphans.
    ///
    /// # Errors
    /// [`Status::SessionLost`] without a session.
    pub fn purge(&mut self, purge: Purge<'_>, to: L) -> Result<(), Status> {
        self.stream()?.ask(&Request::Purge(purge), About::Other(to))
    }
}
