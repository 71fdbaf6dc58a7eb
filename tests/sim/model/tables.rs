//! The tables of the rules, written down again: M1, M2, C3, V1 and the flags of R2.
//!
//! Nothing here asks the product's own tables, so that a wrong cell on either side is a difference.

use enq_protocol::vocabulary::{Flags, LockMode};

/// M1, row and column in the order NL CR CW PR PW EX.
const BESIDE: [&str; 6] = [
    "YYYYYY", // NL
    "YYYYYn", // CR
    "YYYnnn", // CW
    "YYnYnn", // PR
    "YYnnnn", // PW
    "Ynnnnn", // EX
];

/// C3: the pairs to which QUECVT is legal, from the row's mode to the column's.
const QUEUED_PAIRS: [&str; 6] = [
    "-YYYYY", // NL
    "--YYYY", // CR
    "---YYY", // CW
    "--Y-YY", // PR
    "-----Y", // PW
    "------", // EX
];

/// V1: what VALBLK does at a grant; the first row is for new locks.
const BLOCK_MOVES: [&str; 7] = [
    "RRRRRR", // (new)
    "RRRRRR", // NL
    "-RRRRR", // CR
    "--RRRR", // CW
    "---RRR", // PR
    "WWWWWR", // PW
    "WWWWWW", // EX
];

fn number(mode: LockMode) -> usize {
    match mode {
        LockMode::Nl => 0,
        LockMode::Cr => 1,
        LockMode::Cw => 2,
        LockMode::Pr => 3,
        LockMode::Pw => 4,
        LockMode::Ex => 5,
    }
}

fn cell(table: &[&str], row: usize, column: LockMode) -> u8 {
    table[row].as_bytes()[number(column)]
}

/// M1: may the two stand beside each other?
pub(crate) fn beside(a: LockMode, b: LockMode) -> bool {
    cell(&BESIDE, number(a), b) == b'Y'
}

/// M2, by its definition: everything compatible with `a` is compatible with `b`.
pub(crate) fn covers(a: LockMode, b: LockMode) -> bool {
    LockMode::ALL.into_iter().all(|other| !beside(a, other) || beside(b, other))
}

/// C3: is QUECVT legal from one mode to the other?
pub(crate) fn may_quecvt(from: LockMode, to: LockMode) -> bool {
    cell(&QUEUED_PAIRS, number(from), to) == b'Y'
}

/// What becomes of the value block at a grant.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Move {
    Read,
    Write,
    Nothing,
}

/// V1: the cell for a lock that held `before` and is granted `mode`.
pub(crate) fn block_move(before: Option<LockMode>, mode: LockMode) -> Move {
    match cell(&BLOCK_MOVES, before.map_or(0, |held| number(held) + 1), mode) {
        b'R' => Move::Read,
        b'W' => Move::Write,
        _ => Move::Nothing,
    }
}

/// F2: does a grant of this mode carry a fence?
pub(crate) fn fenced(mode: LockMode) -> bool {
    matches!(mode, LockMode::Cw | LockMode::Pr | LockMode::Pw | LockMode::Ex)
}

/// V4, C5: the two modes that own the value block.
pub(crate) fn writes_block(mode: LockMode) -> bool {
    matches!(mode, LockMode::Pw | LockMode::Ex)
}

/// The call that a flag is looked at in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    New,
    Convert,
    Release,
    ReleaseAll,
    Cancel,
    Adopt,
}

/// R2: do these flags go with this call and with each other? What depends on the lock's mode is looked at elsewhere.
pub(crate) fn legal(flags: Flags, call: Call, mode: Option<LockMode>) -> bool {
    use Call::{Adopt, Convert, New, Release, ReleaseAll};
    let table: [(Flags, &[Call]); 19] = [
        (Flags::NOQUEUE, &[New, Convert]),
        (Flags::NOORDER, &[New, Convert]),
        (Flags::HEADQUE, &[New, Convert]),
        (Flags::ALTPR, &[New, Convert]),
        (Flags::ALTCW, &[New, Convert]),
        (Flags::VALBLK, &[New, Convert, Release, Adopt]),
        (Flags::NODLCKWT, &[New, Convert]),
        (Flags::NODLCKBLK, &[New, Convert, Adopt]),
        (Flags::PERSISTENT, &[New, Convert, Adopt]),
        (Flags::SYNCSTS, &[New, Convert, Adopt]),
        (Flags::BLKAST, &[New, Convert, Adopt]),
        (Flags::NOQUEUEBAST, &[New, Convert]),
        (Flags::EXPEDITE, &[New]),
        (Flags::QUECVT, &[Convert]),
        (Flags::CONVDEADLK, &[Convert]),
        (Flags::IVVALBLK, &[Convert, Release, ReleaseAll]),
        (Flags::FORCEUNLOCK, &[Release]),
        (Flags::NOACK, &[Release]),
        (Flags::PATH, &[Release]),
    ];
    let has = |flag: Flags| flags.0 & flag.0 != 0;
    let mut known = 0;
    for (flag, calls) in table {
        known |= flag.0;
        if has(flag) && !calls.contains(&call) {
            return false;
        }
    }
    let alone = has(Flags::NOQUEUEBAST) && !has(Flags::NOQUEUE);
    let expedite = has(Flags::EXPEDITE) && (has(Flags::NOQUEUE) || mode != Some(LockMode::Nl));
    let demotion = has(Flags::CONVDEADLK) && has(Flags::NOQUEUE);
    let block = has(Flags::IVVALBLK) && has(Flags::VALBLK);
    flags.0 & !known == 0 && !alone && !expedite && !demotion && !block
}
