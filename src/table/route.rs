//! Which shard has which tree: a keyed hash of lockspace and root name, the upper eight bits of it.
//!
//! The algorithm is fixed and the key is kept, never derived from the machine: the same name has the same shard on every
//! build and every replica. The key is secret, so that nobody can choose names that all fall to one shard.

use enq_protocol::vocabulary::{LockspaceId, ResourceName};
use siphasher::sip::SipHasher13;
use std::hash::Hasher;

/// What is no longer than this is hashed in one piece, which takes half as long.
const TOGETHER: usize = 40;

/// The way from a root name to its shard.
pub(super) struct Router {
    key: [u8; 16],
    hasher: SipHasher13,
}

impl Router {
    /// The router with this key.
    pub(super) fn new(key: [u8; 16]) -> Router {
        Router { key, hasher: SipHasher13::new_with_key(&key) }
    }

    /// Its key, for the image alone.
    pub(super) fn key(&self) -> [u8; 16] {
        self.key
    }

    /// The shard of all trees of this lockspace with this root.
    pub(super) fn shard_of(&self, lockspace: LockspaceId, root: &ResourceName) -> u8 {
        let (lockspace, name) = (lockspace.0.to_le_bytes(), root.as_bytes());
        let mut together = [0; TOGETHER];
        let hash = match together.get_mut(..lockspace.len() + name.len()) {
            Some(both) => {
                both[..lockspace.len()].copy_from_slice(&lockspace);
                both[lockspace.len()..].copy_from_slice(name);
                self.hasher.hash(both)
            }
            None => {
                let mut hasher = self.hasher;
                hasher.write(&lockspace);
                hasher.write(name);
                hasher.finish()
            }
        };
        hash.to_be_bytes()[0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routing_is_the_same_on_every_build() {
        let router = Router::new(*b"sixteen bytes...");
        let shard =
            |space, name: &[u8]| router.shard_of(LockspaceId(space), &ResourceName::new(name).unwrap());
        let shards = [shard(0, b"a"), shard(0, b"b"), shard(1, b"a"), shard(0, &[7; 255])];
        assert_eq!(shards, [32, 232, 169, 176]);
        for len in 1..=255 {
            let (mut in_two, bytes) = (router.hasher, vec![7; len]);
            in_two.write(&1_u32.to_le_bytes());
            in_two.write(&bytes);
            assert_eq!(shard(1, &bytes), in_two.finish().to_be_bytes()[0], "{len} bytes");
        }
    }
}
