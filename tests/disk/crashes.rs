//! What a crash may leave: everything that was synced, and any part of what was not.

use super::{Op, SECTOR, State, Told, put};
use rand::{Rng, SeedableRng, rngs::SmallRng};
use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash, Hasher},
};

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
    pub(super) fn new(before: &State, ops: Vec<Op>) -> Crashes {
        let mut crashes = Crashes { ops, ..Crashes::default() };
        for (name, bytes) in before {
            crashes.names.insert(name.clone(), crashes.files.len());
            crashes.seen_names.insert(name.clone(), crashes.files.len());
            crashes.files.push(bytes.clone());
            crashes.seen.push(bytes.clone());
        }
        crashes
    }

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

    /// One of the many things that a crash here may leave.
    pub(crate) fn drawn(&self, dice: &mut impl Rng) -> State {
        let (pieces, moves) = (dice.random_range(0..=4), dice.random_range(0..=4));
        // Written in order as far as it came, or in any order.
        let came = dice.random_bool(0.5).then(|| self.pieces.len().saturating_sub(dice.random_range(0..3)));
        let mut is_kept = |at: usize| came.map_or_else(|| dice.random_ratio(pieces, 4), |came| at < came);
        let kept = self.pieces.iter().enumerate().filter(|(at, _)| is_kept(*at));
        let pieces: BTreeSet<(usize, usize)> = kept.map(|(_, piece)| (piece.op, piece.sector)).collect();
        let moves: BTreeSet<usize> =
            self.moves.iter().filter(|_| dice.random_ratio(moves, 4)).map(|of| of.op).collect();
        self.build(&Kept(&|piece| pieces.contains(&(piece.op, piece.sector)), &|op| moves.contains(&op)))
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
            states.push(
                self.build(&Kept(&|piece| pieces[index(piece).expect("it is one of them")], &|op| {
                    moves[&op]
                })),
            );
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
