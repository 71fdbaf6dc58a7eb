//! Chance: a small generator with a fixed algorithm, and draws from a Zipf distribution and from a mix.
//!
//! A turn starts from a seed of its own, the same for every server, so that all are asked for the same names in the same
//! order. Nothing here is secret or fair beyond what a load needs.

use std::sync::Arc;

/// `SplitMix64`: a good 64-bit number for each step of a counter.
#[derive(Clone, Debug)]
pub(super) struct Chance(u64);

impl Chance {
    pub(super) fn from_seed(seed: u64) -> Chance {
        Chance(seed)
    }

    /// The next 64 bits.
    pub(super) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }

    /// A number from 0 to 1, without 1.
    fn unit(&mut self) -> f64 {
        // 53 bits are what a double holds exactly.
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Draws the index of a weight as often as its share of all weights says.
#[derive(Clone, Debug)]
pub(super) struct Draw {
    /// The shares of this one and all before it; the last is 1.
    up_to: Arc<[f64]>,
}

impl Draw {
    /// By weight; there is at least one, and they are not all zero.
    pub(super) fn weighted(weights: impl Iterator<Item = f64>) -> Draw {
        let mut sum = 0.0;
        let sums: Vec<f64> = weights
            .map(|weight| {
                sum += weight;
                sum
            })
            .collect();
        Draw { up_to: sums.into_iter().map(|part| part / sum).collect() }
    }

    /// The rank k of n is drawn in proportion to 1/k^s: all alike with an exponent of 0, the first few nearly always with 2.
    pub(super) fn zipf(n: u32, exponent: f64) -> Draw {
        Draw::weighted((1..=n).map(|rank| f64::from(rank).powf(-exponent)))
    }

    /// An index.
    pub(super) fn next(&self, chance: &mut Chance) -> usize {
        let at = chance.unit();
        // Rounding may leave the last sum a little below 1.
        self.up_to.partition_point(|up_to| *up_to <= at).min(self.up_to.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(draw: &Draw, kinds: usize, draws: u32) -> Vec<f64> {
        let mut chance = Chance::from_seed(1);
        let mut counts = vec![0.0; kinds];
        for _ in 0..draws {
            counts[draw.next(&mut chance)] += 1.0;
        }
        counts
    }

    #[test]
    fn the_second_of_zipf_comes_half_as_often_as_the_first() {
        let counts = counts(&Draw::zipf(1_000, 1.0), 1_000, 400_000);
        for (rank, wanted) in [(2, 2.0), (4, 4.0), (10, 10.0)] {
            let ratio = counts[0] / counts[rank - 1];
            assert!((ratio / wanted - 1.0).abs() < 0.1, "rank {rank}: 1/{ratio}, not 1/{wanted}");
        }
        assert!(counts.iter().sum::<f64>() == 400_000.0);
    }

    #[test]
    fn an_exponent_of_zero_prefers_nobody() {
        let counts = counts(&Draw::zipf(10, 0.0), 10, 100_000);
        assert!(counts.iter().all(|count| (count / 10_000.0 - 1.0).abs() < 0.1), "{counts:?}");
    }

    #[test]
    fn a_mix_is_drawn_by_its_shares_and_nothing_beside_it() {
        let counts = counts(&Draw::weighted([80.0, 0.0, 20.0].into_iter()), 3, 100_000);
        assert!((counts[0] - 80_000.0).abs() < 1_000.0 && counts[1] == 0.0, "{counts:?}");
        assert_eq!(Draw::weighted([3.0].into_iter()).next(&mut Chance::from_seed(9)), 0);
    }

    #[test]
    fn the_same_seed_draws_the_same() {
        let (mut one, mut other) = (Chance::from_seed(7), Chance::from_seed(7));
        assert!((0..100).all(|_| one.bits() == other.bits()));
        assert_ne!(Chance::from_seed(8).bits(), Chance::from_seed(7).bits());
    }
}
