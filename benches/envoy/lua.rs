//! The Lua filter: the script with this world's table, cut to what it is to leave behind.

use crate::world::{self, Declared};
use std::fmt::Write;

const SCRIPT: &str = include_str!("place.lua");
const BARE: &str = "--[[bare: the cluster and nothing else]]";
const EQUAL: &str = "--[[equal: all that Berth leaves by default]]";
const END: &str = "--[[end]]";

/// What the script leaves behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaves {
    /// The cluster.
    Cluster,
    /// Everything that Berth does by default.
    Equal,
}

/// The script over so many substrates.
pub(crate) fn script(size: usize, leaves: Leaves) -> String {
    let mut rows = String::new();
    let home = world::home(size);
    for Declared { name, country, quality_ppm, first_token_ms, output_pusd } in world::substrates(size) {
        let crosses = match () {
            () if name == home.name => "nil",
            () if country == home.country => "\"zone\"",
            () => "\"zone+jurisdiction\"",
        };
        // Writing to a String cannot fail.
        let _ = writeln!(
            rows,
            r#"  {{"{name}", "{country}", {crosses}, {quality_ppm}, {first_token_ms}, {output_pusd}}},"#
        );
    }
    let (before, rest) = SCRIPT.split_once(BARE).unwrap();
    let (bare, rest) = rest.split_once(EQUAL).unwrap();
    let (equal, after) = rest.split_once(END).unwrap();
    let middle = if leaves == Leaves::Cluster { bare } else { equal };
    let mut text = format!("{before}{middle}{after}").replace("--[[substrates]]", &rows);
    for (word, value) in [
        ("ANSWER", world::ANSWER_UUSD),
        ("SECOND", world::SECOND_UUSD),
        ("PREFILL", world::PREFILL_MS_PER_KTOK),
        ("PER_TOKEN", world::MS_PER_TOKEN),
        ("INPUT", world::INPUT_PUSD),
        ("USUAL", world::OUTPUT_TOKENS),
    ] {
        text = text.replace(word, &value.to_string());
    }
    text.replace("DEADLINE", &format!("\"{}\"", world::DEADLINE_MS))
        .replace("TRY", &format!("\"{}\"", world::DEADLINE_MS / 3))
}
