//! One substrate.

use super::{MOST_WORDS, flag};
use crate::model::{
    Feature, Features, Kind, Location, Name, Offer, Regime, Substrate, Tier,
    substrate::{Attested, Capabilities, Capacity, Cost, Egress, Latency, Sovereignty},
};
use crate::policy::{
    codes,
    countries::{OneCountry, sorted},
    forms::{Named, Text, Word, decimal, ratio, usd, usd_per_gb, usd_per_mtok, whole},
    source::{Source, must_to, up_to},
};

/// One substrate.
#[inline(never)]
pub fn substrate<S: Source>(s: &mut S) -> Option<Substrate> {
    let name = s.required("name", "Its name in policies, records and metrics.", Named);
    s.optional("like", "Another substrate, from which everything but `name` and `cluster` is taken. Sections are merged field by field; lists and deeper maps are replaced whole.", Named);
    let cluster = s.optional(
        "cluster",
        "The Envoy cluster that leads there; without it, the cluster of the substrate's own name.",
        Text(256),
    );
    let kind = s.required(
        "kind",
        "What kind of place it is; the kind decides which signals govern it.",
        Word(&Kind::ALL, Kind::as_str),
    );
    let labels = s.map(
        "labels",
        "Labels for reports, such as `hardware`, `revision` and `capacity_layer`.",
        (Text(63), Text(128)),
    );
    let location = s.section("location", "Where it stands.", location);
    let sovereignty =
        s.section_or_empty("sovereignty", "Whose law reaches it, and what proves where it is.", sovereignty);
    let account = s.required("account", "The billing account.", Named);
    let capabilities = s.section("capabilities", "What it can run.", capabilities);
    let latency =
        s.section_or_empty("latency", "How fast its owner says it is: holds until measurements arrive.", latency);
    let cost = s.section("cost", "What its use costs.", cost);
    let capacity = s.section("capacity", "How much fits, and what is kept for whom.", capacity);
    let (name, location) = (name?, location?);
    let mut sovereignty = sovereignty?;
    // The law of the place always reaches it.
    sovereignty.subject_to = sorted(sovereignty.subject_to.into_iter().chain([location.jurisdiction]));
    Some(Substrate {
        cluster: cluster.unwrap_or_else(|| name.to_string()),
        name,
        kind: kind?,
        labels,
        location,
        sovereignty,
        account: account?,
        capabilities: capabilities?,
        latency: latency?,
        cost: cost?,
        capacity: capacity?,
    })
}

#[inline(never)]
fn location<S: Source>(s: &mut S) -> Option<Location> {
    let jurisdiction = s.required(
        "jurisdiction",
        "The country on whose territory it stands, as an ISO 3166-1 alpha-2 code.",
        OneCountry,
    );
    let region = s.required("region", "The region.", Named);
    let zone = s.required("zone", "The zone.", Named);
    let failure_domain = s.optional("failure_domain", "What fails together; the zone, if it is not given.", Named);
    let zone: Name = zone?;
    Some(Location {
        jurisdiction: jurisdiction?,
        region: region?,
        failure_domain: failure_domain.unwrap_or_else(|| zone.clone()),
        zone,
    })
}

#[inline(never)]
fn sovereignty<S: Source>(s: &mut S) -> Option<Sovereignty> {
    let subject_to = s.list("subject_to", "Every country whose law reaches it through its owner or operator. The country where it stands is always among them.", OneCountry, up_to(MOST_WORDS));
    let air_gapped = flag(s, "air_gapped", "No path leads out of it.");
    let attestation = s.or(
        "attestation",
        "`required`: without a valid attestation it may not be used at all.",
        Word(&ATTESTED, attested),
        Attested::None,
    );
    Some(Sovereignty { subject_to: subject_to.unwrap_or_default(), air_gapped, attestation })
}

const ATTESTED: [Attested; 2] = [Attested::None, Attested::Required];

const fn attested(attested: Attested) -> &'static str {
    match attested {
        Attested::None => "none",
        Attested::Required => "required",
    }
}

#[inline(never)]
fn capabilities<S: Source>(s: &mut S) -> Option<Capabilities> {
    let mut models =
        s.section_map("models", "The models that it serves, by the names that requests use.", Text(128), offer);
    for (name, offer) in &mut models {
        offer.model.clone_from(name);
    }
    let context_tokens = s.required(
        "context_tokens",
        "Input and output tokens of one request together, at most.",
        whole::<u32>(1, 100_000_000),
    );
    let features = features(s, "features", "What it offers, modalities included.");
    let throughput_only = flag(
        s,
        "throughput_only",
        "Built for throughput: classes whose caller waits go there only if they say `allow_throughput`.",
    );
    if !s.has("models") {
        s.wrong("models", codes::MISSING_FIELD, "a map of at least one model");
    }
    let models = models.into_iter().map(|(_, offer)| offer).collect();
    Some(Capabilities { models, context_tokens: context_tokens?, features, throughput_only })
}

#[inline(never)]
fn offer<S: Source>(s: &mut S) -> Option<Offer> {
    let quality_ppm =
        s.required("quality", "How good its answers are here, from 0 to 1, by the policy's own measure.", ratio());
    let context_tokens = s.optional(
        "context_tokens",
        "The context limit here; the substrate's, if it is not given.",
        whole(1, 100_000_000),
    );
    let revision = s.optional("revision", "The deployed revision, a label for metrics.", Text(128));
    Some(Offer { model: String::new(), quality_ppm: quality_ppm?, context_tokens, revision })
}

/// A list of features.
pub(super) fn features<S: Source>(s: &mut S, name: &'static str, doc: &'static str) -> Features {
    let listed = s.list(name, doc, Word(&Feature::ALL, Feature::as_str), up_to(Feature::ALL.len()));
    listed.unwrap_or_default().into_iter().fold(Features::default(), Features::with)
}

#[inline(never)]
fn latency<S: Source>(s: &mut S) -> Option<Latency> {
    Some(Latency {
        first_token_us: s.or(
            "first_token_ms",
            "Until the first token, at no load and without a prompt.",
            decimal(3, 0, 3_600_000_000, "ms"),
            500_000,
        ),
        prefill_us_per_token: s.or(
            "prefill_ms_per_ktok",
            "Per thousand input tokens.",
            decimal(0, 0, 10_000_000, "ms per 1,000 tokens"),
            100,
        ),
        us_per_token: s.or("ms_per_token", "Per output token.", decimal(3, 0, 100_000_000, "ms"), 30_000),
    })
}

#[inline(never)]
fn cost<S: Source>(s: &mut S) -> Option<Cost> {
    let regime = s.required(
        "regime",
        "How it is paid for. Reserved and committed capacity is used first.",
        Word(&Regime::ALL, Regime::as_str),
    );
    let input = s.or("input_usd_per_mtok", "Per million input tokens.", usd_per_mtok(), 0);
    let output = s.or("output_usd_per_mtok", "Per million output tokens.", usd_per_mtok(), 0);
    let request = s.or("request_usd", "Per request, whatever its size.", usd(1_000), 0);
    let energy = s.or("energy_usd_per_mtok", "Energy, per million tokens of either kind.", usd_per_mtok(), 0);
    let licence =
        s.or("licence_usd_per_mtok", "Accelerator licences, per million tokens of either kind.", usd_per_mtok(), 0);
    let others = s.or(
        "egress_usd_per_gb",
        "Bytes out, to callers in regions that `egress_usd_per_gb_to` does not name.",
        usd_per_gb(),
        0,
    );
    let to = s.map("egress_usd_per_gb_to", "Bytes out, by the caller's region.", (Named, usd_per_gb()));
    let named = to.into_iter().map(|(region, price)| Egress { to_region: Some(region), pusd_per_byte: price });
    Some(Cost {
        regime: regime?,
        input_pusd_per_token: input,
        output_pusd_per_token: output,
        request_uusd: request,
        energy_pusd_per_token: energy,
        licence_pusd_per_token: licence,
        egress: named.chain([Egress { to_region: None, pusd_per_byte: others }]).collect(),
    })
}

#[inline(never)]
fn capacity<S: Source>(s: &mut S) -> Option<Capacity> {
    let concurrency =
        s.required("concurrency", "Requests in flight at most, over the whole proxy. Between two snapshots its workers may place once more what was free; each alone as much as was free below half of it.", whole::<u32>(1, 10_000_000));
    let keep_for = s.section_or_empty(
        "keep_for",
        "Shares kept free for a tier and those above it; together at most the whole.",
        keep_for,
    );
    let kept = s.map(
        "keep_for_tenant",
        "Shares that nobody but a tenant may use, if it is known by a trusted fact; with those of `keep_for` at most the whole. Each worker holds its even part of that, in whole requests rounded up, for the tenant, within what its tier may use, whatever others run; to the others what it has in flight counts as common first.",
        (Text(128), ratio()),
    );
    let tenants = s.map(
        "tenant_share",
        "The most of it that one tenant may use: each worker holds its even part, in whole requests rounded up.",
        (Text(128), ratio()),
    );
    let burst_after = s.or(
        "burst_after",
        "Not prepaid: usable once the prepaid capacity that could do the work is used to this share.",
        ratio(),
        0,
    );
    let ceiling =
        s.or("burst_ceiling", "Not prepaid: never more than this share of `concurrency`.", ratio(), 1_000_000);
    let keep_for_ppm = keep_for?;
    let capacity = Capacity {
        concurrency: concurrency?,
        keep_for_ppm,
        keep_for_tenant_ppm: kept,
        tenant_share_ppm: tenants,
        burst_after_ppm: burst_after,
        burst_ceiling_ppm: ceiling,
    };
    if keep_for_ppm.iter().sum::<u32>() > 1_000_000 {
        s.wrong("keep_for", codes::OVER_WHOLE, "shares that add up to at most 1");
    } else if capacity.is_over_whole() {
        s.wrong("keep_for_tenant", codes::OVER_WHOLE, "shares that add up to at most 1 with those of `keep_for`");
    }
    Some(capacity)
}

#[inline(never)]
fn keep_for<S: Source>(s: &mut S) -> Option<[u32; 3]> {
    let mut kept = [0; Tier::ALL.len()];
    let docs = ["For batch work and above.", "For standard work and above.", "For critical work."];
    for ((slot, tier), doc) in kept.iter_mut().zip(Tier::ALL).zip(docs) {
        *slot = s.or(tier.as_str(), doc, ratio(), 0);
    }
    Some(kept)
}

/// The least that a list of substrates holds.
pub(super) const COUNT: crate::policy::source::Count = must_to(super::MOST_SUBSTRATES);
