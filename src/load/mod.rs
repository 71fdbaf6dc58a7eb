//! The load generator: what `enq bench` drives servers with, and what its figures are made of.
//!
//! Read in this order: `workload` says what is asked of a server, `words` how that is said to enqd, to a do-nothing echo and
//! to Redis, `line` is one connection that says it, `turn` is one server driven for a moment by many connections, `contest`
//! lets several servers take turns, and `figures` is what is made of the turns.
//!
//! The rules it keeps:
//! * One write and one read a turn of a connection, however many requests are in flight: the generator must not be what is
//!   measured. Its own processor time is counted beside that of the servers.
//! * Every server is driven by the same lines; only the words differ. The floor is sent the bytes that enqd is sent.
//! * At a rate, a latency runs from the moment at which the request *should* have been sent. A server that stalls is charged
//!   for all requests that the stall has kept back.
//! * What is counted, timed and charged is the same set of requests: the last answer of a turn ends its time.
//! * On whatever server, its names stand under a root of its own, and its sessions end with their connections: whatever
//!   becomes of the generator, nothing stays.
//!
//! It never looks into a server, and knows nothing of the engine or the table.

mod contest;
mod error;
mod figures;
pub mod floor;
mod held;
mod line;
mod machine;
mod processor;
mod rate;
mod server;
mod tally;
mod turn;
pub mod words;
mod workload;
mod zipf;

pub use contest::{Contest, Contestant, Standing, allow_connections};
pub use error::LoadError;
pub use figures::Spread;
pub use held::Held;
pub use machine::Machine;
pub use processor::spent as processor_spent;
pub use rate::Rate;
pub use server::{Kind, Server};
pub use tally::{Order, write_log};
pub use turn::{Plan, Point, Turn};
pub use workload::{Mix, Names, Work, Workload};
