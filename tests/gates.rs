//! Fences against what they are for: a PostgreSQL database, a store of objects, and holders that were stopped in the
//! middle of a write.
//!
//! The gates of the client library are the yardstick: what the SQL of `examples/gate/gate.sql` and the pattern of
//! `examples/gate/object.rs` accept and refuse is what they do.

#[path = "gates/database.rs"]
mod database;
#[path = "../examples/gate/object.rs"]
mod object;
#[path = "gates/postgres.rs"]
mod postgres;
#[path = "gates/stage.rs"]
mod stage;
#[path = "gates/store.rs"]
mod store;
#[path = "gates/zombie.rs"]
mod zombie;
