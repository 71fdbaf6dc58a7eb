//! Wrong secrets: how many of them came from one address, lately.
//!
//! Secrets have 128 bits and are not guessed; but whoever tries is not to be entertained. Addresses are kept for a minute,
//! and not more than there is room for.

use crate::engine::Instant;
use parking_lot::Mutex;
use std::{collections::BTreeMap, net::IpAddr};

/// Wrong secrets a minute that are looked at.
const A_MINUTE: usize = 5;

const MINUTE_MS: u64 = 60_000;

/// Addresses that are kept.
const ADDRESSES_MAX: usize = 4_096;

/// When the last wrong secrets came, by address.
#[derive(Debug, Default)]
pub(super) struct Tries {
    lately: Mutex<BTreeMap<IpAddr, [Option<Instant>; A_MINUTE]>>,
}

impl Tries {
    /// Have so many come from this address within a minute that no more are looked at?
    pub(super) fn are_too_many(&self, now: Instant, source: IpAddr) -> bool {
        let lately = self.lately.lock();
        lately.get(&source).is_some_and(|tries| tries.iter().all(|at| at.is_some_and(|at| is_late(now, at))))
    }

    /// One more has come.
    pub(super) fn count(&self, now: Instant, source: IpAddr) {
        let mut lately = self.lately.lock();
        if lately.len() >= ADDRESSES_MAX && !lately.contains_key(&source) {
            lately.retain(|_, tries| tries.iter().flatten().any(|at| is_late(now, *at)));
            if lately.len() >= ADDRESSES_MAX {
                lately.pop_first();
            }
        }
        let tries = lately.entry(source).or_default();
        tries.rotate_left(1);
        if let Some(last) = tries.last_mut() {
            *last = Some(now);
        }
    }
}

/// Was that within the last minute?
fn is_late(now: Instant, at: Instant) -> bool {
    now.ms_since(at) < MINUTE_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_a_minute_are_looked_at() {
        let tries = Tries::default();
        let (here, there) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([192, 0, 2, 1]));
        let second = |number: u64| Instant(number * 1_000_000_000);
        for number in 0..5 {
            assert!(!tries.are_too_many(second(number), here));
            tries.count(second(number), here);
        }
        assert!(tries.are_too_many(second(5), here));
        assert!(!tries.are_too_many(second(5), there));
        assert!(tries.are_too_many(second(59), here));
        assert!(!tries.are_too_many(second(60), here), "the first is a minute old");
    }

    #[test]
    fn only_so_many_addresses_are_kept() {
        let tries = Tries::default();
        for number in 0..5_000_u32 {
            tries.count(Instant(u64::from(number)), IpAddr::from(number.to_be_bytes()));
        }
        assert_eq!(tries.lately.lock().len(), ADDRESSES_MAX);
    }
}
