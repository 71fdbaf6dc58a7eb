//! What the machine has: memory, and descriptors for connections.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::{fs, path::Path};

/// The budget where nothing says how much memory there is.
const UNKNOWN: u64 = 1 << 30;

/// The least budget, whatever the machine has.
const LEAST: u64 = 64 << 20;

/// Three quarters of the memory that this process may use.
pub(super) fn memory_budget() -> usize {
    let there_is = [of_machine(), of_control_group()].into_iter().flatten().min().unwrap_or(UNKNOWN);
    usize::try_from((there_is / 4 * 3).max(LEAST)).unwrap_or(usize::MAX)
}

/// Descriptors that are not connections: listeners, the state file, the runtime's own.
const DESCRIPTORS: u64 = 64;

/// Allows this process as many descriptors as it may allow itself. Says what is wrong if they are too few for so many
/// connections.
#[must_use]
pub fn make_room_for(connections: u32) -> Option<String> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    // Where it cannot be raised, what there is counts.
    let raised = soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok();
    let limit = if raised { hard } else { soft };
    (u64::from(connections) + DESCRIPTORS > limit).then(|| {
        format!("connections_max is {connections}, but this process may open {limit} files (RLIMIT_NOFILE)")
    })
}

fn of_machine() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1_024)
}

/// The lowest limit of the control groups that this process is in.
fn of_control_group() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let limits = groups.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        match controllers {
            "" => lowest("/sys/fs/cgroup", path, "memory.max"),
            "memory" => lowest("/sys/fs/cgroup/memory", path, "memory.limit_in_bytes"),
            _ => None,
        }
    });
    limits.min()
}

/// The lowest limit in the files of that name from a group up to the root. In a container the path may name a group that
/// cannot be seen; the root then stands for it.
fn lowest(root: &str, path: &str, file: &str) -> Option<u64> {
    let group = Path::new(root).join(path.trim_start_matches('/'));
    let up = group.ancestors().take_while(|above| above.starts_with(root));
    up.filter_map(|above| fs::read_to_string(above.join(file)).ok()?.trim().parse().ok()).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_some_memory() {
        let budget = u64::try_from(memory_budget()).unwrap();
        assert!((LEAST..1 << 50).contains(&budget), "{budget}");
    }

    #[test]
    fn the_lowest_limit_on_the_way_up_counts() {
        let folder = std::env::temp_dir().join(format!("enq-machine-{}", std::process::id()));
        let inner = folder.join("a/b");
        fs::create_dir_all(&inner).unwrap();
        fs::write(folder.join("memory.max"), "max\n").unwrap();
        fs::write(folder.join("a/memory.max"), "4096\n").unwrap();
        fs::write(inner.join("memory.max"), "8192\n").unwrap();
        let root = folder.to_str().unwrap().to_owned();
        assert_eq!(lowest(&root, "/a/b", "memory.max"), Some(4_096));
        assert_eq!(lowest(&root, "/x", "memory.max"), None);
        fs::remove_dir_all(&folder).unwrap();
    }
}
