//! What a class is worth, where that can never move a decision.

use super::{Field, Item, Lint};
use crate::model::Class;
use crate::policy::{codes, path::Path};

impl Lint<'_> {
    /// All of them nothing; or one that was written down on purpose and weighs what is the same everywhere.
    pub(super) fn worth(&mut self, class: &Class, index: usize) {
        let at = [Field("classes"), Item(index), Field("worth")];
        let worth = class.worth;
        if worth.answer_uusd == 0 && worth.second_uusd == 0 && worth.failure_uusd == 0 {
            return self.note(codes::IDLE_WORTH, &at, class.name.to_string(), "a worth above 0 in one of its terms");
        }
        let idle = [
            ("answer_usd", worth.answer_uusd, self.quality_is_idle(), "offers of different `quality`, or a `margin`"),
            ("failure_usd", worth.failure_uusd, self.risk_is_idle(), "`adaptive.risk`, or a `prior_failure` above 0"),
        ];
        for (term, uusd, idle, expected) in idle {
            let steps = [&at[..], &[Field(term)]].concat();
            let written = Path { base: "", steps: &steps }.of(self.root).is_some();
            if idle && uusd > 0 && written {
                self.note(codes::IDLE_WORTH, &steps, class.name.to_string(), expected);
            }
        }
    }

    /// Nobody is taken to fail, whatever is measured. (A `prior_failure` would still widen the margin of equals.)
    const fn risk_is_idle(&self) -> bool {
        let settings = &self.document.settings;
        !settings.adaptive.risk && settings.prior_failure_ppm == 0
    }

    /// All answers are of one quality, and nothing is measured in shares of what they are worth.
    fn quality_is_idle(&self) -> bool {
        let selection = &self.document.settings.selection;
        let mut qualities =
            self.document.substrates.iter().flat_map(|s| &s.capabilities.models).map(|model| model.quality_ppm);
        let first = qualities.next();
        let shares = [selection.margin_ppm, selection.margin_per_second_ppm, selection.affinity_ppm];
        shares == [0; 3] && qualities.all(|quality| Some(quality) == first)
    }
}
