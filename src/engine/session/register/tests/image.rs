//! The register as bytes and back.

use super::super::super::super::image::{Bad, Reader, Writer};
use super::super::super::Entry;
use super::*;
use enq_protocol::vocabulary::{
    LockspaceId, LockspaceView, PathLevel, Policy, ResourceName, SessionId, ValueBlock,
};

fn image(register: &Register, outgoing: &Outgoing) -> Vec<u8> {
    let mut to = Writer::default();
    register.put_image(outgoing, &mut to);
    to.into_bytes()
}

fn taken(bytes: &[u8]) -> Result<(Register, Outgoing), Bad> {
    let mut from = Reader::new(bytes);
    let both = Register::from_image(&mut from, BOUNDS)?;
    from.end()?;
    Ok(both)
}

/// The same in another process; its bytes are the same again.
fn again(register: &Register, outgoing: &Outgoing) -> (Register, Outgoing) {
    let bytes = image(register, outgoing);
    let (register, outgoing) = taken(&bytes).unwrap();
    assert_eq!(image(&register, &outgoing), bytes);
    (register, outgoing)
}

fn sent(register: &mut Register, outgoing: &mut Outgoing) -> Vec<Entry> {
    let mut entries = Vec::new();
    register.take_over(outgoing);
    register.send(|entry, _| {
        entries.push(entry.clone());
        true
    });
    entries
}

fn blocking() -> Said {
    Said::Blocking { handle: handle(1), seq: Seq(1), mode: LockMode::Ex }
}

#[test]
fn numbers_handles_and_quotas_go_on() {
    let (mut register, mut outgoing) = (Register::new(BOUNDS), Outgoing::default());
    answer(&mut register, &mut outgoing, 2, 300);
    register.admit(3, 0xFEED, 0).unwrap();
    register.begin(3, 0xFEED, 0);
    for shard in [0, 63, 64, 200, 255] {
        register.touch(shard);
    }
    register.note(Started::Lock(handle(1)), &Said::Granted(grant(1)));
    register.note(Started::Lock(handle(90)), &Said::Granted(grant(90)));
    register.start_path(&[handle(70), handle(2)], 200);
    outgoing.append_foreign(
        SOMEWHERE,
        Said::Revoked { handle: handle(90), by: SessionId(1), reason: "so".into() },
    );
    let queued = Said::Queued { handle: handle(5), lock: LockId::new(9, 5, 4) };
    register.note(Started::Lock(handle(5)), &queued);
    outgoing.append_answer(SOMEWHERE, 100, Told::Answer { request: 3, said: queued });
    register.fly(100);

    let (mut other, mut other_outgoing) = again(&register, &outgoing);
    assert_eq!(other.last(), 3);
    assert_eq!(other.admit(3, 0xFEED, 0), Ok(Numbered::Again));
    assert_eq!(other.admit(3, 0xBEEF, 0), Err(Status::FalseRetry));
    assert_eq!(other.touched().collect::<Vec<_>>(), [0, 63, 64, 200, 255]);
    for number in 1..=100 {
        assert_eq!(other.meaning(handle(number)), register.meaning(handle(number)), "handle {number}");
    }
    assert_eq!(other.locks(), 5);
    assert_eq!(other_outgoing.take_ended(), [handle(90)]);
    assert_eq!(other_outgoing.waiting(), 1);
    // Three requests with 700 bytes are in flight.
    assert!(!other.has_room(1, 0));
    assert_eq!(other.acknowledge(1), Ok(()));
    assert!(other.has_room(1, 600) && !other.has_room(1, 601));
    assert!(other.may_wait(|| unreachable!("it is known to be one")));
    assert!(!other.has_ended());
    register.end(Ended::Closed);
    assert_eq!(again(&register, &outgoing).0.ended(), Some(Ended::Closed));
}

#[test]
fn all_that_is_not_acknowledged_is_to_be_sent_and_may_be_acknowledged() {
    let (mut register, mut outgoing) = (Register::new(BOUNDS), Outgoing::default());
    outgoing.set_heard(true);
    answer(&mut register, &mut outgoing, 3, 10);
    register.acknowledge(1).unwrap();
    outgoing.append_event(SOMEWHERE, blocking());
    outgoing.append_event(SOMEWHERE, Said::Demoted { handle: handle(1) });
    register.take_over(&mut outgoing);
    outgoing.append_event(SOMEWHERE, blocking());
    outgoing.append_event(SOMEWHERE, Said::Demoted { handle: handle(2) });
    let weight = register.kept_weight(&outgoing);
    let (mut other, mut other_outgoing) = again(&register, &outgoing);
    assert!(!other_outgoing.is_heard() && !other_outgoing.has_unsent());
    assert_eq!((other.sent(), other.unacknowledged()), (5, 4));
    assert_eq!(other.kept_weight(&other_outgoing), weight);
    assert_eq!(other.unacknowledged_weight(), weight, "notices are no state");
    assert_eq!(other.acknowledge(6), Err(Status::AckRange));
    assert_eq!(other.attach(3, &mut other_outgoing), Ok(3));
    let entries = sent(&mut other, &mut other_outgoing);
    let numbers: Vec<_> = entries.iter().map(|entry| entry.number).collect();
    assert_eq!(numbers, [4, 5]);
    outgoing.append_event(SOMEWHERE, Said::Demoted { handle: handle(3) });
    other_outgoing.append_event(SOMEWHERE, Said::Demoted { handle: handle(3) });
    assert_eq!(sent(&mut other, &mut other_outgoing)[0].number, 6, "the next number is the next");
}

/// Everything that is ever said with a number.
fn all_words() -> Vec<Told> {
    let value = ValueBlock { bytes: [1, 2, 3].into(), seq: 4, valid: false };
    let grant = Grant { value: Some(Box::new(value)), stored: true, ..grant(1) };
    let level =
        PathLevel { handle: handle(2), lock: LockId::new(255, 7, u32::MAX), mode: LockMode::Cw, made: true };
    let levels: Box<[PathLevel]> = [level, PathLevel { made: false, ..level }].into();
    let answers = [
        Said::Granted(Grant { synchronous: true, value: None, ..grant.clone() }),
        Said::PathGranted { leaf: grant.clone(), levels: levels.clone() },
        Said::Queued { handle: handle(3), lock: LockId(u64::MAX) },
        Said::Done(Status::CancelGrant),
        Said::Released { handle: handle(1), frees: true },
        refused(Status(999)),
        Said::Refused { status: Status::NotQueued, blocker: Some(LockId(1)), waiting: 7 },
        Said::Purged { released: u64::MAX, next: None },
    ];
    let events = [
        Said::GrantedLater(Grant { alternate: true, demoted: true, ..grant.clone() }),
        Said::PathGrantedLater { leaf: grant, levels },
        Said::Ended { handle: handle(1), status: Status::Deadlock, holds: Some(LockMode::Pr), record: 12 },
        Said::Demoted { handle: handle(1) },
        Said::Revoked { handle: handle(1), by: SessionId(u64::MAX), reason: "gr\u{fc}n".into() },
    ];
    let space = LockspaceView {
        lockspace: LockspaceId(3),
        name: ResourceName::new(&[0, 255]).unwrap(),
        version: 2,
        policy: Policy { fair: true, reason_required: true, ..Policy::default() },
        locks: 1 << 40,
        resources: 0,
    };
    let space = Told::Space { request: 12, space: Box::new(space), changed: true };
    let answers = answers.into_iter().zip(1..).map(|(said, request)| Told::Answer { request, said });
    answers.chain([space]).chain(events.into_iter().map(Told::Event)).collect()
}

#[test]
fn every_word_comes_back_and_no_part_of_one_does() {
    let (mut register, mut outgoing) = (Register::new(BOUNDS), Outgoing::default());
    outgoing.waiting = 5;
    for told in all_words() {
        match told {
            Told::Event(said) => outgoing.append_event(SOMEWHERE, said),
            told => {
                register.fly(3);
                outgoing.append_answer(Place::NOWHERE, 3, told);
            }
        }
    }
    let (mut other, mut other_outgoing) = again(&register, &outgoing);
    assert_eq!(sent(&mut other, &mut other_outgoing), sent(&mut register, &mut outgoing));
    let bytes = image(&register, &outgoing);
    for len in 0..bytes.len() {
        assert!(taken(&bytes[..len]).is_err(), "{len} of {} bytes", bytes.len());
    }
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1 << bit;
            if let Ok((register, outgoing)) = taken(&bytes) {
                assert_eq!(image(&register, &outgoing), bytes, "a state has one image");
            }
        }
    }
}

#[test]
fn handles_out_of_bounds_are_refused() {
    let (mut register, outgoing) = (Register::new(BOUNDS), Outgoing::default());
    register.note(Started::Lock(handle(1)), &Said::Granted(grant(1)));
    let bytes = image(&register, &outgoing);
    // Behind the two numbers of the last request and the count.
    assert_eq!(bytes[9..11], [1, 1]);
    let with = |handle: &[u8]| [&bytes[..10], handle, &bytes[11..]].concat();
    assert!(taken(&with(&[0xFF, 0xFF, 0xFF, 0x07])).is_ok(), "the last slot of a shard");
    let refused = taken(&with(&[0x80, 0x80, 0x80, 0x08])).unwrap_err().to_string();
    assert_eq!(refused, "no state image: a handle out of order, before byte 14");
}
