//! On a terminal: the foreground is the command's while it runs, and a stop of it is a stop of the job.
//!
//! script(1) gives a terminal, a shell with job control plays the user.

use crate::stage::{Server, end_of, said};

/// What is seen on a terminal on which this shell line runs.
async fn on_a_terminal(server: &Server, line: &str) -> String {
    let line = line.replace("enq ", &format!("{} ", env!("CARGO_BIN_EXE_enq")));
    let mut command = server.shell("exec script -qec \"$LINE\" /dev/null");
    command.env("LINE", format!("exec bash -c '{line}'")).env("TERM", "dumb");
    let output = end_of(command).await;
    assert!(said(&output).is_empty(), "{}", said(&output));
    String::from_utf8_lossy(&output.stdout).replace('\r', "")
}

#[tokio::test]
async fn the_command_has_the_foreground_and_gives_it_back() {
    let server = Server::start().await;
    // Field 5 of stat is the process group, field 8 the terminal's foreground group.
    let is_foreground = "read -r _ _ _ _ group _ _ front _ </proc/self/stat; test \"$group\" = \"$front\"";
    let line = format!(
        "set -m; enq run x -- bash -c \"{}\" && echo inside; {is_foreground} && echo after",
        is_foreground.replace('"', "\\\"").replace('$', "\\$")
    );
    assert_eq!(on_a_terminal(&server, &line).await, "inside\nafter\n");
}
