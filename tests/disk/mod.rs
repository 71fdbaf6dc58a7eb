//! A disk in memory that keeps every operation, so that every crash of it can be built; and that fails when it is told to.
//!
//! What it knows of real disks: sectors of 512 bytes are written whole or not at all, in any order, until the file is synced;
//! names come and go in any order until the directory is synced; after a sync that failed, what was written is still seen and
//! may never reach the disk, unless it is written again. A process that dies alone loses nothing: [`Model::view`]. It may
//! die after any operation: [`Model::cut`].
//!
//! For the tests of the journal's storage, which build every crash, and for the worlds of the simulation, which draw one.

pub(crate) mod crashes;

use crashes::Crashes;

use enq::log::journal::{Disk, File};
use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard},
};

const SECTOR: usize = 512;

/// Names with contents: what a disk has.
pub(crate) type State = BTreeMap<String, Vec<u8>>;

/// One thing that happened.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Create(String, usize),
    Write(usize, usize, Vec<u8>),
    Sync(usize),
    /// What was written is seen, and may never be on the disk.
    FailedSync(usize),
    Rename(String, String),
    Remove(String),
    SyncNames,
    /// Somebody was promised this.
    Told(Told),
}

/// What somebody counts on from here on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// Everything up to this position.
    pub(crate) durable: u64,
    /// This epoch was used.
    pub(crate) epoch: u32,
}

/// What a call is made to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Eio,
    NoRoom,
    Interrupted,
    /// Half of it is written, or read.
    Short,
}

/// Which calls are made to fail.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Plan {
    /// This one, and how.
    pub(crate) at: Option<(usize, Fault)>,
    /// From this one on there is no room for anything that is new.
    pub(crate) full_from: Option<usize>,
}

#[derive(Default)]
struct Inner {
    before: State,
    names: BTreeMap<String, usize>,
    files: Vec<Vec<u8>>,
    ops: Vec<Op>,
    calls: usize,
    plan: Plan,
    /// The calls that were made to fail, by name.
    failed: Vec<&'static str>,
}

/// The disk.
#[derive(Clone, Default)]
pub(crate) struct Model(Arc<Mutex<Inner>>);

impl Inner {
    /// Something happens.
    fn perform(&mut self, op: Op) {
        match &op {
            Op::Create(name, file) => {
                self.files.push(Vec::new());
                self.names.insert(name.clone(), *file);
            }
            Op::Write(file, offset, bytes) => put(&mut self.files[*file], *offset, bytes),
            Op::Rename(from, to) => {
                let file = self.names.remove(from).expect("only what is there is renamed");
                self.names.insert(to.clone(), file);
            }
            Op::Remove(name) => _ = self.names.remove(name),
            Op::Sync(_) | Op::FailedSync(_) | Op::SyncNames | Op::Told(_) => {}
        }
        self.ops.push(op);
    }
}

struct Open {
    disk: Model,
    file: usize,
}

impl Model {
    pub(crate) fn new(before: State) -> Model {
        let mut inner = Inner { before: before.clone(), ..Inner::default() };
        for (name, bytes) in before {
            inner.names.insert(name, inner.files.len());
            inner.files.push(bytes);
        }
        Model(Arc::new(Mutex::new(inner)))
    }

    pub(crate) fn with(before: State, plan: Plan) -> Model {
        let model = Model::new(before);
        model.inner().plan = plan;
        model
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(crate) fn set_plan(&self, plan: Plan) {
        self.inner().plan = plan;
    }

    /// Writes down what is promised from here on.
    pub(crate) fn tell(&self, told: Told) {
        self.inner().ops.push(Op::Told(told));
    }

    pub(crate) fn calls(&self) -> usize {
        self.inner().calls
    }

    /// The calls that failed on purpose.
    pub(crate) fn failed(&self) -> Vec<&'static str> {
        self.inner().failed.clone()
    }

    pub(crate) fn ops(&self) -> usize {
        self.inner().ops.len()
    }

    /// What a process sees that starts now, the machine having run on.
    pub(crate) fn view(&self) -> State {
        let inner = self.inner();
        inner.names.iter().map(|(name, file)| (name.clone(), inner.files[*file].clone())).collect()
    }

    /// The disk after so many operations: a process died there, and the machine has run on.
    pub(crate) fn cut(&self, at: usize) -> Model {
        let inner = self.inner();
        let before = Model::new(inner.before.clone());
        inner.ops[..at].iter().for_each(|op| before.inner().perform(op.clone()));
        before
    }

    /// What happened in operation number `at`, from 0.
    pub(crate) fn op(&self, at: usize) -> Option<Op> {
        self.inner().ops.get(at).cloned()
    }

    /// Somebody takes a file away.
    pub(crate) fn take_away(&self, name: &str) {
        self.inner().perform(Op::Remove(name.into()));
        self.inner().perform(Op::SyncNames);
    }

    /// The crashes after each operation from there on.
    pub(crate) fn crashes(&self, from: usize) -> Crashes {
        let inner = self.inner();
        let mut crashes = Crashes::new(&inner.before, inner.ops.clone());
        for _ in 0..from {
            crashes.step();
        }
        crashes
    }

    /// Counts a call, and fails if that is its turn.
    fn call(&self, name: &'static str, needs_room: bool) -> io::Result<Option<Fault>> {
        let mut inner = self.inner();
        inner.calls += 1;
        let turn = inner.calls;
        let fault = match inner.plan.at {
            Some((at, fault)) if at == turn => Some(fault),
            Some(_) | None => None,
        };
        let is_full = needs_room && inner.plan.full_from.is_some_and(|from| turn >= from);
        if fault.is_some() || is_full {
            inner.failed.push(name);
        }
        match fault {
            Some(Fault::Eio) => Err(io::Error::other("EIO")),
            Some(Fault::NoRoom) => Err(io::ErrorKind::StorageFull.into()),
            Some(Fault::Interrupted) => Err(io::ErrorKind::Interrupted.into()),
            Some(Fault::Short) => Ok(Some(Fault::Short)),
            None if is_full => Err(io::ErrorKind::StorageFull.into()),
            None => Ok(None),
        }
    }
}

impl Disk for Model {
    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from("/model").join(name)
    }

    fn lock(&self) -> io::Result<bool> {
        self.call("lock", false).map(|_| true)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.call("list", false)?;
        Ok(self.inner().names.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn File>> {
        self.call("create", true)?;
        let mut inner = self.inner();
        if inner.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = inner.files.len();
        inner.perform(Op::Create(name.into(), file));
        Ok(Box::new(Open { disk: self.clone(), file }))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        self.call("open", false)?;
        let file = self.inner().names.get(name).copied().ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(Open { disk: self.clone(), file }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.call("rename", false)?;
        let mut inner = self.inner();
        inner.names.get(from).ok_or(io::ErrorKind::NotFound)?;
        inner.perform(Op::Rename(from.into(), to.into()));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.call("remove", false)?;
        let mut inner = self.inner();
        inner.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        inner.perform(Op::Remove(name.into()));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.call("sync names", false)?;
        self.inner().ops.push(Op::SyncNames);
        Ok(())
    }
}

impl File for Open {
    fn length(&self) -> io::Result<u64> {
        self.disk.call("length", false)?;
        Ok(self.disk.inner().files[self.file].len() as u64)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let is_short = self.disk.call("read", false)?.is_some();
        let inner = self.disk.inner();
        let rest = inner.files[self.file]
            .get(usize::try_from(offset).expect("files of tests are short")..)
            .unwrap_or_default();
        let read = rest.len().min(if is_short { bytes.len().div_ceil(2) } else { bytes.len() });
        bytes[..read].copy_from_slice(&rest[..read]);
        Ok(read)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let offset = usize::try_from(offset).expect("files of tests are short");
        let is_new = offset + bytes.len() > self.disk.inner().files[self.file].len();
        let is_short = self.disk.call("write", is_new)?.is_some();
        let bytes = &bytes[..if is_short { bytes.len().div_ceil(2) } else { bytes.len() }];
        self.disk.inner().perform(Op::Write(self.file, offset, bytes.into()));
        Ok(bytes.len())
    }

    fn sync(&self) -> io::Result<()> {
        let result = self.disk.call("sync", false);
        let op = if result.is_ok() { Op::Sync(self.file) } else { Op::FailedSync(self.file) };
        self.disk.inner().ops.push(op);
        result.map(|_| ())
    }
}

fn put(file: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    if file.len() < offset + bytes.len() {
        file.resize(offset + bytes.len(), 0);
    }
    file[offset..offset + bytes.len()].copy_from_slice(bytes);
}
