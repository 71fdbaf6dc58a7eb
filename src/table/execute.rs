//! One numbered request of a session: its handles become locks, its quotas are looked at, its shard is stepped.
//!
//! Every request has exactly one answer in the session's stream, or none if NOACK asked for none. What cannot concern a
//! shard is refused here, from nowhere.

use super::{AnswerAs, Asker, Scratch, SessionCell, Share, Table};
use crate::engine::{
    Input, Instant, LockRef, Said, Shard, Under,
    session::{Call, Register, Started, Told},
};
use enq_protocol::vocabulary::{Flags, Handle, Place, ResourceName, Status};

/// Which request it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Its number in the session's stream.
    pub number: u64,
    /// What tells it from another one of the same number.
    pub digest: u64,
    /// The bytes of its frame: what it takes of the window until its answer is acknowledged.
    pub len: u32,
}

/// What became of the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Executed {
    /// It goes on.
    GoesOn,
    /// That was its last request.
    Closed,
    /// That is known later: the request is on its way through the log.
    UnderWay,
}

/// Where a request goes, and what it makes there.
struct Routed<'a> {
    shard: u8,
    started: Started<'a>,
    answer: AnswerAs,
}

impl Table {
    /// Executes the next request of a session, whose in-half the caller holds.
    pub fn execute(
        &self,
        now: Instant,
        (cell, register): (&SessionCell, &mut Register),
        request: Request,
        call: Call<'_>,
        scratch: &mut Scratch,
    ) -> Executed {
        register.begin(request.number, request.digest, request.len);
        match call {
            Call::Lock(mut input) => match self.route(cell, register, &mut input) {
                Ok(routed) => self.run(now, (cell, register), request, (routed, &input), scratch),
                Err(status) => {
                    self.reached.refused(status);
                    refuse((cell, register), request, status);
                }
            },
            Call::ReleaseAll { flags } if Flags::OF_DEQ_ALL.contains(flags) => {
                let invalidate = flags.contains(Flags::IVVALBLK);
                self.release_all(now, (cell, register), request, invalidate, scratch);
            }
            Call::ReleaseAll { .. } => refuse((cell, register), request, Status::BadParam),
            Call::Purge { lockspace, root, orphan_key } => {
                self.purge(now, (cell, register), request, (lockspace, root.as_ref(), orphan_key), scratch);
            }
            Call::Refused(status) => {
                self.reached.refused(status);
                refuse((cell, register), request, status);
            }
            Call::Close => {
                self.close(now, (cell, register), request, scratch);
                return Executed::Closed;
            }
            Call::CreateSpace { name, policy, exclusive } => {
                let told = self.create_space(now, &name, policy, exclusive, scratch);
                answer_space((cell, register), request, told);
            }
            Call::SetSpace { lockspace, version, policy } => {
                let told = self.set_space(now, lockspace, version, policy, scratch);
                answer_space((cell, register), request, told);
            }
            Call::RemoveSpace { lockspace, force } => {
                let told = self.remove_space(now, lockspace, force.then_some(cell.id), scratch);
                answer_space((cell, register), request, told);
            }
        }
        cell.publish(register);
        Executed::GoesOn
    }

    /// Steps the shard; an end of sublocks is gone through before it is answered.
    fn run(
        &self,
        now: Instant,
        (cell, register): (&SessionCell, &mut Register),
        request: Request,
        (routed, input): (Routed<'_>, &Input<'_>),
        scratch: &mut Scratch,
    ) {
        let Routed { shard: number, started, answer } = routed;
        let sublocks_of = match input {
            Input::SealSublocks { .. } => Some(register.answers()),
            _ => None,
        };
        let mut asker = Asker { cell, register, request, started, answer };
        self.with_shard(number, scratch, |table, shard, scratch| {
            if table.is_judged_before || has_room(&table.cell(number).share, shard, input) {
                table.step_on(shard, now, input, Some(&mut asker), scratch);
            } else {
                table.reached.refused_for_memory();
                let status = Status::ResourceExhausted;
                asker.tell(
                    &table.reached,
                    Place::NOWHERE,
                    Said::Refused { status, blocker: None, waiting: 0 },
                );
            }
        });
        // T6: refused at once, or answered after the last sublock is gone.
        if sublocks_of.is_some_and(|before| before == asker.register.answers()) {
            asker.started = Started::Nothing;
            let place = self.finish_ends(now, number, Some(&mut asker), scratch);
            asker.answer(place, done(request, Status::Released));
        }
    }

    /// Is there memory for what this asks? Whoever logs what he asks finds out before, for what is applied again elsewhere
    /// must come out the same.
    #[must_use]
    pub fn has_memory_for(&self, register: &Register, call: &Call<'_>) -> bool {
        let Call::Lock(input) = call else { return true };
        let number = match input {
            Input::Enq { under: Under::Lockspace(lockspace), name, .. } => self.shard_of(*lockspace, name),
            Input::Enq { under: Under::Parent(LockRef::Handle(parent)), .. } => {
                match register.meaning(*parent) {
                    Some((number, _)) => number,
                    None => return true,
                }
            }
            Input::EnqPath { lockspace, path: [root, ..], .. } => self.shard_of(*lockspace, root),
            _ => return true,
        };
        let cell = self.cell(number);
        let has_room = cell.share.has_plenty() || has_room(&cell.share, &cell.shard.lock(), input);
        if !has_room {
            self.reached.refused_for_memory();
        }
        has_room
    }

    /// What a request means: its shard, its locks, which take the place of its handles, and whether its session may have
    /// it.
    fn route<'a>(
        &self,
        cell: &'a SessionCell,
        register: &mut Register,
        input: &mut Input<'a>,
    ) -> Result<Routed<'a>, Status> {
        let mut started = Started::Nothing;
        let mut answer = AnswerAs::Said;
        let shard = match input {
            Input::Enq { ask, handle, under, name } => {
                self.may_name(std::slice::from_ref(*name))?;
                may_start(cell, register, &[*handle])?;
                let shard = self.shard_under(register, under, name)?;
                answer = self.may_wait(cell, register, &mut ask.flags);
                started = Started::Lock(*handle);
                register.touch(shard);
                shard
            }
            Input::Adopt { handle, under, name, .. } => {
                may_start(cell, register, &[*handle])?;
                let shard = self.shard_under(register, under, name)?;
                started = Started::Lock(*handle);
                register.touch(shard);
                shard
            }
            Input::EnqPath { ask, handles, lockspace, path } => {
                let (Some(root), true) = (path.first(), path.len() == handles.len()) else {
                    return Err(Status::BadParam);
                };
                let shard = self.shard_of(*lockspace, root);
                self.may_name(path)?;
                may_start(cell, register, handles)?;
                answer = self.may_wait(cell, register, &mut ask.flags);
                register.start_path(handles, shard);
                started = Started::Path(handles);
                register.touch(shard);
                shard
            }
            Input::Convert { lock, flags, .. } => {
                let shard = resolve(register, lock)?;
                answer = self.may_wait(cell, register, flags);
                shard
            }
            Input::Deq { lock, flags, .. } => {
                if flags.contains(Flags::NOACK) {
                    answer = AnswerAs::SaidUnlessReleased;
                }
                resolve(register, lock)?
            }
            Input::SealSublocks { lock, orphan_key, .. } => {
                *orphan_key = &cell.about.orphan_key;
                resolve(register, lock)?
            }
            Input::Cancel { lock, .. } => resolve(register, lock)?,
            Input::SealSession { .. }
            | Input::Continue
            | Input::Tick
            | Input::SetPolicy { .. }
            | Input::ForceRelease { .. }
            | Input::EndRequest { .. }
            | Input::RefuseDeadlock { .. }
            | Input::SetPriority { .. }
            | Input::Purge { .. }
            | Input::RaiseEpoch { .. } => return Err(Status::Unsupported),
        };
        Ok(Routed { shard, started, answer })
    }

    /// The shard of a root, or of a lock's sublocks.
    fn shard_under(&self, register: &Register, under: &mut Under, name: &ResourceName) -> Result<u8, Status> {
        match under {
            Under::Lockspace(lockspace) => Ok(self.shard_of(*lockspace, name)),
            Under::Parent(parent) => resolve(register, parent),
        }
    }

    /// Q2: a session that has as many waiting requests as it may have may still be granted what is free, so its request
    /// is asked not to queue. Requests whose flags do not go with that are left to the rules, which refuse them (R2), or
    /// never queue (G1).
    fn may_wait(&self, cell: &SessionCell, register: &mut Register, flags: &mut Flags) -> AnswerAs {
        const LEFT: Flags = Flags(Flags::NOQUEUE.0 | Flags::NOQUEUEBAST.0 | Flags::EXPEDITE.0);
        if flags.intersects(LEFT) || register.may_wait(|| cell.out_half.lock().outgoing.waiting()) {
            return AnswerAs::Said;
        }
        *flags = flags.without(Flags::CONVDEADLK) | Flags::NOQUEUE;
        AnswerAs::Exhausted
    }

    /// May resources be called that, here?
    fn may_name(&self, names: &[ResourceName]) -> Result<(), Status> {
        let fits = names.iter().all(|name| name.as_bytes().len() <= self.limits.name_len);
        if fits { Ok(()) } else { Err(Status::BadName) }
    }
}

/// Puts the lock that a handle means in its place; says in which shard it is.
fn resolve(register: &Register, lock: &mut LockRef) -> Result<u8, Status> {
    match *lock {
        LockRef::Handle(handle) => {
            let (shard, meant) = register.meaning(handle).ok_or(Status::NoSuchLock)?;
            *lock = meant;
            Ok(shard)
        }
        LockRef::Id(id) => Ok(id.shard()),
    }
}

/// May locks be made with these handles? Before it says no, it learns what others ended.
fn may_start(cell: &SessionCell, register: &mut Register, handles: &[Handle]) -> Result<(), Status> {
    if register.may_start(handles).is_ok() {
        return Ok(());
    }
    let ended = cell.out_half.lock().outgoing.take_ended();
    register.free(&ended);
    register.may_start(handles)
}

/// Is there memory for what this asks of a shard with this share? Only what makes new locks needs any.
fn has_room(share: &Share, shard: &Shard, input: &Input<'_>) -> bool {
    let growth = match input {
        _ if share.has_plenty() => return true,
        Input::Enq { ask, name, .. } => shard.growth(std::slice::from_ref(*name), ask.reason),
        Input::EnqPath { ask, path, .. } => shard.growth(path, ask.reason),
        _ => return true,
    };
    growth == 0 || share.may_grow(shard.bytes(), growth)
}

/// The answer of a call that did something and brings nothing.
pub(super) fn done(request: Request, status: Status) -> Told {
    Told::Answer { request: request.number, said: Said::Done(status) }
}

/// Refuses a request that no shard saw.
pub(super) fn refuse(session: (&SessionCell, &mut Register), request: Request, status: Status) {
    let said = Said::Refused { status, blocker: None, waiting: 0 };
    answer(session, request, Told::Answer { request: request.number, said });
}

fn answer_space(
    session: (&SessionCell, &mut Register),
    request: Request,
    result: Result<super::spaces::Changed, Status>,
) {
    match result {
        Ok(super::spaces::Changed { space, changed }) => {
            answer(session, request, Told::Space { request: request.number, space, changed });
        }
        Err(status) => refuse(session, request, status),
    }
}

fn answer((cell, register): (&SessionCell, &mut Register), request: Request, told: Told) {
    let mut asker = Asker { cell, register, request, started: Started::Nothing, answer: AnswerAs::Said };
    asker.answer(Place::NOWHERE, told);
}
