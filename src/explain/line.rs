//! A decision's record read back from a log: the members of an RFC 9651 dictionary as far as Berth writes them, and
//! the same in sentences for whoever is on call.

use crate::model::{Code, Dimension};
use core::fmt::Write;

/// How every record begins.
pub const BEGINS: &str = "v=1, id=\"";

/// A value with its parameters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Item {
    /// The value, without quotes.
    pub value: String,
    /// `;name=value` behind it, in order; a bare one has an empty value.
    pub params: Vec<(String, String)>,
}

impl Item {
    /// A parameter.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn parse(text: &str) -> Self {
        let mut parts = text.split(';');
        let value = parts.next().unwrap_or_default().trim_matches('"');
        Self { value: value.into(), params: parts.map(pair).collect() }
    }
}

fn pair(param: &str) -> (String, String) {
    param.split_once('=').map_or((param.into(), String::new()), |(k, v)| (k.into(), v.into()))
}

/// One member of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Member {
    key: String,
    items: Vec<Item>,
    /// Of a list as a whole.
    params: Vec<(String, String)>,
}

/// A decision's record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    members: Vec<Member>,
}

impl Line {
    /// Reads a record.
    ///
    /// # Errors
    /// Why it is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if !text.starts_with(BEGINS) {
            let start: String = text.chars().take(24).collect();
            return Err(format!("`{start}`: no decision record of version 1"));
        }
        let mut members = Vec::new();
        for member in text.split(", ") {
            let (key, value) = match member.split_once('=') {
                Some((key, value)) if !key.contains(';') => (key, value),
                _ => (member, ""),
            };
            if key.is_empty() || !key.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)) {
                return Err(format!("`{member}`: no member of a decision record; was the line cut off?"));
            }
            let (items, params) = match value.strip_prefix('(') {
                Some(list) => {
                    let (list, params) =
                        list.split_once(')').ok_or_else(|| format!("`{member}`: the list does not end"))?;
                    (list.split(' ').map(Item::parse).collect(), params.split(';').skip(1).map(pair).collect())
                }
                None => (vec![Item::parse(value)], Vec::new()),
            };
            members.push(Member { key: key.into(), items, params });
        }
        Ok(Self { members })
    }

    /// A member's values: one, unless it is a list.
    #[must_use]
    pub fn items(&self, name: &str) -> &[Item] {
        self.members.iter().find(|member| member.key == name).map_or(&[], |member| &member.items)
    }

    /// What is said of a list as a whole.
    #[must_use]
    pub fn list_params(&self, name: &str) -> &[(String, String)] {
        self.members.iter().find(|member| member.key == name).map_or(&[], |member| &member.params)
    }

    /// A member.
    #[must_use]
    pub fn item(&self, name: &str) -> Option<&Item> {
        self.items(name).first()
    }

    /// A member's value.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.item(name).map(|item| item.value.as_str())
    }

    /// The names of all members, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(|member| member.key.as_str())
    }

    /// What differs from another record, member by member: `name: this → that`.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let mut names: Vec<&str> = self.names().chain(other.names()).collect();
        names.sort_unstable();
        names.dedup();
        let said = |line: &Self, name| {
            let items: Vec<String> = line.items(name).iter().map(written).collect();
            let of_all = written_params(line.list_params(name));
            if items.is_empty() { String::from("absent") } else { items.join(" ") + &of_all }
        };
        let differs =
            |name: &&str| self.items(name) != other.items(name) || self.list_params(name) != other.list_params(name);
        names
            .into_iter()
            .filter(differs)
            .map(|name| format!("{name}: {} → {}", said(self, name), said(other, name)))
            .collect()
    }

    /// The record in sentences.
    #[must_use]
    pub fn sentences(&self) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = self.tell(&mut out);
        out
    }

    fn tell(&self, out: &mut String) -> core::fmt::Result {
        let get = |name| self.get(name).unwrap_or("?");
        writeln!(out, "Decision {} by policy {}.", get("id"), get("policy"))?;
        let by = match self.item("class").and_then(|class| class.param("by")) {
            Some("claim") => ", chosen by facts that anybody can write, so never better treated than without them",
            Some("default") => ", the default: nothing else matched",
            _ => "",
        };
        writeln!(out, "The work was of class {}{by}.", get("class"))?;
        match self.get("refused") {
            Some(status) => writeln!(out, "It was refused with {status}: {}.", reason(get("reason")))?,
            None => self.placed(out)?,
        }
        self.bound(out)?;
        let picture = match self.get("fresh") {
            Some("live") => "which was fresh",
            Some("uncertain") => "which was old, so the choice was spread wider",
            _ => "which was too old or missing, so declared values decided",
        };
        writeln!(out, "It was decided from the picture of epoch {}, {picture}.", get("epoch"))
    }

    fn placed(&self, out: &mut String) -> core::fmt::Result {
        let get = |name| self.get(name).unwrap_or("?");
        let cost: i64 = get("cost").parse().unwrap_or(0);
        let egress = self.item("cost").and_then(|cost| cost.param("egress")?.parse().ok());
        let egress = egress.map_or_else(String::new, |uusd| format!(", {} of it egress", super::words::usd(uusd)));
        writeln!(out, "It went to {}, expected to cost {}{egress}.", get("substrate"), super::words::usd(cost))?;
        let crossed = |item: &Item| item.param("x").map(|x| x.replace('+', ", "));
        if let Some(spill) = self.item("spill") {
            let crossed = crossed(spill).map_or_else(|| String::from("no border"), |x| format!("the border of {x}"));
            writeln!(out, "That is a spillover: its home would have been {}; it crossed {crossed}.", spill.value)?;
            let added = |key| spill.param(key).and_then(|n| n.parse::<i64>().ok());
            if let (Some(cost), Some(egress), Some(us)) = (added("cost"), added("egress"), added("us")) {
                let more = |n: i64, said: String| format!("{said} {}", if n < 0 { "less" } else { "more" });
                let usd = |n: i64| more(n, super::words::usd(n.saturating_abs()));
                let ms = more(us, super::words::ms(us.saturating_abs()));
                writeln!(
                    out,
                    "Against home that is {} by expectation, {} of egress, and {ms}.",
                    usd(cost),
                    usd(egress)
                )?;
            }
        }
        if let [_, later @ ..] = self.items("plan")
            && !later.is_empty()
        {
            let later: Vec<String> = later.iter().map(written).collect();
            writeln!(out, "Had that failed before an answer began, next would have been {}.", later.join(", then "))?;
        }
        if self.get("last-resort").is_some() {
            writeln!(out, "It was the last resort: of several, nothing else stood.")?;
        }
        Ok(())
    }

    fn bound(&self, out: &mut String) -> core::fmt::Result {
        let binding = self.item("binding");
        let dimension = binding.map_or("none", |b| b.value.as_str());
        if dimension == "none" {
            return writeln!(out, "Nothing better was kept away.");
        }
        let code = binding
            .and_then(|b| b.param("by"))
            .map_or_else(String::new, |code| format!(": {}", reason(&format!("{dimension}/{code}"))));
        let joint = if binding.and_then(|b| b.param("joint")).is_some() { ", among other dimensions" } else { "" };
        writeln!(out, "But for {dimension}{joint} it would have been {}{code}.", self.get("unbound").unwrap_or("?"))
    }
}

fn written(item: &Item) -> String {
    item.value.clone() + &written_params(&item.params)
}

fn written_params(params: &[(String, String)]) -> String {
    let param =
        |(key, value): &(String, String)| if value.is_empty() { format!(";{key}") } else { format!(";{key}={value}") };
    params.iter().map(param).collect()
}

/// `dimension/code`, with what the documentation says of it, as far as its first bracket.
fn reason(code: &str) -> String {
    let known = Code::ALL.iter().find(|c| {
        let dimension: Dimension = c.dimension();
        code.split_once('/').is_some_and(|(d, word)| d == dimension.as_str() && word == c.as_str())
    });
    let Some(known) = known else { return code.into() };
    let text = known.meaning().trim();
    let short = text.split(" (").next().unwrap_or(text).trim_end_matches('.');
    format!("{short} ({code})")
}

#[cfg(test)]
mod tests {
    use super::Line;

    const SPILLED: &str = "v=1, id=\"00000000000000ff\", class=chat;by=default, substrate=de, binding=availability;joint;by=queue-full, \
        unbound=fr, epoch=7, policy=\"p@1#0a0b0c0d\", fresh=live, plan=(de;x=zone+jurisdiction us), cost=42;regime=spot;egress=3, spill=fr;x=zone+jurisdiction;why=queue-full;cost=-7;egress=2;us=-31000, last-resort";

    #[test]
    fn every_member_is_read_back() {
        let line = Line::parse(SPILLED).unwrap();
        assert_eq!(line.get("policy"), Some("p@1#0a0b0c0d"));
        assert_eq!(line.item("binding").unwrap().param("by"), Some("queue-full"));
        assert_eq!(line.items("plan").iter().map(|i| i.value.as_str()).collect::<Vec<_>>(), ["de", "us"]);
        assert_eq!(line.item("spill").unwrap().param("x"), Some("zone+jurisdiction"));
        assert_eq!(line.get("last-resort"), Some(""));
    }

    #[test]
    fn sentences_say_where_why_and_what_was_crossed() {
        let told = Line::parse(SPILLED).unwrap().sentences();
        for part in [
            "went to de, expected to cost $0.000042, $0.000003 of it egress.",
            "home would have been fr",
            "Against home that is $0.000007 less by expectation, $0.000002 more of egress, and 31 ms less.",
            "border of zone, jurisdiction",
            "last resort",
            "But for availability",
        ] {
            assert!(told.contains(part), "{part} is missing from\n{told}");
        }
        let told = Line::parse(&SPILLED.replace("spot;egress=3", "spot")).unwrap().sentences();
        assert!(told.contains("went to de, expected to cost $0.000042.\n"), "{told}");
    }

    #[test]
    fn what_is_said_of_a_list_as_a_whole_is_read_and_compared() {
        let hedged = Line::parse(&SPILLED.replace(" us), cost", " us);hedge, cost")).unwrap();
        assert_eq!(hedged.list_params("plan"), [(String::from("hedge"), String::new())]);
        assert_eq!(hedged.items("plan").last().unwrap().value, "us");
        let differences = hedged.differences(&Line::parse(SPILLED).unwrap());
        assert_eq!(differences, ["plan: de;x=zone+jurisdiction us;hedge → de;x=zone+jurisdiction us"]);
    }

    #[test]
    fn a_line_that_was_cut_off_is_refused() {
        assert!(Line::parse("v=1, id=\"00\", plan=(a b").is_err());
        assert!(Line::parse("v=2, id=\"00\"").is_err());
    }

    #[test]
    fn differences_name_the_member() {
        let other = Line::parse(&SPILLED.replace("substrate=de", "substrate=fr")).unwrap();
        assert_eq!(Line::parse(SPILLED).unwrap().differences(&other), ["substrate: de → fr"]);
    }
}
