//! The same decision once more, in plain Rust, for the server that is asked over gRPC.

use crate::world::{self, Declared};

/// The substrates as arrays, and what is the same for all requests.
#[derive(Debug)]
pub(crate) struct Placer {
    names: Vec<String>,
    planned: Vec<String>,
    europe: Vec<bool>,
    constant: Vec<i64>,
    input: i64,
    output: Vec<i64>,
    spends: Vec<i64>,
}

/// What a request says.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Asked<'a> {
    tenant: &'a [u8],
    class: &'a [u8],
    id: &'a [u8],
    tokens: i64,
    model: bool,
}

impl<'a> Asked<'a> {
    /// Takes one header over.
    pub(crate) fn take(&mut self, name: &[u8], value: &'a [u8]) {
        match name {
            b"x-tenant" => self.tenant = value,
            b"x-workload" => self.class = value,
            b"x-request-id" => self.id = value,
            b"x-model" => self.model = value == b"llama-3.3-70b",
            b"x-prompt-tokens" => {
                self.tokens = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
            }
            _ => {}
        }
    }
}

/// What is to be left behind.
#[derive(Debug)]
pub(crate) struct Answer<'a> {
    pub(crate) plan: [&'a str; 3],
    pub(crate) record: String,
}

impl Placer {
    /// Of a world of this size.
    pub(crate) fn new(size: usize) -> Self {
        let all = world::substrates(size);
        let home = world::home(size);
        let planned = |d: &Declared| match () {
            () if d.name == home.name => d.name.clone(),
            () if d.country == home.country => format!("{};x=zone", d.name),
            () => format!("{};x=zone+jurisdiction", d.name),
        };
        let per_output = world::MS_PER_TOKEN * 1_000 * world::SECOND_UUSD;
        Self {
            names: all.iter().map(|d| d.name.clone()).collect(),
            planned: all.iter().map(planned).collect(),
            europe: all.iter().map(|d| d.country != "US").collect(),
            constant: all
                .iter()
                .map(|d| d.quality_ppm * world::ANSWER_UUSD - d.first_token_ms * 1_000 * world::SECOND_UUSD)
                .collect(),
            input: -world::PREFILL_MS_PER_KTOK * world::SECOND_UUSD - world::INPUT_PUSD,
            output: all.iter().map(|d| -per_output - d.output_pusd).collect(),
            spends: all.iter().map(|d| d.output_pusd).collect(),
        }
    }

    /// Decides; `None` is a refusal.
    pub(crate) fn place(&self, asked: &Asked<'_>) -> Option<Answer<'_>> {
        let europe = match asked.tenant {
            b"acme" | b"globex" => true,
            b"initech" => false,
            _ => return None,
        };
        if !asked.model {
            return None;
        }
        let mut plan = [(i64::MIN, 0); 3];
        let mut other = (i64::MIN, 0);
        let rows = self.constant.iter().zip(&self.output).zip(&self.europe).enumerate();
        for (i, ((constant, output), here)) in rows {
            let row = (constant + self.input * asked.tokens + output * world::OUTPUT_TOKENS, i);
            if *here != europe {
                other = other.max(row);
            } else if row > plan[2] {
                plan[2] = row;
                plan.sort_unstable_by(|a, b| b.cmp(a));
            }
        }
        let [a, b, c] = plan.map(|(_, i)| i);
        let bound = other.0 > plan[0].0;
        let cost = (world::INPUT_PUSD * asked.tokens + self.spends[a] * world::OUTPUT_TOKENS + 500_000) / 1_000_000;
        let record = format!(
            "v=1, id=\"{}\", class={}, substrate={}, binding={}{}, epoch=0, policy=\"bench@1#9f2c41ab\", fresh=stale, \
             plan=({} {} {}), cost={cost}",
            String::from_utf8_lossy(asked.id),
            String::from_utf8_lossy(asked.class),
            self.names[a],
            if bound { "sovereignty;by=jurisdiction, unbound=" } else { "none" },
            if bound { &self.names[other.1] } else { "" },
            self.planned[a],
            self.planned[b],
            self.planned[c],
        );
        Some(Answer { plan: [a, b, c].map(|i| self.names[i].as_str()), record })
    }
}
