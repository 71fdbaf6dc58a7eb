//! The words of enqd: each request a frame, each slot a range of handles of its own.
//!
//! An answer is cut from the buffer and known by its kind; its body is read only where it decides something: a refusal, a
//! grant that comes later, and the order of a hand-off.

use std::{mem, time::Duration};

use bytes::{Buf as _, BytesMut};
use enq_protocol::{
    vocabulary::{Flags, Handle, LockMode, LockspaceId, Owner},
    wire::{
        self, Answer, Convert, Deq, EnqPath, Event, FRAME_LEN_MAX, Fatal, Frame, Hello, Kind, Look,
        OpenSession, PROTOCOL_VERSION, Reply, Request, Seen, Welcome, cut,
    },
};

use super::{
    super::workload::{TREE_DEPTH_MAX, Work, Workload},
    Handed, Heard, Root, Said, Step, Words, Wrong,
};

/// The lease of a session whose lease is not the point. Every server grants it, and every request renews it.
pub(crate) const TTL: Duration = Duration::from_secs(15);

/// What stands below the root of a tree, a name a level.
const LEVELS: [&[u8]; TREE_DEPTH_MAX as usize] = [
    b"root",
    b"level/01",
    b"level/02",
    b"level/03",
    b"level/04",
    b"level/05",
    b"level/06",
    b"level/07",
    b"level/08",
    b"level/09",
    b"level/10",
    b"level/11",
    b"level/12",
    b"level/13",
    b"level/14",
    b"level/15",
];

/// One session.
pub struct Enq {
    root: Root,
    work: Work,
    /// Handles that a slot needs: one a level.
    levels: u32,
    value: Option<Vec<u8>>,
    ttl: Duration,
    /// The last request's number.
    number: u64,
    /// The last number of the server's stream.
    seen: u64,
    /// The most requests that may be in flight, once the server has said so.
    window: Option<u32>,
    /// The place of the request that waits, of a hand-off.
    asked: u64,
    handed: Vec<Handed>,
}

impl Enq {
    /// For this work.
    #[must_use]
    pub fn new(root: Root, workload: &Workload) -> Enq {
        let is_tree = matches!(workload.work, Work::Path | Work::PipelinedPath);
        Enq {
            root,
            work: workload.work,
            levels: if is_tree { workload.tree_depth.clamp(1, TREE_DEPTH_MAX) } else { 1 },
            value: workload.value_len.map(|len| vec![0x5A; len]),
            ttl: TTL,
            number: 0,
            seen: 0,
            window: None,
            asked: 0,
            handed: Vec::new(),
        }
    }

    /// With a lease of this length.
    #[must_use]
    pub fn with_ttl(self, ttl: Duration) -> Enq {
        Enq { ttl, ..self }
    }

    fn request(&mut self, request: &Request<'_>, out: &mut BytesMut) -> Result<(), Wrong> {
        self.number += 1;
        Ok(request.encode(self.number, self.seen, out)?)
    }

    fn handle(&self, slot: u32, level: u32) -> Result<Handle, Wrong> {
        Handle::new(slot * self.levels + level + 1)
            .ok_or_else(|| Wrong::Nonsense(String::from("a handle of 0")))
    }

    /// A new lock; below `parent` if there is one.
    fn enq(
        &mut self,
        slot: u32,
        level: u32,
        name: &[u8],
        mode: LockMode,
        out: &mut BytesMut,
    ) -> Result<(), Wrong> {
        let parent = level.checked_sub(1).map(|above| self.handle(slot, above)).transpose()?;
        let request = wire::Enq {
            handle: self.handle(slot, level)?,
            lockspace: LockspaceId::default(),
            parent,
            name,
            mode,
            flags: Flags::VALBLK.when(self.value.is_some()),
            owner: owner(slot),
            timeout_ms: None,
            priority: 0,
            reason: &[],
        };
        self.request(&Request::Enq(request), out)
    }

    fn path(&mut self, slot: u32, name: &[u8], mode: LockMode, out: &mut BytesMut) -> Result<(), Wrong> {
        let handles: Result<Vec<Handle>, Wrong> =
            (0..self.levels).map(|level| self.handle(slot, level)).collect();
        let path = EnqPath {
            handles: handles?,
            lockspace: LockspaceId::default(),
            path: (0..self.levels).map(|level| component(level, name)).collect(),
            mode,
            flags: Flags::NONE,
            owner: owner(slot),
            timeout_ms: None,
            priority: 0,
            reason: &[],
        };
        self.request(&Request::EnqPath(path), out)
    }

    fn convert(&mut self, slot: u32, mode: LockMode, out: &mut BytesMut) -> Result<(), Wrong> {
        let handle = self.handle(slot, 0)?;
        let convert =
            Convert { handle, mode, flags: Flags::NONE, timeout_ms: None, priority: 0, value: None };
        self.request(&Request::Convert(convert), out)
    }

    fn deq(&mut self, slot: u32, level: u32, flags: Flags, out: &mut BytesMut) -> Result<(), Wrong> {
        let handle = self.handle(slot, level)?;
        let value = self.value.take();
        let flags = flags | Flags::VALBLK.when(value.is_some());
        let done = self.request(&Request::Deq(Deq { handle, flags, value: value.as_deref() }), out);
        self.value = value;
        done
    }

    /// What one frame says.
    fn take(&mut self, frame: Frame<'_>) -> Result<Option<Heard>, Wrong> {
        let Frame { header, body, .. } = frame;
        self.seen = self.seen.max(header.number);
        match header.kind {
            Kind::GRANTED | Kind::QUEUED if self.work == Work::Handoff => self.witness(frame),
            Kind::GRANTED | Kind::PATH_GRANTED | Kind::DONE | Kind::SEEN_RENEWED => Ok(Some(Heard::Answered)),
            Kind::QUEUED => Ok(Some(Heard::Queued)),
            Kind::GRANTED_LATER | Kind::PATH_GRANTED_LATER => {
                let (_, event) = Event::decode(&header, body)?;
                let (Event::Granted(grant) | Event::PathGranted { leaf: grant, .. }) = event else {
                    return Ok(None);
                };
                if self.work == Work::Handoff {
                    self.handed.push(Handed { asked: self.asked, granted: grant.seq.0 });
                }
                Ok(Some(Heard::GrantedLater((grant.handle.number() - 1) / self.levels)))
            }
            Kind::WELCOME => {
                self.window = Some(Welcome::decode(&header, body)?.window_requests);
                Ok(Some(Heard::Answered))
            }
            Kind::BLOCKING | Kind::ACKED => Ok(None),
            _ => self.refusal(frame),
        }
    }

    /// What decides the order of a hand-off: where the request came in, and the number of the grant.
    fn witness(&mut self, frame: Frame<'_>) -> Result<Option<Heard>, Wrong> {
        let answer = Answer::decode(&frame.header, frame.body)?;
        let asked = answer.place.serial().0;
        match answer.reply {
            Reply::Granted(grant) => {
                self.handed.push(Handed { asked, granted: grant.seq.0 });
                Ok(Some(Heard::Answered))
            }
            _ => {
                self.asked = asked;
                Ok(Some(Heard::Queued))
            }
        }
    }

    /// Kinds that come once a session, or never if all is well.
    fn refusal(&mut self, frame: Frame<'_>) -> Result<Option<Heard>, Wrong> {
        let Frame { header, body, .. } = frame;
        match header.kind {
            Kind::SEEN_OPENED => Ok(Some(Heard::Answered)),
            Kind::REFUSED => match Answer::decode(&header, body)?.reply {
                Reply::Refused { status, .. } => Err(Wrong::Refused("a request", status)),
                _ => Ok(None),
            },
            Kind::SEEN_REFUSED => match Seen::decode(&header, body)?.1 {
                Seen::Refused(status) => Err(Wrong::Refused("a session", status)),
                _ => Ok(None),
            },
            Kind::ENDED => match Event::decode(&header, body)?.1 {
                Event::Ended { status, .. } => Err(Wrong::Refused("a request that waits", status)),
                _ => Ok(None),
            },
            Kind::ERROR => Err(Wrong::Refused("the connection", Fatal::decode(&header, body)?.status)),
            kind => Err(Wrong::Nonsense(kind.to_string())),
        }
    }
}

/// The name at a level: the slot's own at the root, so that trees do not meet.
fn component(level: u32, name: &[u8]) -> &[u8] {
    let below = usize::try_from(level).ok().and_then(|at| LEVELS.get(at)).copied().unwrap_or(name);
    if level == 0 { name } else { below }
}

/// Each slot waits for itself: two of one session that wait for each other's sessions are no deadlock.
fn owner(slot: u32) -> Owner {
    Owner { scope: 0, token: u64::from(slot) + 1 }
}

/// What a path asks for above its leaf.
const INTENT: LockMode = LockMode::Cw;

impl Words for Enq {
    fn greet(&mut self, out: &mut BytesMut) -> Result<usize, Wrong> {
        let hello = Hello {
            version_min: PROTOCOL_VERSION,
            version_max: PROTOCOL_VERSION,
            features: 0,
            method: 0,
            credentials: Box::default(),
            agent: "enq bench".into(),
        };
        let open = OpenSession {
            name: "bench".into(),
            purpose: "load".into(),
            node: String::new(),
            node_id: 0,
            host: String::new(),
            pid: std::process::id(),
            process_start: 0,
            ttl_ms: u32::try_from(self.ttl.as_millis()).unwrap_or(u32::MAX),
            orphan_key: Box::default(),
            log: 0,
            bind_connection: true,
        };
        hello.encode(out)?;
        Look::Open(open).encode(1, 0, out)?;
        Ok(2)
    }

    fn say(&mut self, said: Said, out: &mut BytesMut) -> Result<u32, Wrong> {
        let Said { step, slot, name, mode } = said;
        let name = self.root.name(name);
        match (step, self.work) {
            (Step::Prepare, Work::Convert) => self.enq(slot, 0, &name, LockMode::Nl, out)?,
            (Step::Prepare, _) => return Ok(0),
            (Step::Ask, Work::Pair | Work::Handoff) => self.enq(slot, 0, &name, mode, out)?,
            (Step::Ask, Work::Convert) => self.convert(slot, LockMode::Pr, out)?,
            (Step::Ask, Work::Path) => self.path(slot, &name, mode, out)?,
            (Step::Ask, Work::PipelinedPath) => {
                for level in 0..self.levels {
                    let mode = if level + 1 == self.levels { mode } else { INTENT };
                    self.enq(slot, level, component(level, &name), mode, out)?;
                }
                return Ok(self.levels);
            }
            (Step::GiveUp, Work::Pair | Work::Handoff) => self.deq(slot, 0, Flags::NONE, out)?,
            (Step::GiveUp, Work::Convert) => self.convert(slot, LockMode::Nl, out)?,
            (Step::GiveUp, Work::Path) => self.deq(slot, self.levels - 1, Flags::PATH, out)?,
            (Step::GiveUp, Work::PipelinedPath) => {
                for level in (0..self.levels).rev() {
                    self.deq(slot, level, Flags::NONE, out)?;
                }
                return Ok(self.levels);
            }
        }
        Ok(1)
    }

    fn renew(&mut self, out: &mut BytesMut) -> Result<(), Wrong> {
        Ok(Look::Renew.encode(2, self.seen, out)?)
    }

    fn leave(&mut self, out: &mut BytesMut) -> Result<usize, Wrong> {
        self.request(&Request::Close, out)?;
        Ok(1)
    }

    fn hear(&mut self, input: &mut BytesMut, heard: &mut Vec<Heard>) -> Result<(), Wrong> {
        let mut at = 0;
        while let Some(frame) = cut(&input[at..], FRAME_LEN_MAX)? {
            at += frame.len;
            heard.extend(self.take(frame)?);
        }
        input.advance(at);
        Ok(())
    }

    fn window(&self) -> Option<u32> {
        self.window
    }

    fn handed(&mut self) -> Vec<Handed> {
        mem::take(&mut self.handed)
    }
}

#[cfg(test)]
mod tests {
    use enq_protocol::vocabulary::{Place, Status};

    use super::*;

    fn said(step: Step) -> Said {
        Said { step, slot: 1, name: 7, mode: LockMode::Ex }
    }

    /// The kinds of the frames that are said.
    fn kinds(mut bytes: &[u8]) -> Vec<Kind> {
        let mut kinds = Vec::new();
        while let Some(frame) = cut(bytes, FRAME_LEN_MAX).unwrap() {
            kinds.push(frame.header.kind);
            bytes = &bytes[frame.len..];
        }
        kinds
    }

    #[test]
    fn each_work_has_its_requests() {
        let four = |kind| vec![kind; 4];
        for (work, prepared, asked, given_up) in [
            (Work::Pair, vec![], vec![Kind::ENQ], vec![Kind::DEQ]),
            (Work::Convert, vec![Kind::ENQ], vec![Kind::CONVERT], vec![Kind::CONVERT]),
            (Work::Path, vec![], vec![Kind::ENQ_PATH], vec![Kind::DEQ]),
            (Work::PipelinedPath, vec![], four(Kind::ENQ), four(Kind::DEQ)),
            (Work::Handoff, vec![], vec![Kind::ENQ], vec![Kind::DEQ]),
        ] {
            let mut words = Enq::new(Root::of_run(1), &Workload::plain(work));
            for (step, wanted) in [(Step::Prepare, prepared), (Step::Ask, asked), (Step::GiveUp, given_up)] {
                let mut out = BytesMut::new();
                let answers = words.say(said(step), &mut out).unwrap();
                assert_eq!(usize::try_from(answers), Ok(wanted.len()), "{work} {step:?}");
                assert_eq!(kinds(&out), wanted, "{work} {step:?}");
            }
        }
    }

    #[test]
    fn a_refusal_is_heard_as_one() {
        let mut words = Enq::new(Root::of_run(1), &Workload::plain(Work::Pair));
        let mut input = BytesMut::new();
        let reply = Reply::Refused { status: Status::Denied, blocker: None, detail: 0 };
        Answer { request: 1, place: Place::NOWHERE, reply }.encode(1, 0, &mut input).unwrap();
        let heard = words.hear(&mut input, &mut Vec::new());
        assert_eq!(heard, Err(Wrong::Refused("a request", Status::Denied)));
    }

    #[test]
    fn half_a_frame_is_left_for_later() {
        let mut words = Enq::new(Root::of_run(1), &Workload::plain(Work::Pair));
        let mut whole = BytesMut::new();
        let done = Answer { request: 1, place: Place::NOWHERE, reply: Reply::Done { status: Status::Done } };
        done.encode(1, 0, &mut whole).unwrap();
        let mut input = BytesMut::from(&whole[..whole.len() - 1]);
        let mut heard = Vec::new();
        words.hear(&mut input, &mut heard).unwrap();
        assert!(heard.is_empty());
        input.extend_from_slice(&whole[whole.len() - 1..]);
        words.hear(&mut input, &mut heard).unwrap();
        assert_eq!((heard, input.len()), (vec![Heard::Answered], 0));
    }
}
