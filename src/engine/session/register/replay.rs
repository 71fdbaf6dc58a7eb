//! A register whose past is applied once more, from a log.

use super::{Bounds, Outgoing, Register};

impl Register {
    /// Another process goes on with it, under these bounds: everything that was made may have been sent, and acknowledged,
    /// before.
    pub fn go_on(&mut self, bounds: Bounds, outgoing: &mut Outgoing) {
        // Nobody is connected to it.
        outgoing.set_heard(false);
        self.bounds = bounds;
        self.sent = outgoing.last();
    }

    /// The log says that everything up to this number had arrived when the next request was let in. Where the past is applied
    /// once more that is still in the out-half, for nobody is there to take it over.
    pub fn arrived(&mut self, number: u64, outgoing: &mut Outgoing) {
        self.trim(number);
        // Notices in between have no number; who goes on with the session is told anew.
        let before = outgoing.unsent.iter().take_while(|entry| entry.number <= number);
        let arrived =
            before.enumerate().filter(|(_, entry)| entry.number > 0).last().map_or(0, |(at, _)| at + 1);
        for entry in outgoing.unsent.drain(..arrived) {
            outgoing.unsent_weight -= entry.weight();
            if entry.request().is_some() {
                self.in_flight -= 1;
                self.in_flight_bytes -= entry.request_len;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::{super::Said, Told};
    use super::*;
    use crate::engine::Planted;
    use enq_protocol::vocabulary::{Handle, LockMode, Place, Seq, Status};

    const BOUNDS: Bounds =
        Bounds { locks: 0, waiting: 9, window_requests: 1, window_bytes: 100, planted: Planted::NONE };

    #[test]
    fn what_had_arrived_is_not_kept_although_nobody_took_it_over() {
        let (mut register, mut outgoing) = (Register::new(BOUNDS), Outgoing::default());
        outgoing.set_heard(true);
        let handle = Handle::new(1).unwrap();
        for request in 1..=2 {
            register.begin(request, 0, 40);
            register.fly(40);
            outgoing.append_event(Place::NOWHERE, Said::Blocking { handle, seq: Seq(1), mode: LockMode::Ex });
            let said = Said::Done(Status::Done);
            outgoing.append_answer(Place::NOWHERE, 40, Told::Answer { request, said });
        }
        register.arrived(1, &mut outgoing);
        assert!(!register.has_room(1, 0), "one answer is still under way");
        register.go_on(BOUNDS, &mut outgoing);
        register.take_over(&mut outgoing);
        assert_eq!((register.unacknowledged(), register.to_send_again()), (1, 1));
        register.arrived(2, &mut outgoing);
        assert_eq!(register.unacknowledged(), 0);
        assert!(register.has_room(1, 60), "and the window is free again");
    }
}
