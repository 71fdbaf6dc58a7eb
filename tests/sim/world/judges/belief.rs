//! X3: two client libraries never both answer "held" for conflicting modes at one moment, as long as all clocks are right
//! within one per cent.

use super::super::client::Client;
use super::super::clock::Time;
use super::Wrong;
use crate::model::beside;

/// Whose word counts: an administrator who ends a session, and a connection that a session is bound to, ask no clock.
fn counts(client: &&Client) -> bool {
    !client.expelled && !client.bound
}

pub(crate) fn look(clients: &[Client], now: Time) -> Result<(), Wrong> {
    let mut held = Vec::new();
    for client in clients.iter().filter(counts) {
        held.extend(client.beliefs(now).into_iter().map(|(place, mode)| (client.number, place, mode)));
    }
    for (at, (one, place, mode)) in held.iter().enumerate() {
        for (other, elsewhere, another) in &held[at + 1..] {
            if place == elsewhere && !beside(*mode, *another) {
                return Err(format!(
                    "X3: client {one} believes to hold {mode} of place {place}, and client {other} {another}"
                ));
            }
        }
    }
    Ok(())
}
