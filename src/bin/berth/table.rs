//! Tables for terminals: columns as wide as what stands in them, numbers to the right.

/// Lays rows out under their heads.
pub(crate) fn table(heads: &[&str], rows: &[Vec<String>]) -> String {
    let wide = |at: usize, head: &str| {
        let cells = rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count());
        cells.chain([head.chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = heads.iter().enumerate().map(|(at, head)| wide(at, head)).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let cells = cells.zip(&widths).map(|(cell, wide)| {
            let number = cell.starts_with(|c: char| c.is_ascii_digit() || "-+$".contains(c)) && cell.len() > 1
                || cell.parse::<u64>().is_ok();
            if number { format!("{cell:>wide$}") } else { format!("{cell:wide$}") }
        });
        format!("  {}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    let mut out = line(&mut heads.iter().copied());
    for row in rows {
        out += &line(&mut row.iter().map(String::as_str));
    }
    out
}

/// Micro-dollars as dollars.
pub(crate) fn usd(uusd: i64) -> String {
    let sign = if uusd < 0 { "-" } else { "" };
    let whole = uusd.unsigned_abs();
    format!("{sign}${}.{:06}", whole / 1_000_000, whole % 1_000_000)
}

/// A part of a whole, in per cent with one decimal.
pub(crate) fn percent(part: u64, whole: u64) -> String {
    let whole = whole.max(1);
    let tenths = (part.saturating_mul(1_000).saturating_add(whole / 2)) / whole;
    format!("{}.{} %", tenths / 10, tenths % 10)
}
