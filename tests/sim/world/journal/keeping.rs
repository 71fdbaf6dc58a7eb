//! How the server of a world keeps its journal, if it has one, and what goes wrong with its disk: drawn from the seed, by
//! numbers of their own, so that the other worlds are as they would be without.

use super::super::clock::{MS, SECOND, Time};
use enq::log::journal::{Planted, Settings};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use std::time::Duration;

/// Sectors have so many bytes.
const SECTOR: usize = 512;

/// Everything that is drawn once.
#[derive(Clone, Debug)]
pub(crate) struct Keeping {
    /// Small segments, so that there are many.
    pub(crate) settings: Settings,
    /// How long a write and its sync take.
    pub(crate) sync: (Time, Time),
    /// Of a thousand syncs, so many stand still, for up to so long.
    pub(crate) stalls: u32,
    pub(crate) stall: Time,
    /// As many bytes of records are between two snapshots.
    pub(crate) snapshot_every: usize,
    /// More than that waiting to be written is much.
    pub(crate) crowded: usize,
    /// How long a server is gone, at most.
    pub(crate) gone: Time,
    /// Of a hundred starts, so many crash.
    pub(crate) start_crashes: u32,
    /// Of a hundred starts that find two snapshots, so many find the newer one damaged.
    pub(crate) rot: u32,
    /// Events in a hundred seconds: the process dies.
    pub(crate) deaths: u32,
    /// The machine loses its power.
    pub(crate) outages: u32,
    /// A call of the disk fails.
    pub(crate) errors: u32,
    /// There is no room for a while.
    pub(crate) fills: u32,
}

impl Keeping {
    /// Nothing goes wrong, and nothing takes long.
    pub(super) fn plain(planted: Planted) -> Keeping {
        let calm = (1..).find_map(|seed| Keeping::draw(seed, planted)).expect("half of the seeds have one");
        Keeping { deaths: 0, outages: 0, errors: 0, fills: 0, crowded: usize::MAX, ..calm }
    }

    /// What this seed says; about half of them have none.
    pub(crate) fn draw(seed: u64, planted: Planted) -> Option<Keeping> {
        let mut random = StdRng::seed_from_u64(seed ^ 0x6A6F_7572_6E61_6C73);
        if random.random_bool(0.5) {
            return None;
        }
        let slowest = *[MS / 5, 2 * MS, 20 * MS, 80 * MS].choose(&mut random).expect("not empty");
        let sectors = *[8, 16, 64].choose(&mut random).expect("not empty");
        let is_calm = random.random_ratio(1, 8);
        let mut rate = |most: u32| {
            let some = random.random_range(1..=most);
            if is_calm || random.random_bool(0.4) { 0 } else { some }
        };
        let (deaths, outages, errors, fills) = (rate(40), rate(40), rate(20), rate(15));
        Some(Keeping {
            settings: Settings {
                segment_bytes: sectors * SECTOR,
                batch_bytes: 2_800,
                spares: random.random_range(1..=2),
                spares_max: random.random_range(2..=3),
                queue_bytes: usize::MAX / 2,
                idle: Duration::from_millis(50),
                planted,
            },
            sync: (MS / 10, slowest),
            stalls: *[0, 0, 2, 10].choose(&mut random).expect("not empty"),
            stall: *[SECOND / 2, 4 * SECOND].choose(&mut random).expect("not empty"),
            snapshot_every: random.random_range(500..8_000),
            crowded: *[300, 2_000, 1 << 20].choose(&mut random).expect("not empty"),
            gone: *[20 * MS, 500 * MS, 4 * SECOND].choose(&mut random).expect("not empty"),
            start_crashes: *[0, 20, 60].choose(&mut random).expect("not empty"),
            rot: *[0, 30].choose(&mut random).expect("not empty"),
            deaths,
            outages,
            errors,
            fills,
        })
    }
}
