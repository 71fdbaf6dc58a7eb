//! Frames, into bytes and out of them.

use super::{Deed, Row};
use bytes::BytesMut;
use enq_protocol::{
    vocabulary::{Fence, Flags, Grant, Handle, LockId, LockMode, LockspaceId, Owner, Place, Seq, Serial},
    wire::{Answer, Deq, Enq, FRAME_LEN_MAX, FromClient, Reply, Request, cut},
};
use std::hint::black_box;

pub(crate) const ROWS: &[Row] = &[
    Row { name: "codec: ENQ into bytes", counts: 1, begin: || into(enq) },
    Row { name: "codec: ENQ out of bytes", counts: 1, begin: || out_of(enq) },
    Row { name: "codec: DEQ into bytes", counts: 1, begin: || into(deq) },
    Row { name: "codec: DEQ out of bytes", counts: 1, begin: || out_of(deq) },
    Row { name: "codec: GRANTED into bytes", counts: 1, begin: granted },
];

fn handle() -> Handle {
    Handle::new(1).expect("handles start at 1")
}

fn enq(out: &mut BytesMut) {
    let enq = Enq {
        handle: handle(),
        lockspace: LockspaceId(0),
        parent: None,
        name: b"bench/resource/00000001",
        mode: LockMode::Ex,
        flags: Flags::NONE,
        owner: Owner::default(),
        timeout_ms: None,
        priority: 0,
        reason: &[],
    };
    Request::Enq(enq).encode(7, 6, out).expect("it fits");
}

fn deq(out: &mut BytesMut) {
    Request::Deq(Deq { handle: handle(), flags: Flags::NONE, value: None })
        .encode(7, 6, out)
        .expect("it fits");
}

fn into(encode: fn(&mut BytesMut)) -> Deed {
    let mut out = BytesMut::with_capacity(4_096);
    Box::new(move || {
        out.clear();
        encode(&mut out);
        black_box(&out);
    })
}

fn out_of(encode: fn(&mut BytesMut)) -> Deed {
    let mut bytes = BytesMut::new();
    encode(&mut bytes);
    Box::new(move || {
        let frame = cut(black_box(&bytes), FRAME_LEN_MAX).expect("it is a frame").expect("it is whole");
        black_box(FromClient::decode(&frame.header, frame.body).expect("it is a request"));
    })
}

fn granted() -> Deed {
    let grant = Grant {
        handle: handle(),
        lock: LockId::new(7, 7, 7),
        mode: LockMode::Ex,
        seq: Seq::new(1, 7),
        fence: Fence::UNFENCED,
        synchronous: false,
        alternate: false,
        demoted: false,
        stored: false,
        value: None,
    };
    let answer = Answer { request: 7, place: Place::new(7, Serial(7)), reply: Reply::Granted(grant) };
    let mut out = BytesMut::with_capacity(4_096);
    Box::new(move || {
        out.clear();
        answer.encode(7, 6, &mut out).expect("it fits");
        black_box(&out);
    })
}
