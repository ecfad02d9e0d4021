//! The comparison as one page without scripts and without anything from elsewhere: it can be attached to a review.

use super::Report;
use super::moves::{Counted, Moves};
use super::show;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1f2328;background:#fff}\
pre{background:#f6f8fa;padding:1rem;overflow:auto;font-size:13px}svg{max-width:100%}text{font:12px system-ui,sans-serif;fill:#1f2328}\
.before{fill:#9aa4af}.after{fill:#3b6fd4}";

/// The height of one row of a plot, and where its bars begin.
const ROW: usize = 34;
const LEFT: usize = 190;
const WIDE: u64 = 420;
/// The most rows of a plot.
const MOST: usize = 40;

pub(super) fn page(report: &Report, moves: &Moves) -> String {
    let plots = [
        ("Where requests run", plot(&moves.substrates, ("before", "after"))),
        ("In whose jurisdiction", plot(&moves.jurisdictions, ("before", "after"))),
        ("Classes: all requests, and those that move", plot(&moves.classes, ("all", "move"))),
        ("Tenants: all requests, and those that move", plot(&moves.tenants, ("all", "move"))),
    ];
    let title = escape(&format!("{} → {}", report.old.label(), report.new.label()));
    let plots: String = plots.iter().map(|(head, svg)| format!("<h2>{head}</h2>\n{svg}\n")).collect();
    format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>{title}</title><style>{STYLE}</style>\n\
         <h1>{title}</h1>\n<p>{} of {} requests move.</p>\n{plots}<h2>In full</h2>\n<pre>{}</pre>\n</html>\n",
        moves.moved,
        moves.requests,
        escape(&show::text(report))
    )
}

/// Two bars a row.
fn plot(counted: &Counted, (first, second): (&str, &str)) -> String {
    let most = counted.values().map(|two| two.0.max(two.1)).max().unwrap_or(0).max(1);
    let bar = |n: u64| n * WIDE / most;
    let mut rows = String::new();
    for (at, (name, two)) in counted.iter().take(MOST).enumerate() {
        let y = 24 + at * ROW;
        let label = LEFT - 8;
        rows += &format!("<text x=\"{label}\" y=\"{}\" text-anchor=\"end\">{}</text>", y + 17, escape(name));
        for (part, (n, class)) in [(two.0, "before"), (two.1, "after")].into_iter().enumerate() {
            let (top, wide) = (y + part * 13, bar(n));
            rows += &format!("<rect class=\"{class}\" x=\"{LEFT}\" y=\"{top}\" width=\"{wide}\" height=\"12\"/>");
            let end = u64::try_from(LEFT).unwrap_or(0) + wide + 5;
            rows += &format!("<text x=\"{end}\" y=\"{}\">{n}</text>", top + 10);
        }
    }
    let height = 30 + counted.len().min(MOST) * ROW;
    let key = format!(
        "<rect class=\"before\" x=\"{LEFT}\" y=\"4\" width=\"10\" height=\"10\"/><text x=\"{}\" y=\"13\">{}</text>\
         <rect class=\"after\" x=\"{}\" y=\"4\" width=\"10\" height=\"10\"/><text x=\"{}\" y=\"13\">{}</text>",
        LEFT + 15,
        first,
        LEFT + 90,
        LEFT + 105,
        second
    );
    format!("<svg viewBox=\"0 0 700 {height}\" width=\"700\" height=\"{height}\" role=\"img\">{key}{rows}</svg>")
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
