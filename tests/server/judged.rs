//! Requests with two faults each: the one that is said is the first in the order of sections 4 and 8 of the protocol's
//! document, form before meaning.

use crate::speaker::{Speaker, convert, deq, done, encoded, granted, refused, root, server, sublock};
use enq_protocol::vocabulary::{Flags, LockMode::Ex, Status};

const NONE: Flags = Flags::NONE;

/// These bytes with others in a place of the body.
fn with(mut bytes: Vec<u8>, at: usize, new: &[u8]) -> Vec<u8> {
    bytes[24 + at..24 + at + new.len()].copy_from_slice(new);
    bytes
}

/// Each as request 2 of a session that has handle 1.
fn twice_wrong() -> [(&'static str, Vec<u8>, Status); 7] {
    let (mode_9, unknown_bit) = ([9], (1_u32 << 30).to_le_bytes());
    let expedite = Flags::EXPEDITE.0.to_le_bytes();
    let convert = encoded(&convert(77, Ex, NONE), 2, 0);
    let deq = |flags| encoded(&deq(77, flags), 2, 0);
    let sublock = |handle| encoded(&sublock(handle, 77, "x", Ex), 2, 0);
    let root = |handle| encoded(&root(handle, "x", Ex, NONE), 2, 0);
    [
        ("an unknown handle and mode 9", with(convert, 4, &mode_9), Status::BadParam),
        ("an unknown handle and an unknown flag", with(deq(NONE), 4, &unknown_bit), Status::BadParam),
        ("an unknown handle and a flag of others", deq(Flags::NOQUEUE), Status::NoSuchLock),
        ("an unknown parent and mode 9", with(sublock(2), 12, &mode_9), Status::BadParam),
        ("a handle in use and no name", with(root(1), 31, &[0, 0]), Status::BadName),
        ("a handle in use and an unknown parent", sublock(1), Status::BadParam),
        (
            "an unknown lockspace and EXPEDITE with EX",
            with(with(root(2), 4, &[9; 4]), 13, &expedite),
            Status::NoSuchSpace,
        ),
    ]
}

#[tokio::test]
async fn of_two_faults_the_first_of_the_document_is_said() {
    let server = server().await;
    for (name, bytes, status) in twice_wrong() {
        let mut alice = Speaker::opened(&server).await;
        granted(alice.enq(1, "held", Ex, NONE).await);
        alice.write(&bytes).await;
        assert_eq!(refused(alice.answer().await), status, "{name}");
        alice.last = 2;
        assert_eq!(done(alice.ask(&deq(1, NONE)).await), Status::Released);
    }
}
