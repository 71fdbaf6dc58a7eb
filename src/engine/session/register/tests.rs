//! The register by itself: numbers, handles, quotas, acknowledgements.

use super::super::{Outgoing, Told};
use super::*;
use enq_protocol::vocabulary::{Fence, Grant, LockId, LockMode, Place, Seq};

mod image;
mod weights;

const BOUNDS: Bounds =
    Bounds { locks: 100, waiting: 2, window_requests: 3, window_bytes: 1_000, planted: Planted::NONE };
const SOMEWHERE: Place = Place(7);

fn handle(number: u32) -> Handle {
    Handle::new(number).unwrap()
}

fn grant(number: u32) -> Grant {
    Grant {
        handle: handle(number),
        lock: LockId::new(3, number, 1),
        mode: LockMode::Ex,
        seq: Seq(1),
        fence: Fence(1),
        synchronous: false,
        alternate: false,
        demoted: false,
        stored: false,
        value: None,
    }
}

fn refused(status: Status) -> Said {
    Said::Refused { status, blocker: None, waiting: 0 }
}

/// Answers `count` requests of `len` bytes and sends the answers.
fn answer(register: &mut Register, outgoing: &mut Outgoing, count: u64, len: u32) {
    for _ in 0..count {
        let request = register.last() + 1;
        assert_eq!(register.admit(request, 0, len), Ok(Numbered::Next));
        register.begin(request, 0, len);
        register.fly(len);
        outgoing.append_answer(SOMEWHERE, len, Told::Answer { request, said: Said::Done(Status::Done) });
    }
    register.take_over(outgoing);
    register.send(|_, _| true);
}

#[test]
fn a_number_is_executed_once_and_a_gap_is_an_error() {
    let mut register = Register::new(BOUNDS);
    assert_eq!(register.admit(2, 9, 0), Err(Status::Misordered));
    assert_eq!(register.admit(1, 9, 0), Ok(Numbered::Next));
    assert_eq!(register.admit(1, 9, 0), Ok(Numbered::Again));
    assert_eq!(register.admit(1, 8, 0), Err(Status::FalseRetry));
    assert_eq!(register.admit(2, 8, 0), Ok(Numbered::Next));
    assert_eq!(register.admit(1, 7, 0), Ok(Numbered::Again), "only the last one is compared");
    assert_eq!(register.admit(u64::MAX, 7, 0), Err(Status::Misordered));
}

/// What is let in and not executed is in flight like what is executed and not acknowledged.
#[test]
fn what_is_under_way_takes_room_in_the_window() {
    let mut register = Register::new(BOUNDS);
    assert_eq!(register.admit(1, 5, 10), Ok(Numbered::Next));
    assert_eq!(register.admit(2, 6, 20), Ok(Numbered::Next));
    assert_eq!((register.admitted(), register.last(), register.under_way()), (2, 0, Some(2)));
    assert!(
        register.has_room(BOUNDS.window_requests - 2, 0) && !register.has_room(BOUNDS.window_requests - 1, 0)
    );
    let bytes = usize::try_from(BOUNDS.window_bytes).unwrap();
    assert!(register.has_room(0, bytes - 30) && !register.has_room(0, bytes - 29));
    assert_eq!(register.admit(2, 6, 20), Ok(Numbered::Again), "it is on its way");
    register.begin(1, 5, 10);
    assert!(register.has_room(BOUNDS.window_requests - 1, bytes - 20) && register.under_way() == Some(2));
    register.begin(2, 6, 20);
    assert!(register.has_room(BOUNDS.window_requests, bytes) && register.under_way().is_none());
}

/// After a restart nothing is under way: what the log has is executed, and numbers go on behind it.
#[test]
fn what_a_log_has_is_executed_without_having_been_let_in() {
    let mut register = Register::new(BOUNDS);
    register.begin(1, 5, 10);
    register.begin(2, 6, 10);
    assert_eq!(register.admit(2, 7, 10), Err(Status::FalseRetry));
    assert_eq!(register.admit(2, 6, 10), Ok(Numbered::Again));
    assert_eq!(register.admit(4, 6, 10), Err(Status::Misordered));
    assert_eq!(register.admit(3, 6, 10), Ok(Numbered::Next));
}

#[test]
fn an_acknowledgement_gives_the_window_back() {
    let (mut register, mut outgoing) = (Register::new(BOUNDS), Outgoing::default());
    answer(&mut register, &mut outgoing, 3, 100);
    assert!(!register.has_room(1, 0));
    assert_eq!(register.acknowledge(4), Err(Status::AckRange), "4 was never sent");
    assert_eq!(register.acknowledge(2), Ok(()));
    assert!(register.has_room(2, 900) && !register.has_room(3, 900) && !register.has_room(1, 901));
    assert_eq!(register.acknowledge(1), Ok(()), "an older word is ignored");
    assert!(!register.has_room(3, 0));
    assert_eq!(register.acknowledge(3), Ok(()));
    assert!(register.has_room(3, 1_000));
}

#[test]
fn an_output_cannot_be_acknowledged_before_it_is_sent() {
    let (mut register, mut outgoing) = (Register::new(BOUNDS), Outgoing::default());
    outgoing.append_event(SOMEWHERE, Said::Demoted { handle: handle(1) });
    outgoing.append_event(SOMEWHERE, Said::Demoted { handle: handle(2) });
    register.take_over(&mut outgoing);
    assert_eq!(register.acknowledge(1), Err(Status::AckRange));
    register.send(|_, _| false);
    assert_eq!(register.acknowledge(1), Ok(()));
    assert_eq!(register.acknowledge(2), Err(Status::AckRange));
}

#[test]
fn handles_are_bounded_unique_and_come_back() {
    let mut register = Register::new(BOUNDS);
    assert_eq!(register.may_start(&[handle(101)]), Err(Status::BadParam));
    assert_eq!(register.may_start(&[handle(5), handle(5)]), Err(Status::BadParam));
    assert_eq!(register.meaning(handle(5)), None);
    register.note(Started::Lock(handle(5)), &Said::Granted(grant(5)));
    assert_eq!(register.may_start(&[handle(5)]), Err(Status::BadParam));
    assert_eq!(register.meaning(handle(5)), Some((3, LockRef::Id(LockId::new(3, 5, 1)))));
    register.note(Started::Nothing, &Said::Released { handle: handle(5), frees: true });
    assert_eq!((register.may_start(&[handle(5)]), register.locks()), (Ok(()), 0));
    register.note(Started::Lock(handle(5)), &refused(Status::NotQueued));
    assert_eq!(register.meaning(handle(5)), None, "a refused request made no lock");
}

#[test]
fn a_path_frees_the_handles_that_it_did_not_need() {
    let mut register = Register::new(BOUNDS);
    let path = [handle(1), handle(2)];
    register.start_path(&path, 9);
    assert_eq!(register.meaning(handle(1)), Some((9, LockRef::Handle(handle(1)))));
    register.note(Started::Path(&path), &Said::Gone { handle: handle(1) });
    assert_eq!(register.locks(), 1);
    let path = [handle(3), handle(4)];
    register.start_path(&path, 9);
    register.note(Started::Path(&path), &refused(Status::NotQueued));
    assert_eq!(register.locks(), 1);
}

#[test]
fn the_quota_counts_what_is_in_use() {
    let mut register = Register::new(Bounds { locks: 3, ..BOUNDS });
    register.start_path(&[handle(1), handle(2)], 0);
    assert_eq!(register.may_start(&[handle(3)]), Ok(()));
    register.start_path(&[handle(3)], 0);
    // Q1: every handle is in use, so another lock is one too many, whatever its handle.
    assert_eq!(register.may_start(&[handle(2)]), Err(Status::Quota));
    assert_eq!(register.may_start(&[handle(4)]), Err(Status::Quota));
    register.free(&[handle(2)]);
    assert_eq!(register.may_start(&[handle(2)]), Ok(()));
    let mut few = Register::new(Bounds { locks: 2, ..BOUNDS });
    few.start_path(&[handle(1)], 0);
    assert_eq!(few.may_start(&[handle(1)]), Err(Status::BadParam));
    assert_eq!(few.may_start(&[handle(3)]), Err(Status::BadParam));
    few.start_path(&[handle(2)], 0);
    assert_eq!(few.may_start(&[]), Ok(()));
}

#[test]
fn what_others_end_is_learnt_when_asked_for() {
    let (mut register, mut outgoing) = (Register::new(BOUNDS), Outgoing::default());
    for number in [1, 2] {
        let lock = LockId::new(0, number, 1);
        let said = Said::Queued { handle: handle(number), lock };
        register.note(Started::Lock(handle(number)), &said);
        outgoing.append_answer(SOMEWHERE, 1, Told::Answer { request: u64::from(number), said });
    }
    assert!(!register.may_wait(|| outgoing.waiting()));
    let timeout = |holds| Said::Ended { handle: handle(1), status: Status::Timeout, holds, record: 0 };
    outgoing.append_foreign(SOMEWHERE, timeout(None));
    assert!(register.may_wait(|| outgoing.waiting()));
    assert_eq!(register.may_start(&[handle(1)]), Err(Status::BadParam));
    register.free(&outgoing.take_ended());
    assert_eq!(register.may_start(&[handle(1)]), Ok(()));
}

#[test]
fn notices_are_not_kept_and_dropped_when_nobody_listens() {
    let (mut register, mut outgoing) = (Register::new(BOUNDS), Outgoing::default());
    let notice = || Said::Blocking { handle: handle(1), seq: Seq(1), mode: LockMode::Ex };
    outgoing.append_foreign(SOMEWHERE, notice());
    assert!(!outgoing.has_unsent());
    outgoing.set_heard(true);
    outgoing.append_foreign(SOMEWHERE, notice());
    outgoing.append_foreign(SOMEWHERE, Said::Demoted { handle: handle(1) });
    register.take_over(&mut outgoing);
    let mut numbers = Vec::new();
    register.send(|entry, _| {
        numbers.push(entry.number);
        true
    });
    assert_eq!(numbers, [0, 1]);
    outgoing.append_foreign(SOMEWHERE, notice());
    outgoing.set_heard(false);
    assert!(!outgoing.has_unsent() && outgoing.unsent_weight() == 0);
}

#[test]
fn a_notice_that_is_said_twice_is_said_once() {
    let mut outgoing = Outgoing::default();
    outgoing.set_heard(true);
    let notice = |seq| Said::Blocking { handle: handle(1), seq: Seq(seq), mode: LockMode::Ex };
    for said in [notice(1), Said::Demoted { handle: handle(1) }, notice(1), notice(2)] {
        outgoing.append_event(SOMEWHERE, said);
    }
    let four = outgoing.unsent_weight();
    outgoing.drop_repeated_notices();
    assert_eq!(outgoing.unsent_weight(), four / 4 * 3);
    let mut left = VecDeque::new();
    outgoing.take_unsent(&mut left);
    let left: Vec<Told> = left.into_iter().map(|entry| entry.told).collect();
    let demoted = Said::Demoted { handle: handle(1) };
    assert_eq!(left, [notice(1), demoted, notice(2)].map(Told::Event));
}

#[test]
fn touched_shards_come_back_in_order() {
    let mut register = Register::new(BOUNDS);
    for shard in [255, 0, 64, 63] {
        register.touch(shard);
    }
    assert_eq!(register.touched().collect::<Vec<_>>(), [0, 63, 64, 255]);
}

#[test]
fn who_goes_on_gets_everything_after_what_he_has_received() {
    let (mut register, mut outgoing) = (Register::new(BOUNDS), Outgoing::default());
    outgoing.set_heard(true);
    answer(&mut register, &mut outgoing, 3, 100);
    outgoing.append_event(SOMEWHERE, Said::Blocking { handle: handle(1), seq: Seq(1), mode: LockMode::Ex });
    outgoing.append_event(SOMEWHERE, Said::Demoted { handle: handle(1) });
    assert_eq!(register.attach(5, &mut outgoing), Err(Status::AckRange), "5 was never sent");
    assert_eq!(register.attachment(), 0);
    assert_eq!(register.attach(1, &mut outgoing), Ok(1), "the answer to request 2 was not received");
    assert_eq!((register.attachment(), register.to_send_again()), (1, 2));
    assert!(!outgoing.is_heard(), "notices are to be derived anew");
    assert!(!register.has_room(2, 0), "what is not acknowledged is in flight");
    let mut sent = Vec::new();
    register.send(|entry, _| {
        sent.push(entry.number);
        true
    });
    assert_eq!(sent, [2, 3, 4], "the notice is not kept");
    assert_eq!(register.attach(4, &mut outgoing), Ok(3), "all answers were received");
    assert!(!register.has_to_send() && register.has_room(3, 1_000));
    assert_eq!((register.to_send_weight(), register.unacknowledged_weight()), (0, 0));
}

#[test]
fn what_an_earlier_connection_received_may_be_acknowledged_before_it_is_sent_again() {
    let (mut register, mut outgoing) = (Register::new(BOUNDS), Outgoing::default());
    answer(&mut register, &mut outgoing, 3, 100);
    assert_eq!(register.attach(0, &mut outgoing), Ok(0));
    let weight = register.to_send_weight();
    assert_eq!(register.acknowledge(2), Ok(()));
    assert_eq!((register.unacknowledged(), register.answers()), (1, 3));
    assert_eq!(register.to_send_weight() * 3, weight);
    assert!(register.has_room(2, 900) && !register.has_room(3, 0));
    assert_eq!(register.acknowledge(4), Err(Status::AckRange));
}

#[test]
fn locks_are_heard_again_a_portion_at_a_time() {
    let mut register = Register::new(BOUNDS);
    for number in [1, 2, 70, 71, 99] {
        register.note(Started::Lock(handle(number)), &Said::Granted(grant(number)));
    }
    assert!(!register.has_to_hear());
    register.hear_again();
    let mut portions = Vec::new();
    while register.has_to_hear() {
        portions.push(register.next_to_hear(2).len());
    }
    assert_eq!(portions, [2, 2, 1]);
}
