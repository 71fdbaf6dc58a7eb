//! `enq graph`, and the forms of `enq blockers` that show the whole: who waits for whom in a lockspace.
//!
//! The text in the language of dot(1) is what may be relied on; the picture is drawn from the same nodes and edges. Nodes
//! are parties, edges go from who waits to who is in the way, one for each resource between two parties.

mod drawing;
mod tree;

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path};

use enq_protocol::vocabulary::{EdgeWhy, LockView, WaitsFrom, WaitsView};

use super::{
    args::{Format, Graph, Reach},
    ask,
    chain::{self, Chain, Party},
    duration::show_ms,
    exit::Failure,
    render::{self, Column, Item, printable},
    why::WAITS_MAX,
    words,
};

/// The colour of a deadlock.
const STUCK: &str = "#c00000";

/// The colour of a root.
const ROOT: &str = "#ffe9a8";

const ROOT_COLUMNS: [Column; 8] = [
    Column("SESSION", false),
    Column("WHO", false),
    Column("LOCK", false),
    Column("RESOURCE", false),
    Column("MODE", false),
    Column("SINCE", false),
    Column("WAITING", false),
    Column("LEASE LEFT", false),
];

/// A party as it is drawn.
struct Node {
    name: String,
    lines: Vec<String>,
    is_root: bool,
    is_stuck: bool,
}

/// What one party waits for on account of another, on one resource.
struct Edge {
    from: usize,
    to: usize,
    lines: Vec<String>,
    is_held: bool,
    is_stuck: bool,
}

/// What is drawn.
struct Figure {
    nodes: Vec<Node>,
    edges: Vec<Edge>,
    is_complete: bool,
}

/// Draws the lockspace.
pub(super) async fn graph(reach: &Reach, graph: &Graph) -> Result<(), Failure> {
    let view = picture(reach).await?;
    let chain = Chain::new(&view);
    match (&graph.svg, graph.dot) {
        (Some(file), _) => write(file, &drawing::svg(&Figure::of(&chain))),
        (None, true) => render::print(&dot(&Figure::of(&chain))),
        (None, false) => render::print(&tree::text(&chain, false)),
    }
}

/// `enq blockers --tree`.
pub(super) async fn blockers_as_tree(reach: &Reach, format: Format) -> Result<(), Failure> {
    let view = picture(reach).await?;
    let chain = Chain::new(&view);
    match format {
        Format::Json => render::object("waits", &chain.json()),
        Format::Name => {
            let roots = chain.roots();
            render::print(
                &roots.iter().map(|lock| format!("{}\n", chain::root_name(lock))).collect::<String>(),
            )
        }
        Format::Table | Format::Wide => render::print(&tree::text(&chain, format == Format::Wide)),
    }
}

/// `enq blockers --roots`.
pub(super) async fn roots(reach: &Reach, format: Format) -> Result<(), Failure> {
    let view = picture(reach).await?;
    let chain = Chain::new(&view);
    let items: Vec<Item> = chain.roots().into_iter().map(|lock| root_item(&chain, lock)).collect();
    render::list(format, "roots", &ROOT_COLUMNS, &items)?;
    if !view.is_complete && matches!(format, Format::Table | Format::Wide) {
        render::print(tree::CUT)?;
    }
    Ok(())
}

fn root_item(chain: &Chain<'_>, lock: &LockView) -> Item {
    let crowd = chain.crowd(Party::of(lock));
    let session = words::session_of(lock, &chain.view.sessions);
    let cells = vec![
        lock.session.map_or_else(|| String::from("-"), |id| id.to_string()),
        words::whose(lock, &chain.view.sessions),
        lock.lock.to_string(),
        words::name(&lock.path),
        words::modes(lock),
        show_ms(lock.age_ms),
        crowd.to_string(),
        session.map_or_else(|| String::from("-"), |session| show_ms(session.lease_left_ms)),
    ];
    let mut json = words::lock_json(lock, &chain.view.sessions);
    json["waiting_behind"] = serde_json::json!(crowd);
    Item { name: chain::root_name(lock), json, cells }
}

async fn picture(reach: &Reach) -> Result<WaitsView, Failure> {
    let client = ask::client(reach).await?;
    let space = ask::space(reach, &client).await?;
    let from = WaitsFrom { lockspace: Some(space), ..WaitsFrom::default() };
    ask::within(reach, client.waits(from, WAITS_MAX)).await
}

fn write(file: &Path, text: &str) -> Result<(), Failure> {
    if file == Path::new("-") {
        return render::print(text);
    }
    fs::write(file, text).map_err(|error| Failure::system(format!("{}: {error}", file.display())))
}

impl Figure {
    fn of(chain: &Chain<'_>) -> Figure {
        let mut figure = Figure { nodes: Vec::new(), edges: Vec::new(), is_complete: chain.view.is_complete };
        let mut numbers: BTreeMap<Party, usize> = BTreeMap::new();
        let mut between: BTreeMap<(usize, usize, String), usize> = BTreeMap::new();
        // Roots come first, so that they come to stand on top.
        let roots = chain.roots();
        let waiting = chain.view.locks.iter().map(|standing| &standing.lock);
        for lock in roots.into_iter().chain(waiting) {
            figure.node(chain, lock, &mut numbers);
        }
        for wait in &chain.view.waits {
            let (Some(waiting), Some(blocker)) = (chain.standing(wait.lock), chain.standing(wait.blocker))
            else {
                continue;
            };
            let number = |lock| numbers.get(&Party::of(lock)).copied();
            let (Some(from), Some(to)) = (number(&waiting.lock), number(&blocker.lock)) else { continue };
            // Who is ahead is shown only where nobody who holds is: the picture is of what matters.
            let (name, is_held) = (words::name(&waiting.lock.path), wait.why == EdgeWhy::Held);
            let wanted = waiting.lock.requested.map_or("-", |mode| mode.letters());
            let wish = match waiting.lock.granted {
                Some(granted) => format!("{granted} to {wanted}"),
                None => wanted.to_owned(),
            };
            let obstacle = match (is_held, blocker.lock.granted, blocker.lock.requested) {
                (true, Some(granted), _) => format!("held in {granted}"),
                (_, Some(granted), Some(requested)) => format!("behind {granted} to {requested}"),
                (.., requested) => format!("behind {}", requested.map_or("-", |mode| mode.letters())),
            };
            let line = format!("wants {wish}, {obstacle}");
            let at = *between.entry((from, to, name.clone())).or_insert_with(|| {
                let lines = vec![name];
                figure.edges.push(Edge { from, to, lines, is_held, is_stuck: false });
                figure.edges.len() - 1
            });
            let edge = &mut figure.edges[at];
            edge.is_held |= is_held;
            edge.is_stuck |= wait.deadlock > 0;
            if !edge.lines.contains(&line) {
                edge.lines.push(line);
            }
        }
        for edge in figure.edges.iter().filter(|edge| edge.is_stuck) {
            figure.nodes[edge.from].is_stuck = true;
        }
        figure
    }

    fn node(&mut self, chain: &Chain<'_>, lock: &LockView, numbers: &mut BTreeMap<Party, usize>) {
        let party = Party::of(lock);
        if numbers.contains_key(&party) {
            return;
        }
        numbers.insert(party, self.nodes.len());
        let is_root = chain.requests(party).is_empty();
        let mut lines = match (lock.session, words::session_of(lock, &chain.view.sessions)) {
            (Some(id), Some(session)) => vec![
                printable(session.name.as_bytes()),
                format!("{}, process {}", printable(session.host.as_bytes()), session.pid),
                format!("session {id}{}", chain::owner(lock)),
            ],
            (Some(id), None) => vec![format!("session {id}{}", chain::owner(lock))],
            (None, _) => vec![words::whose(lock, &chain.view.sessions), format!("lock {}", lock.lock)],
        };
        lines.extend(Some(String::from("waits for nobody")).filter(|_| is_root));
        let name = format!("n{}", self.nodes.len());
        self.nodes.push(Node { name, lines, is_root, is_stuck: false });
    }
}

/// The graph in the language of dot(1).
fn dot(figure: &Figure) -> String {
    let mut text = String::from(
        "digraph waits {\n  rankdir=BT;\n  node [shape=box, style=\"rounded,filled\", fillcolor=\"white\", \
         fontname=\"sans-serif\"];\n  edge [fontname=\"sans-serif\", fontsize=11];\n",
    );
    for Node { name, lines, is_root, is_stuck } in &figure.nodes {
        let root = if *is_root { format!(", fillcolor=\"{ROOT}\"") } else { String::new() };
        let stuck = if *is_stuck { format!(", color=\"{STUCK}\", penwidth=2") } else { String::new() };
        let _ = writeln!(text, "  {name} [label=\"{}\"{root}{stuck}];", escaped(lines));
    }
    for Edge { from, to, lines, is_held, is_stuck } in &figure.edges {
        let (from, to) = (&figure.nodes[*from].name, &figure.nodes[*to].name);
        let dashed = if *is_held { "" } else { ", style=dashed" };
        let stuck = if *is_stuck {
            let dashed = if *is_held { "bold" } else { "\"bold,dashed\"" };
            format!(", color=\"{STUCK}\", fontcolor=\"{STUCK}\", style={dashed}, penwidth=3")
        } else {
            dashed.to_owned()
        };
        let _ = writeln!(text, "  {from} -> {to} [label=\"{}\"{stuck}];", escaped(lines));
    }
    if !figure.is_complete {
        text.push_str("  cut [label=\"and more: not everything is shown\", shape=plaintext];\n");
    }
    text.push_str("}\n");
    text
}

fn escaped(lines: &[String]) -> String {
    let escaped = |line: &String| line.replace('\\', "\\\\").replace('"', "\\\"");
    lines.iter().map(escaped).collect::<Vec<_>>().join("\\n")
}
