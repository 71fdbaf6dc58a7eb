//! The image of a shard.
