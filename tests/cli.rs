//! The command with a real server, real processes and real signals.
//!
//! Nothing here sleeps for a while and hopes: each step waits for a state, with a deadline that ends the test. Processes
//! of a test are found by a word in their arguments that no other test has.

#[path = "cli/bench.rs"]
mod bench;
#[path = "cli/campaign.rs"]
mod campaign;
#[path = "cli/codes.rs"]
mod codes;
#[path = "cli/deadlocks.rs"]
mod deadlocks;
#[path = "cli/drops/mod.rs"]
mod drops;
#[path = "cli/history.rs"]
mod history;
#[path = "cli/journal.rs"]
mod journal;
#[path = "cli/keeper.rs"]
mod keeper;
#[path = "cli/kept.rs"]
mod kept;
#[path = "cli/life.rs"]
mod life;
#[path = "cli/look.rs"]
mod look;
#[path = "cli/orphans.rs"]
mod orphans;
#[expect(dead_code, reason = "other tests need more of it")]
#[path = "proxy/mod.rs"]
mod proxy;
#[path = "cli/restart.rs"]
mod restart;
#[path = "cli/stage.rs"]
mod stage;
#[path = "cli/terminal.rs"]
mod terminal;
#[path = "cli/why.rs"]
mod why;
