//! The picture: a library places the nodes and leads the edges, and what it says is written as SVG here.
//!
//! The library could write SVG itself, but it draws lines over their labels and leaves arrow heads black.

use std::fmt::Write as _;

use layout::{
    core::{
        base::Orientation,
        color::Color,
        format::{ClipHandle, RenderBackend},
        geometry::{Point, Position},
        style::{LineStyleKind, StyleAttr},
    },
    std_shapes::shapes::{Arrow, Element, LineEndKind, ShapeKind},
    topo::layout::VisualGraph,
};

use super::{Edge, Figure, Node, ROOT, STUCK};

/// Of the text in boxes, in pixels.
const FONT: f64 = 14.0;

/// From one line to the next, as a part of the font size.
const LINE: f64 = 1.3;

/// How wide a character is on average, as a part of the font size: rather too much.
const CHARACTER: f64 = 0.58;

/// What the library takes a label's characters for; it wants a square for each.
const LABEL_FONT: usize = 8;

/// Stands behind the number of an edge in its label; nothing that is printed has it.
const NUMBER_END: char = '\u{1f}';

/// Of labels, in pixels.
const LABEL: f64 = 12.0;

/// Around a box, so that edges find room.
const MARGIN: f64 = 26.0;

const CORNER: usize = 8;

/// The picture as SVG.
pub(super) fn svg(figure: &Figure) -> String {
    let mut graph = VisualGraph::new(Orientation::TopToBottom);
    let mut handles = Vec::new();
    for (at, node) in figure.nodes.iter().enumerate() {
        // An arrow from a box to itself has no way to go.
        let own = figure.edges.iter().filter(|edge| edge.from == at && edge.to == at);
        let own = own.map(|edge| format!("waits for itself: {}", edge.lines.join(" ")));
        handles.push(graph.add_node(shape(node, own)));
    }
    for (at, edge) in figure.edges.iter().enumerate().filter(|(_, edge)| edge.from != edge.to) {
        // Layers go down from the first to the second: whoever is in the way stands above.
        graph.add_edge(arrow(at, edge), handles[edge.to], handles[edge.from]);
    }
    let mut words: Vec<&str> = Vec::new();
    if figure.nodes.is_empty() {
        words.push("nobody waits");
    }
    if !figure.is_complete {
        words.push("and more: not everything is shown");
    }
    for word in words {
        let lines = vec![String::from(word)];
        let said = Node { name: String::new(), lines, is_root: false, is_stuck: false };
        graph.add_node(shape(&said, std::iter::empty()));
    }
    let labels = figure.edges.iter().map(|edge| colour_of(edge)).collect();
    let mut canvas = Canvas { labels, ..Canvas::default() };
    graph.do_it(false, false, false, &mut canvas);
    canvas.finish()
}

fn shape(node: &Node, own: impl Iterator<Item = String>) -> Element {
    let lines: Vec<String> = node.lines.iter().cloned().chain(own).collect();
    let longest = lines.iter().map(|line| line.chars().count()).max().unwrap_or(0);
    let size =
        Point::new(FONT * CHARACTER * number(longest) + 28.0, FONT * LINE * number(lines.len()) + 16.0);
    let colour = if node.is_stuck { STUCK } else { "#000000" };
    let fill = if node.is_root { ROOT } else { "#ffffff" };
    let width = if node.is_stuck { 2 } else { 1 };
    let look = StyleAttr::new(Color::fast(colour), width, Some(Color::fast(fill)), CORNER, 14);
    let shape = ShapeKind::new_box(&lines.join("\n"));
    let mut element = Element::create(shape, look, Orientation::TopToBottom, size);
    element.pos = Position::new(Point::zero(), size, Point::zero(), Point::splat(MARGIN));
    element
}

fn colour_of(edge: &Edge) -> &'static str {
    if edge.is_stuck { STUCK } else { "#404040" }
}

fn arrow(at: usize, edge: &Edge) -> Arrow {
    let style = if edge.is_held { LineStyleKind::Normal } else { LineStyleKind::Dashed };
    let width = if edge.is_stuck { 3 } else { 1 };
    let look = StyleAttr::new(Color::fast(colour_of(edge)), width, None, 0, LABEL_FONT);
    // The library forgets the look of a long edge's label: it is known again by its number.
    let text = format!("{at}{NUMBER_END}{}", edge.lines.join("\n"));
    Arrow::new(LineEndKind::Arrow, LineEndKind::None, style, &text, &look, &None, &None)
}

/// A small count as a length.
fn number(count: usize) -> f64 {
    u32::try_from(count).map_or(0.0, f64::from)
}

/// What was drawn: edges below boxes below words. Writing to a string cannot fail.
#[derive(Default)]
struct Canvas {
    edges: String,
    boxes: String,
    words: String,
    /// The colours of the edges.
    labels: Vec<&'static str>,
    width: f64,
    height: f64,
}

impl Canvas {
    fn finish(self) -> String {
        let Canvas { edges, boxes, words, width, height, .. } = self;
        let (width, height) = (width + 20.0, height + 20.0);
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" \
             height=\"{height:.0}\" viewBox=\"0 0 {width:.0} {height:.0}\">\n<style>text {{ font-family: sans-serif; \
             text-anchor: middle; }} .label {{ paint-order: stroke; stroke: #ffffff; stroke-width: 5px; \
             stroke-linejoin: round; }}</style>\n<rect width=\"100%\" height=\"100%\" \
             fill=\"#ffffff\"/>\n{edges}{boxes}{words}</svg>\n"
        )
    }

    fn grow(&mut self, to: Point) {
        self.width = self.width.max(to.x);
        self.height = self.height.max(to.y);
    }

    /// The head of an arrow that comes from there.
    fn head(&mut self, tip: Point, from: Point, look: &StyleAttr) {
        let back = from.sub(tip);
        let length = back.x.hypot(back.y).max(0.001);
        let (x, y) = (back.x / length, back.y / length);
        let size = if look.line_width > 1 { 14.0 } else { 10.0 };
        let (left, right) = ((tip.x + size * x - size * y * 0.4), (tip.x + size * x + size * y * 0.4));
        let (upper, lower) = ((tip.y + size * y + size * x * 0.4), (tip.y + size * y - size * x * 0.4));
        let colour = colour(&look.line_color);
        let _ = writeln!(
            self.boxes,
            "<polygon points=\"{:.1},{:.1} {left:.1},{upper:.1} {right:.1},{lower:.1}\" fill=\"{colour}\"/>",
            tip.x, tip.y
        );
    }
}

/// `#rrggbb`, without the transparency that the library adds.
fn colour(colour: &Color) -> String {
    let mut text = colour.to_web_color();
    text.truncate(7);
    text
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

impl RenderBackend for Canvas {
    fn draw_rect(
        &mut self,
        at: Point,
        size: Point,
        look: &StyleAttr,
        _: Option<String>,
        _: Option<ClipHandle>,
    ) {
        self.grow(at.add(size));
        let fill = look.fill_color.as_ref().map_or_else(|| String::from("none"), colour);
        let _ = writeln!(
            self.boxes,
            "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" rx=\"{}\" fill=\"{fill}\" stroke=\"{}\" \
             stroke-width=\"{}\"/>",
            at.x,
            at.y,
            size.x,
            size.y,
            look.rounded,
            colour(&look.line_color),
            look.line_width
        );
    }

    /// Nothing that is drawn here has lines of its own, or circles, or is clipped.
    fn draw_line(&mut self, _: Point, _: Point, _: &StyleAttr, _: Option<String>) {}

    fn draw_circle(&mut self, _: Point, _: Point, _: &StyleAttr, _: Option<String>) {}

    fn create_clip(&mut self, _: Point, _: Point, _: usize) -> ClipHandle {
        0
    }

    fn draw_text(&mut self, at: Point, text: &str, _: &StyleAttr) {
        let (label, text) = match text.split_once(NUMBER_END) {
            Some((number, text)) => (number.parse::<usize>().ok().and_then(|at| self.labels.get(at)), text),
            None => (None, text),
        };
        let class = label.map_or_else(String::new, |fill| format!(" class=\"label\" fill=\"{fill}\""));
        let size = if label.is_some() { LABEL } else { FONT };
        let lines: Vec<&str> = text.lines().collect();
        let first = at.y - size * LINE * (number(lines.len()) - 1.0) / 2.0 + size * 0.35;
        for (number_of_line, line) in lines.iter().enumerate() {
            let y = first + size * LINE * number(number_of_line);
            self.grow(Point::new(at.x + size * CHARACTER * number(line.chars().count()) / 2.0, y));
            let weight = if number_of_line == 0 { " font-weight=\"bold\"" } else { "" };
            let (line, x) = (escaped(line), at.x);
            let _ = writeln!(
                self.words,
                "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{size:.0}\"{weight}{class}>{line}</text>"
            );
        }
    }

    fn draw_arrow(
        &mut self,
        path: &[(Point, Point)],
        dashed: bool,
        head: (bool, bool),
        look: &StyleAttr,
        _: Option<String>,
        _: &str,
    ) {
        let ([first, second, ..], Some(last)) = (path, path.last()) else { return };
        path.iter().for_each(|(a, b)| {
            self.grow(*a);
            self.grow(*b);
        });
        let mut way = format!(
            "M {:.1} {:.1} C {:.1} {:.1}, {:.1} {:.1}, {:.1} {:.1}",
            first.0.x, first.0.y, first.1.x, first.1.y, second.0.x, second.0.y, second.1.x, second.1.y
        );
        for (control, to) in &path[2..] {
            let _ = write!(way, " S {:.1} {:.1}, {:.1} {:.1}", control.x, control.y, to.x, to.y);
        }
        let dashes = if dashed { " stroke-dasharray=\"6,4\"" } else { "" };
        let _ = writeln!(
            self.edges,
            "<path d=\"{way}\" fill=\"none\" stroke=\"{}\" stroke-width=\"{}\"{dashes}/>",
            colour(&look.line_color),
            look.line_width
        );
        if head.0 {
            self.head(first.0, first.1, look);
        }
        if head.1 {
            self.head(last.1, last.0, look);
        }
    }
}
