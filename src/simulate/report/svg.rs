//! Plots: lines over time and bars, as plain SVG that takes its colours from the page.

use std::fmt::Write;

const WIDTH: u64 = 720;
const HEIGHT: u64 = 220;
const LEFT: u64 = 44;
const BOTTOM: u64 = 24;
const WHOLE: u64 = 1_000_000;

/// A line and its name.
pub(super) struct Line<'a> {
    pub(super) name: &'a str,
    pub(super) values: &'a [u64],
}

/// Shares over seconds, each averaged over five; `faults` are shaded.
pub(super) fn lines(lines: &[Line<'_>], faults: &[(u64, u64)]) -> String {
    let seconds = lines.iter().map(|l| l.values.len() as u64).max().unwrap_or(1).max(2);
    let x = |second: u64| LEFT + second * (WIDTH - LEFT - 8) / (seconds - 1);
    let y = |ppm: u64| 8 + (WHOLE - ppm.min(WHOLE)) * (HEIGHT - BOTTOM - 8) / WHOLE;
    let mut out = open(HEIGHT + 20 * (lines.len() as u64).div_ceil(3));
    for (from, until) in faults {
        let (from, until) = (x((*from).min(seconds - 1)), x((*until).min(seconds - 1)));
        let _ = write!(
            out,
            "<rect class=\"fault\" x=\"{from}\" y=\"8\" width=\"{}\" height=\"{}\"/>",
            until - from,
            HEIGHT - BOTTOM - 8
        );
    }
    for share in [0, 250_000, 500_000, 750_000, WHOLE] {
        let at = y(share);
        let _ = write!(out, "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{at}\" y2=\"{at}\"/>", WIDTH - 8);
        let _ =
            write!(out, "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{} %</text>", LEFT - 6, at + 4, share / 10_000);
    }
    for second in (0..seconds).step_by(usize::try_from((seconds / 6).max(1)).unwrap_or(1)) {
        let _ = write!(out, "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{second} s</text>", x(second), HEIGHT - 6);
    }
    for (n, line) in lines.iter().enumerate() {
        let mut points = String::new();
        for (second, window) in (2..).zip(line.values.windows(5)) {
            let _ = write!(points, "{},{} ", x(second), y(window.iter().sum::<u64>() / 5));
        }
        let _ = write!(out, "<polyline class=\"line c{}\" points=\"{}\"/>", n % 6, points.trim_end());
        let (column, row) = (n as u64 % 3, n as u64 / 3);
        let (left, top) = (LEFT + column * 225, HEIGHT + 10 + row * 20);
        let _ = write!(
            out,
            "<line class=\"line c{}\" x1=\"{left}\" x2=\"{}\" y1=\"{top}\" y2=\"{top}\"/>",
            n % 6,
            left + 22
        );
        let _ = write!(out, "<text x=\"{}\" y=\"{}\">{}</text>", left + 28, top + 4, line.name);
    }
    out + "</svg>"
}

/// One bar each, as wide as its share of the greatest; `text` stands beside it.
pub(super) fn bars(rows: &[(String, u64, String)], marked: impl Fn(&str) -> bool) -> String {
    let most = rows.iter().map(|(_, value, _)| *value).max().unwrap_or(1).max(1);
    let mut out = open(rows.len() as u64 * 20 + 8);
    for (n, (name, value, text)) in rows.iter().enumerate() {
        let top = n as u64 * 20 + 4;
        let width = value * (WIDTH - 320) / most;
        let class = if marked(name) { "c0" } else { "c5" };
        let _ = write!(out, "<text x=\"190\" y=\"{}\" text-anchor=\"end\">{name}</text>", top + 13);
        let _ =
            write!(out, "<rect class=\"bar {class}\" x=\"200\" y=\"{top}\" width=\"{}\" height=\"16\"/>", width.max(1));
        let _ = write!(out, "<text x=\"{}\" y=\"{}\">{text}</text>", 208 + width, top + 13);
    }
    out + "</svg>"
}

fn open(height: u64) -> String {
    format!("<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" xmlns=\"http://www.w3.org/2000/svg\">")
}
