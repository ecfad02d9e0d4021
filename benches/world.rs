//! The world that decisions are measured in: many substrates of all kinds under a rich policy.

#[path = "../tests/laws/build.rs"]
#[allow(dead_code, reason = "shared with the tests")]
mod build;

use berth::model::*;
use berth::policy::Policy;
pub(crate) use build::NOW_MS;
use build::*;

/// Substrates of all kinds in many places, 64 classes, 64 envelopes of which four apply, everybody's health known,
/// shares of the interval before. Half of the substrates are permitted, and most of those are equals.
pub(crate) fn rich(size: usize) -> (Policy, Snapshot) {
    let substrates: Vec<Substrate> = (0..size).map(various).collect();
    let mut classes: Vec<Class> = (0..64).map(|n| class(&format!("class-{n}"), &["s0", "s1", "s5"])).collect();
    for (n, class) in classes.iter_mut().enumerate() {
        class.matches = Predicate::Header("x-workload".into(), Test::Is(format!("kind-{n}")));
    }
    let mut envelopes: Vec<Envelope> = (0..64).map(|n| envelope(&format!("envelope-{n}"))).collect();
    for (n, envelope) in envelopes.iter_mut().enumerate() {
        envelope.applies_to.tenants = Some(vec![format!("tenant-{}", n / 4)]);
        envelope.permit.jurisdictions = Some(["DE", "FR", "IE"].map(country).to_vec());
        envelope.forbid.accounts = Some(vec![name("trial")]);
    }
    let health = substrates.iter().enumerate().map(|(n, s)| {
        let n = n as i64;
        let readings =
            [(Signal::InFlight, n % 40), (Signal::QueueDepth, n % 7), (Signal::FirstToken, 150_000 + n * 97)];
        let mut health = health(s.name.as_str(), &readings);
        health.share_ppm = 1_000_000 / u32::try_from(size).unwrap_or(1);
        health
    });
    let snapshot = snapshot(health.collect());
    (Policy::new(document(substrates, classes, envelopes), [0; 32]), snapshot)
}

fn various(n: usize) -> Substrate {
    let mut s = substrate(&format!("s{n}"));
    s.kind = Kind::ALL[n % 7];
    s.location.jurisdiction = country(["FR", "DE", "IE", "US"][n % 4]);
    s.location.zone = name(&format!("zone-{}", n % 30));
    s.cost.regime = Regime::ALL[n % 5];
    s.cost.output_pusd_per_token += n as i64 * 500;
    s.account = name(["acme", "globex", "trial"][n % 3]);
    s
}

const HEADERS: &[(&str, Fact<&str>)] = &[("x-workload", Fact::trusted("kind-3"))];

/// A request of a tenant that four envelopes speak of, with a session.
pub(crate) fn request() -> Facts<'static> {
    Facts {
        tenant: Some(Fact::trusted("tenant-5")),
        model: Some(Fact::claimed("m")),
        input_tokens: Some(Fact::claimed(1_200)),
        session: Some(Fact::claimed("0a1b2c3d4e5f")),
        headers: HEADERS,
        ..Facts::default()
    }
}

/// This VM has placed one request on everybody since the snapshot.
pub(crate) fn local(size: usize) -> Local {
    Local { placed: vec![1; size], ..Local::default() }
}
