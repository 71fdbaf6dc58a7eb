//! The state image: random histories that go on from it (`twin`), and bytes that are none.

use crate::twin::{image, taken};
use crate::{history, number};
use enq::engine::{Local, Planted};
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};

const LOCAL: Local = Local { hash_seed: 1, memory: usize::MAX, history: 0, planted: Planted::NONE };

#[test]
fn random_histories_go_on_from_images() {
    let (first, count) = (number("ENQ_SIM_SEED", 1), number("ENQ_SIM_HISTORIES", 1_000));
    for seed in first..first + count {
        if let Err(mut failure) = history::play_from_images(seed) {
            history::shrink(&mut failure);
            panic!("a history comes out otherwise\n{}", history::report(seed, &failure));
        }
    }
}

/// Bytes that are no image are refused. What is taken all the same is an image, of another state perhaps: its bytes are
/// those that were read, and it can be looked at.
fn judge(bytes: &[u8]) -> bool {
    let Ok(shard) = taken(bytes, &LOCAL) else { return false };
    assert_eq!(image(&shard), bytes, "a state has one image");
    // It may hold what no history comes to, and says so; it does not fall over.
    let _ = shard.check();
    true
}

#[test]
fn an_image_that_is_cut_is_refused() {
    for seed in 1..=30 {
        let bytes = image(&history::middle(seed).shard);
        assert!(judge(&bytes));
        for len in 0..bytes.len() {
            assert!(!judge(&bytes[..len]), "seed {seed}: {len} of {} bytes", bytes.len());
        }
    }
}

#[test]
fn bytes_that_are_no_image_hurt_nobody() {
    let mut accepted = 0;
    for seed in 1..=number("ENQ_SIM_IMAGES", 12) {
        let bytes = image(&history::middle(seed).shard);
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut bytes = bytes.clone();
                bytes[at] ^= 1 << bit;
                accepted += u64::from(judge(&bytes));
            }
        }
        let mut random = SmallRng::seed_from_u64(seed);
        for _ in 0..10_000 {
            let mut bytes = bytes.clone();
            for _ in 0..random.random_range(1..=4) {
                let at = random.random_range(0..bytes.len());
                match random.random_range(0..4) {
                    0 => bytes[at] = random.random(),
                    1 => bytes[at] = bytes[at].wrapping_add(1),
                    2 => _ = bytes.remove(at),
                    _ => bytes.insert(at, bytes[random.random_range(0..bytes.len())]),
                }
            }
            accepted += u64::from(judge(&bytes));
        }
    }
    assert!(accepted > 1_000, "only {accepted} were near enough to be looked at");
}
