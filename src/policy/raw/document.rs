//! The whole document.

use super::{
    MOST_ITEMS, MOST_WORDS, class::class, envelope::envelope, settings as set, substrate, thresholds::thresholds,
};
use crate::model::{Country, Document, Identity, Name, settings::Settings};
use crate::policy::{
    codes,
    countries::{OneCountry, SetName, sorted},
    forms::{Named, Text, ratio, whole},
    source::{Form, Shape, Source, Wrong, must_to, one_to, up_to},
    time::Moment,
    tree::Value,
};

/// The version of the schema.
#[derive(Clone, Copy, Debug)]
pub struct Version;

impl Form for Version {
    type Out = ();
    fn read(&self, value: &Value) -> Result<(), Wrong> {
        match value {
            Value::Number(1.0) => Ok(()),
            _ => Err(Wrong::new(codes::VERSION, "1, the schema version that this release reads")),
        }
    }
    fn shape(&self) -> Shape {
        whole::<u32>(1, 1).shape()
    }
    fn show(&self, (): &()) -> String {
        String::from("1")
    }
}

/// The document.
#[inline(never)]
pub fn document<S: Source>(s: &mut S) -> Option<Document> {
    s.required("berth", "The version of the schema.", Version);
    let identity = s.section("policy", "Whose policy this is.", identity);
    let jurisdictions =
        s.map("jurisdictions", "Named sets of countries, for `permit` and `forbid`.", (SetName, CountryList));
    let substrates = s.sections("substrates", "The places that can run work.", substrate::COUNT, substrate::substrate);
    let classes = s.sections("classes", "The kinds of work: the first that matches wins.", must_to(MOST_ITEMS), class);
    let default_class: Option<Name> =
        s.required("default_class", "The class of requests that match none, and of which nothing is known.", Named);
    let sets = jurisdictions.as_slice();
    let envelopes = s.sections("envelopes", "The governance envelopes, in any order. What no envelope permits is refused; what one that applies does not permit, is refused too.", must_to(MOST_ITEMS), |s| envelope(s, sets));
    let settings = settings(s);
    Some(Document {
        identity: identity?,
        jurisdictions,
        substrates,
        classes,
        default_class: default_class?,
        envelopes,
        settings: settings?,
    })
}

/// A list of countries as one value.
#[derive(Clone, Copy, Debug)]
struct CountryList;

impl Form for CountryList {
    type Out = Vec<Country>;
    fn read(&self, value: &Value) -> Result<Vec<Country>, Wrong> {
        let Value::List(items) = value else { return Err(Wrong::new(codes::WRONG_TYPE, "a list of country codes")) };
        if items.is_empty() || items.len() > MOST_WORDS {
            return Err(Wrong::new(codes::BAD_COUNT, format!("1 to {MOST_WORDS} country codes")));
        }
        let read = |item: &crate::policy::tree::Node| {
            let part = || Some((item.at, item.value.to_string()));
            OneCountry.read(&item.value).map_err(|wrong| Wrong { part: part(), ..wrong })
        };
        items.iter().map(read).collect::<Result<Vec<_>, _>>().map(sorted)
    }
    fn shape(&self) -> Shape {
        Shape::List(Box::new(OneCountry.shape()), one_to(MOST_WORDS))
    }
    fn show(&self, value: &Vec<Country>) -> String {
        value.iter().map(Country::as_str).collect::<Vec<_>>().join(", ")
    }
}

#[inline(never)]
fn identity<S: Source>(s: &mut S) -> Option<Identity> {
    let name = s.required("name", "Its name; stands on every decision.", Named);
    let version = s.required("version", "Counted up by its owner with every change.", whole::<u32>(1, 1_000_000_000));
    let owner = s.required("owner", "Who answers for it.", Text(256));
    let approved_by = s.list("approved_by", "Who approved it.", Text(256), up_to(MOST_WORDS));
    let effective = s.optional("effective", "From when it is meant to hold; recorded, not enforced.", Moment);
    Some(Identity {
        name: name?,
        version: version?,
        owner: owner?,
        approved_by: approved_by.unwrap_or_default(),
        effective: effective.map(|moment| moment.written),
    })
}

#[inline(never)]
fn settings<S: Source>(s: &mut S) -> Option<Settings> {
    let thresholds = s.section_or_empty(
        "thresholds",
        "When a substrate of some kind is too full for new work; `none` where a signal does not count.",
        thresholds,
    );
    let selection = s.section_or_empty("selection", "How one is chosen among those that stand.", set::selection);
    let shedding = s.section_or_empty("shedding", "How admission gives way under load.", set::shedding);
    let ages = s.section_or_empty("ages", "When a signal is old.", set::ages);
    let breaking = s.section_or_empty("breaking", "Circuits and admission.", set::breaking);
    let headroom_ppm = s.or("headroom", "Capacity kept free everywhere, for failures.", ratio(), 150_000);
    let prior_failure_ppm =
        s.or("prior_failure", "The failure probability of a substrate that nobody has measured.", ratio(), 10_000);
    let bytes_per_token = s.or("bytes_per_token", "Input bytes that make a token, in the estimate.", whole(1, 64), 4);
    let budgets = s.sections("budgets", "What tenants may spend.", set::COUNT, set::budget);
    let links = s.sections(
        "links",
        "The cost and the ceiling of paths between zones; a path that is not listed costs nothing.",
        set::COUNT,
        set::link,
    );
    let adaptive =
        s.section_or_empty("adaptive", "What may adapt to measurements; each term can be switched off.", set::adaptive);
    let approvals = s.sections("approvals", "Approvals that callers may hold.", set::COUNT, set::approval);
    let rollout = s.section_if("rollout", "Which share of traffic a candidate policy gets.", set::rollout);
    Some(Settings {
        thresholds: thresholds?,
        selection: selection?,
        shedding: shedding?,
        ages: ages?,
        breaking: breaking?,
        headroom_ppm,
        prior_failure_ppm,
        bytes_per_token,
        budgets,
        links,
        adaptive: adaptive?,
        approvals,
        rollout,
    })
}
