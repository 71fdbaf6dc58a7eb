//! `enq completion`: what a shell needs to complete our words, made from the argument definitions.

use clap::CommandFactory as _;
use clap_complete::{generate, shells};

use super::{
    args::{Enq, Shell},
    exit::Failure,
    render,
};

/// Prints the script.
pub(super) fn completion(shell: Shell) -> Result<(), Failure> {
    let mut command = Enq::command();
    let mut script = Vec::new();
    match shell {
        Shell::Bash => generate(shells::Bash, &mut command, "enq", &mut script),
        Shell::Zsh => generate(shells::Zsh, &mut command, "enq", &mut script),
        Shell::Fish => generate(shells::Fish, &mut command, "enq", &mut script),
    }
    render::print(&String::from_utf8_lossy(&script))
}
