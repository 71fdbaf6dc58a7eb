//! A disk in memory that keeps every operation, so that every crash of it can be built; and that fails when it is told to.
//!
//! What it knows of real disks: sectors of 512 bytes are written whole or not at all, in any order, until the file is synced;
//! names come and go in any order until the directory is synced; after a sync that failed, what was written is still seen and
//! may never reach the disk, unless it is written again. A process that dies alone loses nothing: [`Model::view`].

use enq::log::journal::{Disk, File};
use rand::{Rng, SeedableRng, rngs::SmallRng};
use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash, Hasher},
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

    /// The crashes after each operation from there on.
    pub(crate) fn crashes(&self, from: usize) -> Crashes {
        let inner = self.inner();
        let mut crashes = Crashes { ops: inner.ops.clone(), next: 0, ..Crashes::default() };
        for (name, bytes) in &inner.before {
            crashes.names.insert(name.clone(), crashes.files.len());
            crashes.seen_names.insert(name.clone(), crashes.files.len());
            crashes.files.push(bytes.clone());
            crashes.seen.push(bytes.clone());
        }
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
        inner.files.push(Vec::new());
        inner.names.insert(name.into(), file);
        inner.ops.push(Op::Create(name.into(), file));
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
        let file = inner.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        inner.names.insert(to.into(), file);
        inner.ops.push(Op::Rename(from.into(), to.into()));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.call("remove", false)?;
        let mut inner = self.inner();
        inner.names.remove(name).ok_or(io::ErrorKind::NotFound)?;
        inner.ops.push(Op::Remove(name.into()));
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
        let rest = inner.files[self.file].get(usize::try_from(offset).unwrap()..).unwrap_or_default();
        let read = rest.len().min(if is_short { bytes.len().div_ceil(2) } else { bytes.len() });
        bytes[..read].copy_from_slice(&rest[..read]);
        Ok(read)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let offset = usize::try_from(offset).unwrap();
        let is_new = offset + bytes.len() > self.disk.inner().files[self.file].len();
        let is_short = self.disk.call("write", is_new)?.is_some();
        let bytes = &bytes[..if is_short { bytes.len().div_ceil(2) } else { bytes.len() }];
        let mut inner = self.disk.inner();
        put(&mut inner.files[self.file], offset, bytes);
        inner.ops.push(Op::Write(self.file, offset, bytes.into()));
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

/// One sector that was written and not synced, as it was seen after the write.
struct Piece {
    op: usize,
    file: usize,
    sector: usize,
    image: Vec<u8>,
    /// No sync takes it along any more.
    is_forgotten: bool,
}

/// A change of names that was not synced: this very file loses a name, or gets one, or both at once.
struct Move {
    op: usize,
    file: usize,
    from: Option<String>,
    to: Option<String>,
}

impl Move {
    /// Another file may bear the old name by now, if changes are lost in between.
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        if let Some(from) = self.from.as_ref().filter(|from| names.get(*from) == Some(&self.file)) {
            names.remove(from);
        }
        if let Some(to) = &self.to {
            names.insert(to.clone(), self.file);
        }
    }
}

/// The operations, one after the other, and what a crash may leave after each.
#[derive(Default)]
pub(crate) struct Crashes {
    ops: Vec<Op>,
    next: usize,
    /// On the disk.
    files: Vec<Vec<u8>>,
    names: BTreeMap<String, usize>,
    /// In the memory of the system.
    seen: Vec<Vec<u8>>,
    seen_names: BTreeMap<String, usize>,
    pieces: Vec<Piece>,
    moves: Vec<Move>,
    /// Everything promised so far.
    pub(crate) told: Told,
}

/// What is left of what was not synced: one answer for each piece and each change of names.
struct Kept<'a>(&'a dyn Fn(&Piece) -> bool, &'a dyn Fn(usize) -> bool);

impl Crashes {
    /// Goes on by one operation; no, if there is none.
    pub(crate) fn step(&mut self) -> bool {
        let (op, Some(what)) = (self.next, self.ops.get(self.next).cloned()) else { return false };
        self.next += 1;
        match what {
            Op::Told(told) => {
                self.told.durable = self.told.durable.max(told.durable);
                self.told.epoch = self.told.epoch.max(told.epoch);
            }
            Op::Create(name, file) => {
                self.files.push(Vec::new());
                self.seen.push(Vec::new());
                self.rename(Move { op, file, from: None, to: Some(name) });
            }
            Op::Rename(from, to) => {
                let file = self.seen_names[&from];
                self.rename(Move { op, file, from: Some(from), to: Some(to) });
            }
            Op::Remove(name) => {
                let file = self.seen_names[&name];
                self.rename(Move { op, file, from: Some(name), to: None });
            }
            Op::SyncNames => {
                for of in std::mem::take(&mut self.moves) {
                    of.apply(&mut self.names);
                }
            }
            Op::Write(file, offset, bytes) => {
                put(&mut self.seen[file], offset, &bytes);
                for sector in offset / SECTOR..(offset + bytes.len()).div_ceil(SECTOR) {
                    let end = self.seen[file].len().min((sector + 1) * SECTOR);
                    let image = self.seen[file][sector * SECTOR..end].to_vec();
                    self.pieces.push(Piece { op, file, sector, image, is_forgotten: false });
                }
            }
            Op::Sync(file) => self.sync(file),
            Op::FailedSync(file) => {
                let of_file = self.pieces.iter_mut().filter(|piece| piece.file == file);
                of_file.for_each(|piece| piece.is_forgotten = true);
            }
        }
        true
    }

    fn rename(&mut self, of: Move) {
        of.apply(&mut self.seen_names);
        self.moves.push(of);
    }

    /// Each sector that was written since is on the disk as it is seen; those that were forgotten are left as they are.
    fn sync(&mut self, file: usize) {
        let synced: BTreeSet<usize> = self
            .pieces
            .iter()
            .filter(|piece| piece.file == file && !piece.is_forgotten)
            .map(|piece| piece.sector)
            .collect();
        let files = &mut self.files;
        self.pieces.retain(|piece| {
            let is_synced = piece.file == file && synced.contains(&piece.sector);
            if is_synced {
                put(&mut files[file], piece.sector * SECTOR, &piece.image);
            }
            !is_synced
        });
    }

    fn build(&self, kept: &Kept<'_>) -> State {
        let mut names = self.names.clone();
        self.moves.iter().filter(|of| kept.1(of.op)).for_each(|of| of.apply(&mut names));
        let mut state = State::new();
        for (name, file) in names {
            let mut bytes = self.files[file].clone();
            for piece in self.pieces.iter().filter(|piece| piece.file == file && kept.0(piece)) {
                put(&mut bytes, piece.sector * SECTOR, &piece.image);
            }
            state.insert(name, bytes);
        }
        state
    }

    /// What is left if nothing survives but what was synced.
    pub(crate) fn least(&self) -> State {
        self.build(&Kept(&|_| false, &|_| false))
    }

    /// What a crash here may leave: nothing and everything of what was not synced, each operation alone lost or alone
    /// kept, each write torn at each sector from either end, each sector alone lost, and some chance mixtures.
    pub(crate) fn states(&self, mixtures: u64) -> Vec<State> {
        let mut states = vec![self.least(), self.build(&Kept(&|_| true, &|_| true))];
        let writes: BTreeSet<usize> = self.pieces.iter().map(|piece| piece.op).collect();
        for &one in writes.iter().chain(self.moves.iter().map(|of| &of.op)) {
            for names in [false, true] {
                states.push(self.build(&Kept(&|piece| piece.op != one, &|op| names && op != one)));
                states.push(self.build(&Kept(&|piece| piece.op == one, &|op| names || op == one)));
            }
            states.push(self.build(&Kept(&|_| true, &|op| op != one)));
            states.push(self.build(&Kept(&|_| false, &|op| op == one)));
        }
        for &one in &writes {
            let sectors: Vec<usize> =
                self.pieces.iter().filter(|piece| piece.op == one).map(|piece| piece.sector).collect();
            for &cut in &sectors[1..] {
                for others in [false, true] {
                    let torn = |is_kept: fn(usize, usize) -> bool| {
                        let of = move |piece: &Piece| {
                            if piece.op == one { is_kept(piece.sector, cut) } else { others }
                        };
                        self.build(&Kept(&of, &|_| others))
                    };
                    states.push(torn(|sector, cut| sector < cut));
                    states.push(torn(|sector, cut| sector >= cut));
                    states.push(torn(|sector, cut| sector != cut));
                }
            }
        }
        let unsynced = self.pieces.len() + self.moves.len();
        for seed in 0..if unsynced > 1 { mixtures } else { 0 } {
            let mut dice = SmallRng::seed_from_u64(seed ^ (self.next as u64) << 8);
            let pieces: Vec<bool> = self.pieces.iter().map(|_| dice.random()).collect();
            let moves: BTreeMap<usize, bool> = self.moves.iter().map(|of| (of.op, dice.random())).collect();
            let index = |piece: &Piece| self.pieces.iter().position(|other| std::ptr::eq(other, piece));
            states.push(self.build(&Kept(&|piece| pieces[index(piece).unwrap()], &|op| moves[&op])));
        }
        states
    }
}

/// A number for a state, to count different ones.
pub(crate) fn number_of(state: &State) -> u64 {
    let mut hasher = DefaultHasher::new();
    state.hash(&mut hasher);
    hasher.finish()
}
