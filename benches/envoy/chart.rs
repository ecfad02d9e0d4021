//! The taxes as a picture: a bar each, with its interval; readable on light and on dark.

use crate::report::Bar;
use std::fmt::Write;

const WIDTH: f64 = 760.0;
const LEFT: f64 = 270.0;
const ROW: f64 = 26.0;
const TOP: f64 = 44.0;

/// Draws it.
pub(crate) fn draw(bars: &[Bar]) -> String {
    let most = bars.iter().map(|bar| bar.tax.high).fold(1.0, f64::max);
    let step = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0].into_iter().find(|step| most / step <= 8.0).unwrap_or(100.0);
    let scale = (WIDTH - LEFT - 70.0) / most;
    let height = TOP + ROW * bars.len() as f64 + 12.0;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"13\" role=\"img\">\n\
         <title>CPU time of Envoy that each variant adds to a request, in microseconds</title>\n\
         <style>text{{fill:#1f2328}}.line{{stroke:#d0d7de}}.bar{{fill:#8c959f}}.own{{fill:#1f7a54}}.range{{stroke:#1f2328;stroke-width:1.5}}\
         @media(prefers-color-scheme:dark){{text{{fill:#e6edf3}}.line{{stroke:#3d444d}}.bar{{fill:#656c76}}.own{{fill:#3fb27f}}.range{{stroke:#e6edf3}}}}</style>\n\
         <text x=\"{LEFT}\" y=\"18\">CPU a request over no filter, µs, with its 90 % interval</text>\n"
    );
    let mut at = 0.0;
    while at <= most {
        let x = LEFT + at * scale;
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "<line class=\"line\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{height}\"/><text x=\"{x:.1}\" y=\"{:.0}\" text-anchor=\"middle\" font-size=\"11\">{at:.0}</text>",
            TOP - 6.0
        );
        at += step;
    }
    for (row, bar) in bars.iter().enumerate() {
        let y = TOP + ROW * row as f64;
        let middle = y + ROW / 2.0;
        let (value, low, high) = (bar.tax.value.max(0.0), bar.tax.low.max(0.0), bar.tax.high.max(0.0));
        let class = if bar.label.starts_with("Berth") { "own" } else { "bar" };
        let _ = writeln!(
            out,
            "<text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{}</text><rect class=\"{class}\" x=\"{LEFT}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.0}\"/>\
             <line class=\"range\" x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{middle:.1}\" y2=\"{middle:.1}\"/><text x=\"{:.1}\" y=\"{:.1}\">{:.1}</text>",
            LEFT - 8.0,
            middle + 4.5,
            bar.label,
            y + 4.0,
            value * scale,
            ROW - 8.0,
            LEFT + low * scale,
            LEFT + high * scale,
            LEFT + high * scale + 6.0,
            middle + 4.5,
            bar.tax.value,
        );
    }
    out.push_str("</svg>\n");
    out
}
