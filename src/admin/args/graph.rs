//! The arguments of `enq graph`.

use std::path::PathBuf;

use clap::Args;

pub(super) const ABOUT: &str = "\
Draws who waits for whom in the lockspace: whoever waits for nobody on top, an arrow from each request to whoever is in its \
way, with the resource and the modes; dashed if that one is only ahead in the queue, red and bold in a deadlock. Without \
--dot and --svg it prints the same as enq blockers --tree.";

/// `enq graph`.
#[derive(Args, Clone, Debug)]
pub struct Graph {
    /// Print the graph in the language of dot(1)
    #[arg(long)]
    pub dot: bool,
    /// Draw the graph as SVG into this file; - is standard output
    #[arg(long, value_name = "FILE", conflicts_with = "dot")]
    pub svg: Option<PathBuf>,
}
