//! The end of a session on its way through the log: nothing more is let in, and what is behind it is done for nobody.
//!
//! Either rule alone would hide that the other one is broken, so each is told by itself, with a log that is driven by hand.

use crate::disk::Model;
use enq::engine::{
    Ask, Input, Instant, Limits, Local, Under,
    session::{Call, Numbered},
};
use enq::log::journal::{AppendError, Failure, Settings};
use enq::log::{Act, Log as _, Outcome, Pipe, Record, Recovered, Served, recover};
use enq::table::{About, Executed, Request, Scratch, SessionCell, Terms};
use enq_protocol::vocabulary::{Flags, Handle, LockMode, LockspaceId, Owner, ResourceName, Seq, SessionId};
use std::sync::{Arc, Mutex};

const NOW: Instant = Instant(1);

/// What was appended, until somebody writes it.
#[derive(Default)]
struct Waiting(Mutex<Vec<Vec<u8>>>);

impl Pipe for Waiting {
    fn append(&self, record: &[u8]) -> Result<u64, AppendError> {
        let mut waiting = self.0.lock().unwrap();
        waiting.push(record.to_vec());
        // The start is position 1, and all that comes is applied in one go each time.
        Ok(1 + u64::try_from(waiting.len()).unwrap())
    }

    fn is_crowded(&self) -> bool {
        false
    }

    fn is_short_of_room(&self) -> bool {
        false
    }

    fn tend(&self, _: Instant) {}

    fn close(&self) -> Result<(), Failure> {
        Ok(())
    }
}

fn served() -> Recovered {
    let limits = Limits::default();
    let terms = Terms { epoch: 0, route_key: [1; 16], window_requests: 8, window_bytes: 8_192, limits };
    let local = Local { hash_seed: 1, memory: usize::MAX, history: 0, planted: limits.planted };
    let settings =
        Settings { segment_bytes: 64 << 10, batch_bytes: 16 << 10, spares: 0, ..Settings::default() };
    let stopped = Box::new(|why: &str| panic!("{why}"));
    let served = Served { terms, local, snapshot_every: usize::MAX, stopped };
    recover(Arc::new(Model::default()), settings, 7, served).unwrap()
}

/// Makes these records durable and applies them.
fn apply(recovered: &mut Recovered, records: &[Vec<u8>]) {
    let mut body = recovered.writer.body();
    records.iter().for_each(|record| body.push(record));
    recovered.writer.write(&mut body).unwrap();
    recovered.applier.apply(body.batch());
}

fn record(act: Act<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    Record { now: NOW, act }.write(&mut bytes);
    bytes
}

fn about() -> About {
    About {
        name: "one".into(),
        purpose: String::new(),
        host: String::new(),
        pid: 1,
        peer: String::new(),
        ttl_ms: 15_000,
        bound: false,
        secret: [9; 16],
        orphan_key: Box::default(),
    }
}

fn enq<'a>(session: SessionId, handle: u32, name: &'a ResourceName) -> Call<'a> {
    let ask = Ask {
        session,
        mode: LockMode::Ex,
        flags: Flags::NONE,
        owner: Owner { scope: 0, token: 0 },
        timeout_ms: None,
        priority: 0,
        reason: b"",
    };
    let (handle, under) = (Handle::new(handle).unwrap(), Under::Lockspace(LockspaceId::default()));
    Call::Lock(Input::Enq { ask, handle, under, name })
}

#[test]
fn nothing_is_let_in_once_the_end_of_a_session_is_in_the_log() {
    let mut recovered = served();
    let pipe = Arc::new(Waiting::default());
    let log = recovered.log(Arc::clone(&pipe) as Arc<dyn Pipe>);
    let opening = log.open_session(NOW, about());
    let opened = std::mem::take(&mut *pipe.0.lock().unwrap());
    apply(&mut recovered, &opened);
    let Some(Outcome::Opened(cell)) = opening.take() else { panic!("it is open when that is applied") };

    let (mut register, mut scratch) = (cell.in_half.lock(), Scratch::default());
    let name = ResourceName::new(b"a").unwrap();
    assert_eq!(register.admit(1, 5, 10), Ok(Numbered::Next));
    let request = Request { number: 1, digest: 5, len: 10 };
    let session: (&SessionCell, _) = (&cell, &mut *register);
    assert_eq!(log.execute(NOW, session, request, enq(cell.id, 1, &name), &mut scratch), Executed::UnderWay);
    let ending = log.kill(NOW, (&cell, &mut register), &mut scratch);
    assert!(ending.take().is_none() && log.table().session(cell.id).is_some(), "it is not applied yet");
    assert!(register.has_ended() && register.is_dead(), "and nothing is acknowledged any more");
    log.kill(NOW, (&cell, &mut register), &mut scratch);
    drop(register);
    let records = std::mem::take(&mut *pipe.0.lock().unwrap());
    assert_eq!(records.len(), 2, "the request that was let in, and one end");
    apply(&mut recovered, &records);
    assert!(log.table().session(cell.id).is_none());
    assert_eq!(log.table().statistics().locks, 0, "what it was granted meanwhile has gone with it");
}

#[test]
fn a_request_behind_the_end_of_its_session_is_done_for_nobody() {
    let mut recovered = served();
    let log = recovered.log(Arc::new(Waiting::default()));
    // The first session of epoch 1.
    let session = SessionId(Seq::new(1, 1).0);
    let (a, b) = (ResourceName::new(b"a").unwrap(), ResourceName::new(b"b").unwrap());
    let ask = |number: u32, name| {
        let request = Request { number: number.into(), digest: number.into(), len: 10 };
        record(Act::Request { session, request, acked: 0, call: enq(session, number, name) })
    };
    apply(&mut recovered, &[record(Act::Open(about())), ask(1, &a)]);
    assert_eq!(log.table().statistics().locks, 1);
    // In one batch, so that the session is still at hand when its end has come.
    apply(&mut recovered, &[ask(2, &b), record(Act::Kill(session)), ask(3, &a)]);
    assert_eq!(log.table().statistics().locks, 0, "nobody would ever release it");
    assert_eq!(log.table().session_count(), 0);
}
