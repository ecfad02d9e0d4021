//! The comparison as tables and as JSON.

use super::Report;
use super::moves::{Counted, Moves, Two};
use crate::table::{percent, table, usd};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The most routes that text shows; JSON has them all.
const SHOWN: usize = 30;

pub(super) fn text(report: &Report) -> String {
    let mut out = format!("{} → {}\n", report.old.label(), report.new.label());
    if report.changes.is_empty() {
        out += "No difference in meaning.\n";
    }
    for change in &report.changes {
        out += &format!("{} {}\n", change.what, change.how);
        change.fields.iter().for_each(|field| out += &format!("  {field}\n"));
    }
    if let Some(moves) = &report.moves {
        out += "\n";
        out += &requests(moves);
    }
    out
}

fn requests(moves: &Moves) -> String {
    let mut out =
        format!("{} of {} requests move ({})\n", moves.moved, moves.requests, percent(moves.moved, moves.requests));
    if moves.without_snapshot > 0 {
        out +=
            &format!("{} without their snapshot: both policies decided from declared values\n", moves.without_snapshot);
    }
    for (why, count) in &moves.undecided {
        out += &format!("{count} not decidable: {why}\n");
    }
    let before = |d: &str, two: Two<u64>| vec![String::from(d), two.0.to_string(), two.1.to_string()];
    let mean = |us: i64| format!("{} ms", us / 1_000 / i64::try_from(moves.placed_by_both.max(1)).unwrap_or(1));
    out += "\n";
    out += &table(
        &["in all", "before", "after"],
        &[
            before("refused", moves.refused),
            before("spilled over", moves.spilled),
            before("… over a jurisdiction", moves.spilled_over_jurisdiction),
            vec!["cost, expected".into(), usd(moves.cost_uusd.0), usd(moves.cost_uusd.1)],
            vec!["time, expected mean".into(), mean(moves.latency_us.0), mean(moves.latency_us.1)],
        ],
    );
    for (head, counted) in [("ran on", &moves.substrates), ("jurisdiction", &moves.jurisdictions)] {
        out += &format!("\n{}", table(&[head, "before", "after"], &rows(counted)));
    }
    for (head, counted) in [("class", &moves.classes), ("tenant", &moves.tenants)] {
        out += &format!("\n{}", table(&[head, "requests", "move"], &rows(counted)));
    }
    for (says, counts) in [("become forbidden", &moves.forbidden), ("become permitted", &moves.permitted)] {
        for (reason, count) in counts {
            out += &format!("\n{count} {says}: {reason}\n");
        }
    }
    if !moves.routes.is_empty() {
        let mut routes: Vec<_> = moves.routes.iter().collect();
        routes.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let row = |((class, tenant, from, to), count): &(&(String, String, String, String), &u64)| {
            vec![class.clone(), tenant.clone(), from.clone(), to.clone(), count.to_string()]
        };
        let shown: Vec<_> = routes.iter().take(SHOWN).map(row).collect();
        out += &format!("\n{}", table(&["class", "tenant", "from", "to", "requests"], &shown));
    }
    out
}

fn rows(counted: &Counted) -> Vec<Vec<String>> {
    counted.iter().map(|(name, two)| vec![name.clone(), two.0.to_string(), two.1.to_string()]).collect()
}

pub(super) fn json(report: &Report) -> Value {
    let changes: Vec<_> =
        report.changes.iter().map(|c| json!({"what": c.what, "how": c.how, "fields": c.fields})).collect();
    json!({
        "old": report.old.label(), "new": report.new.label(), "changes": changes,
        "requests": report.moves.as_ref().map(sums),
    })
}

fn sums(m: &Moves) -> Value {
    let two = |counted: &Counted, first: &str, second: &str| {
        counted.iter().map(|(name, t)| (name.clone(), json!({first: t.0, second: t.1}))).collect::<BTreeMap<_, _>>()
    };
    let routes: Vec<_> = m
        .routes
        .iter()
        .map(|((class, tenant, from, to), n)| json!({"class": class, "tenant": tenant, "from": from, "to": to, "requests": n}))
        .collect();
    json!({
        "all": m.requests, "moved": m.moved, "without_snapshot": m.without_snapshot, "not_decidable": m.undecided,
        "without_decision": m.foreign,
        "refused": {"before": m.refused.0, "after": m.refused.1},
        "spilled": {"before": m.spilled.0, "after": m.spilled.1},
        "spilled_over_jurisdiction": {"before": m.spilled_over_jurisdiction.0, "after": m.spilled_over_jurisdiction.1},
        "cost_uusd": {"before": m.cost_uusd.0, "after": m.cost_uusd.1},
        "expected_us": {"before": m.latency_us.0, "after": m.latency_us.1, "requests": m.placed_by_both},
        "classes": two(&m.classes, "requests", "move"), "tenants": two(&m.tenants, "requests", "move"),
        "substrates": two(&m.substrates, "before", "after"), "jurisdictions": two(&m.jurisdictions, "before", "after"),
        "become_forbidden": m.forbidden, "become_permitted": m.permitted, "routes": routes,
    })
}
