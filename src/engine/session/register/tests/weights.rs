//! What is counted for the memory budget and against what is unsent: weights and bytes, in proportion.

use super::*;
use crate::engine::session::{Entry, handles::Handles};
use enq_protocol::vocabulary::{
    LockspaceId, LockspaceView, PathLevel, Policy, ResourceName, SessionId, ValueBlock,
};

/// A grant that brings a value block of this length.
fn valued(len: usize) -> Grant {
    let bytes = vec![0; len].into_boxed_slice();
    Grant { value: Some(Box::new(ValueBlock { bytes, seq: 1, valid: true })), ..grant(1) }
}

fn revoked(reason_len: usize) -> Said {
    let reason = "x".repeat(reason_len).into();
    Said::Revoked { handle: handle(1), by: SessionId(1), reason }
}

#[test]
fn an_output_weighs_about_what_it_takes_to_say() {
    let weight = |told| Entry { number: 1, place: SOMEWHERE, request_len: 0, told }.weight();
    let said = |said| weight(Told::Event(said));
    let plain = said(Said::Demoted { handle: handle(1) });
    assert!((24..=256).contains(&plain), "a header and something more: {plain}");
    assert_eq!(said(Said::Granted(grant(1))), plain);
    let with_value = said(Said::Granted(valued(100)));
    assert!((plain + 100..plain + 200).contains(&with_value), "{with_value}");
    assert_eq!(said(Said::GrantedLater(valued(1_000))), with_value + 900);
    assert_eq!(said(revoked(300)), plain + 300);
    let path = |count, leaf| {
        let level = PathLevel { handle: handle(1), lock: LockId(1), mode: LockMode::Ex, made: true };
        said(Said::PathGranted { leaf, levels: vec![level; count].into() })
    };
    let level = path(1, grant(1)) - path(0, grant(1));
    assert!((4..=64).contains(&level), "{level}");
    assert_eq!(path(30, valued(100)), with_value + 30 * level);
    let space = LockspaceView {
        lockspace: LockspaceId(1),
        name: ResourceName::new(&[b'n'; 50]).unwrap(),
        version: 1,
        policy: Policy::default(),
        locks: 0,
        resources: 0,
    };
    let told = Told::Space { request: 1, space: Box::new(space), changed: true };
    assert_eq!(weight(told), 2 * plain + 50);
}

#[test]
fn handles_take_room_by_pages() {
    let mut handles = Handles::default();
    assert_eq!(handles.bytes(), 0);
    handles.start_path(handle(1), 0);
    let page = handles.bytes();
    assert!((64 * 8..1_024).contains(&page), "{page}");
    handles.start_path(handle(2), 0);
    handles.start_path(handle(63), 0);
    assert_eq!(handles.bytes(), page, "the same page");
    handles.start_path(handle(6_400), 0);
    let two_pages = 2 * page - 128..2 * page;
    let places = 100 * size_of::<usize>();
    let bytes = handles.bytes();
    assert!((two_pages.start + places..two_pages.end + 4 * places).contains(&bytes), "{bytes}");
    handles.end(handle(6_400));
    assert_eq!(handles.bytes(), bytes - 64 * size_of::<u64>(), "an empty page is given back");
    [1, 2, 63].into_iter().for_each(|number| handles.end(handle(number)));
    assert_eq!(handles.bytes(), bytes - 64 * size_of::<u64>(), "but for the first");
}

#[test]
fn what_is_said_and_kept_takes_room_until_it_is_acknowledged() {
    let (mut register, mut outgoing) = (Register::new(BOUNDS), Outgoing::default());
    (0..200).for_each(|_| outgoing.append_event(SOMEWHERE, revoked(1_000)));
    let weight = outgoing.unsent_weight();
    let room = |queues: usize| {
        let of_one = 200 * size_of::<Entry>();
        queues * of_one + weight..=2 * queues * of_one + weight
    };
    assert!(room(1).contains(&outgoing.bytes()));
    register.take_over(&mut outgoing);
    assert_eq!(outgoing.bytes(), 0);
    assert!(room(1).contains(&register.bytes()), "not sent");
    register.send(|_, _| true);
    assert!(room(2).contains(&register.bytes()), "sent and kept");
    assert_eq!(register.unacknowledged_weight(), weight);
    register.acknowledge(100).unwrap();
    assert_eq!((register.sent(), register.unacknowledged_weight()), (200, weight / 2));
    register.acknowledge(200).unwrap();
    assert_eq!(register.unacknowledged_weight(), 0);
}

#[test]
fn completions_that_are_to_come_have_their_room_set_aside() {
    let (mut register, mut outgoing) = (Register::new(BOUNDS), Outgoing::default());
    for number in 1..=100 {
        let said = Said::Queued { handle: handle(number), lock: LockId::new(0, number, 1) };
        outgoing.append_answer(SOMEWHERE, 1, Told::Answer { request: u64::from(number), said });
    }
    register.take_over(&mut outgoing);
    assert_eq!(outgoing.bytes(), 100 * size_of::<Entry>());
    for number in 1..=100 {
        let said = Said::Ended { handle: handle(number), status: Status::Timeout, holds: None, record: 0 };
        outgoing.append_foreign(SOMEWHERE, said);
    }
    assert_eq!((outgoing.waiting(), outgoing.ended_len()), (0, 100));
    let before = outgoing.bytes();
    assert_eq!(outgoing.take_ended().len(), 100);
    let ended = before - outgoing.bytes();
    assert!((100 * size_of::<Handle>()..=200 * size_of::<Handle>()).contains(&ended), "{ended}");
}

#[test]
fn notices_are_heard_until_there_is_a_quarter_of_a_megabyte_to_say() {
    let notice = || Said::Blocking { handle: handle(1), seq: Seq(1), mode: LockMode::Ex };
    for taken_over in [false, true] {
        let (mut register, mut outgoing) = (Register::new(BOUNDS), Outgoing::default());
        outgoing.set_heard(true);
        (0..200).for_each(|_| outgoing.append_event(SOMEWHERE, revoked(1_000)));
        if taken_over {
            register.take_over(&mut outgoing);
        }
        register.take_over(&mut Outgoing::default());
        outgoing.append_event(SOMEWHERE, notice());
        assert!(outgoing.is_heard() && outgoing.has_unsent());
        (0..100).for_each(|_| outgoing.append_event(SOMEWHERE, revoked(1_000)));
        outgoing.append_event(SOMEWHERE, notice());
        assert_eq!(outgoing.is_heard(), taken_over, "either half counts by itself");
        register.take_over(&mut outgoing);
        register.take_over(&mut outgoing);
        assert!(!outgoing.is_heard());
        let mut notices = 0;
        register.send(|entry, _| {
            notices += u32::from(entry.number == 0);
            true
        });
        assert_eq!(notices, if taken_over { 2 } else { 0 });
    }
}
