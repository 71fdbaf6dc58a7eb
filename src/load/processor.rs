//! Processor time of a process of this machine, as the kernel has counted it.

use std::{fs, time::Duration};

/// User and system time of a process so far, of all its threads that live, in nanoseconds exactly; none if there is no such
/// process. Servers do not end threads while they are driven.
#[must_use]
pub fn spent(pid: u32) -> Option<Duration> {
    let mut sum = Duration::ZERO;
    for task in fs::read_dir(format!("/proc/{pid}/task")).ok()? {
        // A thread that ends in between has spent what it has spent before as well as after.
        let Ok(text) = fs::read_to_string(task.ok()?.path().join("schedstat")) else { continue };
        sum += Duration::from_nanos(text.split_whitespace().next()?.parse().ok()?);
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_counted() {
        let before = spent(std::process::id()).unwrap();
        let mut sum = 0_u64;
        while spent(std::process::id()).unwrap() < before + Duration::from_millis(20) {
            sum = (0..10_000).fold(sum, |sum: u64, n| sum.wrapping_mul(31).wrapping_add(n));
        }
        assert!(spent(u32::MAX).is_none());
    }
}
