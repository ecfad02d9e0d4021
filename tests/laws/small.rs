//! Small scope, all of it: every policy of up to three substrates and two envelopes from small pools, and every small
//! request, against the reference. Bugs that exist at all usually show in something this small.

use super::agree::{difference, look, refer};
use super::build::*;
use super::generate::Case;
use super::reference::Bug;
use berth::model::*;

fn substrates() -> Vec<Substrate> {
    let mut german = substrate("german");
    german.location.jurisdiction = country("DE");
    german.location.zone = name("eu-b");
    german.sovereignty = substrate::Sovereignty {
        subject_to: vec![country("DE"), country("US")],
        air_gapped: true,
        attestation: substrate::Attested::None,
    };
    let mut provider = substrate("provider");
    provider.location.jurisdiction = country("US");
    provider.location.region = name("us");
    (provider.kind, provider.cost.regime, provider.account) = (Kind::Provider, Regime::Provider, name("trial"));
    provider.capacity.burst_after_ppm = 500_000;
    vec![substrate("french"), german, provider]
}

fn envelopes() -> Vec<Envelope> {
    let mut acme = envelope("acme");
    acme.applies_to.tenants = Some(vec!["acme".into()]);
    acme.permit.jurisdictions = Some(vec![country("DE"), country("FR")]);
    let mut personal = envelope("personal");
    personal.applies_to.data = Some(vec!["personal".into()]);
    personal.permit.subject_to = Some(vec![country("DE"), country("FR")]);
    personal.forbid.accounts = Some(vec![name("trial")]);
    let mut near = envelope("near");
    near.spillover = Borders::up_to(Border::Region);
    let mut asks = envelope("asks");
    asks.require.approval_for = Borders::NONE.with(Border::Jurisdiction);
    vec![envelope("open"), acme, personal, near, asks]
}

fn facts() -> Vec<Facts<'static>> {
    let each = |value: &'static str| [None, Some(Fact::trusted(value)), Some(Fact::claimed(value))];
    let mut all = vec![];
    for tenant in each("acme") {
        for data in each("personal") {
            for residency in [None, Some(Fact::claimed("EU"))] {
                for approval in [None, Some(Fact::trusted("valid")), Some(Fact::claimed("valid"))] {
                    for class in [None, Some(Fact::claimed("batch"))] {
                        all.push(Facts { tenant, data, residency, approval, class, ..Facts::default() });
                    }
                }
            }
        }
    }
    all
}

/// Every choice of at most `most` members, in order.
fn choices<T: Clone>(pool: &[T], most: usize) -> Vec<Vec<T>> {
    (0..1_usize << pool.len())
        .filter(|bits| bits.count_ones() as usize <= most)
        .map(|bits| pool.iter().enumerate().filter(|(i, _)| bits & (1 << i) != 0).map(|(_, t)| t.clone()).collect())
        .collect()
}

#[test]
fn every_small_case_agrees_with_the_reference() {
    let mut chat = class("chat", &["french"]);
    chat.tier = Tier::Critical;
    let mut batch = class("batch", &["provider"]);
    (batch.tier, batch.worth.answer_uusd) = (Tier::Batch, 90_000);
    let full = snapshot(vec![health("french", &[(Signal::InFlight, 60)]), health("german", &[(Signal::Hosts, 0)])]);
    let mut count = 0;
    for substrates in choices(&substrates(), 3) {
        for envelopes in choices(&envelopes(), 2) {
            let mut document = document(substrates.clone(), vec![chat.clone(), batch.clone()], envelopes);
            document.settings.approvals =
                vec![settings::Approval { token: "valid".into(), borders: Borders::ANY, until_ms: NOW_MS + 1 }];
            for facts in facts() {
                for snapshot in [None, Some(full.clone())] {
                    let case = Case { document: document.clone(), snapshot, local: Local::default(), facts, seed: 1 };
                    let difference = difference(&look(&case), &refer(&case, Bug::None));
                    assert!(difference.is_none(), "{}\n{case:#?}", difference.unwrap_or_default());
                    count += 1;
                }
            }
        }
    }
    assert_eq!(count, 8 * 16 * 108 * 2);
}
