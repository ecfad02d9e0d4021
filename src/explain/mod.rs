//! A decision laid out for people: every candidate with each gate's verdict and each term of its utility, the choice,
//! the plan, what bound in one sentence, and what routers that look at one thing only would have done.

mod json;
pub mod line;
mod text;
mod words;

use crate::model::{Facts, Local, Snapshot};
use crate::place::{Inspection, inspect, routers};
use crate::policy::Policy;

pub use crate::place::routers::{Routed, Router};

/// One request, decided and laid open.
#[derive(Clone, Debug)]
pub struct Explanation<'a> {
    /// The policy that decided.
    pub policy: &'a Policy,
    /// What was known of the request.
    pub facts: &'a Facts<'a>,
    /// The decision and what it was made of.
    pub inspection: Inspection,
    /// What others would have done, in the order of [`Router::ALL`].
    pub routed: Vec<Routed>,
}

impl<'a> Explanation<'a> {
    /// Decides a request and lays it open.
    #[must_use]
    pub fn new(
        policy: &'a Policy,
        snapshot: Option<&Snapshot>,
        local: &Local,
        facts: &'a Facts<'a>,
        now_ms: u64,
        seed: u64,
    ) -> Self {
        let inspection = inspect(policy, snapshot, local, facts, now_ms, seed);
        let routed = routers::all(policy, facts, &inspection);
        Self { policy, facts, inspection, routed }
    }

    /// As text, for a terminal of 120 columns or more.
    #[must_use]
    pub fn text(&self) -> String {
        text::of(self)
    }

    /// As JSON, for programs.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        json::of(self)
    }
}
