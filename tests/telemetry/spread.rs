//! What no substrate shows alone: regions against one another, kinds within themselves.

use crate::breaking::AS_SHIPPED;
use crate::fake_host::FakeHost;
use crate::policy;
use crate::role::TICK_MS;
use berth::filter::Role;
use berth::health::spread::Peers;
use berth::model::settings::{Ages, Thresholds};
use berth::model::{Health, Kind, Reading, Signal, Snapshot, Watch, Watched};

const NOW: u64 = 1_790_000_000_000;

/// Substrates by kind, region and declared time per token, with what is known of each.
fn peers(of: &[(Kind, &str, i64)], known: &[&[(Signal, i64)]]) -> (Peers, Snapshot) {
    let watched = |(at, (kind, region, us_per_token)): (usize, &(Kind, &str, i64))| Watched {
        name: format!("s{at}"),
        cluster: format!("s{at}"),
        failure_domain: String::from("d"),
        kind: *kind,
        layer: String::new(),
        region: String::from(*region),
        thresholds: Thresholds::default(),
        first_token_us: 200_000,
        us_per_token: *us_per_token,
    };
    let watch = Watch {
        substrates: of.iter().enumerate().map(watched).collect(),
        ages: Ages { soft_ms: 3_000, hard_ms: 10_000 },
        breaking: AS_SHIPPED,
    };
    let health = |(at, known): (usize, &&[(Signal, i64)])| {
        let mut health = Health::unknown(&format!("s{at}"));
        known.iter().for_each(|(signal, value)| health.set(*signal, Reading { value: *value, at_ms: NOW }));
        health
    };
    let substrates = known.iter().enumerate().map(health).collect();
    (Peers::of(&watch), Snapshot { writer: 1, epoch: 1, at_ms: NOW, interval_ms: 1_000, slots: 1, substrates })
}

const fn slow(ppm: i64) -> (Signal, i64) {
    (Signal::SpeedFactor, ppm)
}

#[test]
fn a_region_is_held_against_those_of_its_kinds_elsewhere() {
    let of = [
        (Kind::Gpu, "eu", 1),
        (Kind::Gpu, "eu", 1),
        (Kind::Gpu, "us", 1),
        (Kind::Gpu, "us", 1),
        (Kind::Provider, "us", 1),
        (Kind::Edge, "plant", 1),
    ];
    // Two and four times as slow as declared, against one and two times: twice as slow.
    let known: [&[_]; 6] = [
        &[slow(2_000_000)],
        &[slow(4_000_000)],
        &[slow(1_000_000)],
        &[slow(2_000_000)],
        &[slow(9_000_000)],
        &[slow(5_000_000)],
    ];
    let (peers, snapshot) = peers(&of, &known);
    assert_eq!(peers.regions(), ["eu", "us", "plant"]);
    // The provider and the edge have nobody of their kind elsewhere.
    assert_eq!(peers.divergence(&snapshot, 10_000), [Some(2_000_000), Some(500_000), None]);
    // Old is not new.
    let later = Snapshot { at_ms: NOW + 10_000, ..snapshot };
    assert_eq!(peers.divergence(&later, 10_000), [None; 3]);
}

#[test]
fn each_substrate_of_a_region_weighs_the_same() {
    let of =
        [(Kind::Gpu, "eu", 1), (Kind::Gpu, "eu", 1), (Kind::Cpu, "eu", 1), (Kind::Gpu, "us", 1), (Kind::Cpu, "us", 1)];
    let known: [&[_]; 5] =
        [&[slow(1_000_000)], &[slow(1_000_000)], &[slow(4_000_000)], &[slow(1_000_000)], &[slow(1_000_000)]];
    let (peers, snapshot) = peers(&of, &known);
    assert_eq!(peers.divergence(&snapshot, 10_000), [Some(2_000_000), Some(625_000)]);
}

#[test]
fn tokens_are_held_against_what_is_declared_of_them() {
    let per = |us| (Signal::PerToken, us);
    let of =
        [(Kind::Gpu, "a", 10_000), (Kind::Gpu, "a", 20_000), (Kind::Gpu, "b", 10_000), (Kind::Silicon, "b", 1_000)];
    let known: [&[_]; 4] = [&[per(10_000)], &[per(30_000)], &[per(12_000)], &[per(1_000)]];
    let (peers_now, snapshot) = peers(&of, &known);
    let spread = peers_now.token_spread(&snapshot, 10_000);
    assert_eq!(spread[Kind::Gpu as usize], Some(500_000), "10 of 10, 30 of 20, 12 of 10");
    assert_eq!(spread[Kind::Silicon as usize], None, "nobody beside it");
    let (peers_now, snapshot) = peers(&of, &[&[per(0)], &[], &[per(12_000)], &[]]);
    assert_eq!(
        peers_now.token_spread(&snapshot, 10_000)[Kind::Gpu as usize],
        None,
        "no time at all is none to divide by"
    );
}

#[test]
fn the_role_shows_both_and_nothing_where_nothing_is_fresh() {
    let mut policy = policy::policy();
    for (at, region) in ["north", "south", "south"].into_iter().enumerate() {
        policy["substrates"][at]["kind"] = if at < 2 { "gpu" } else { "provider" }.into();
        policy["substrates"][at]["location"]["region"] = region.into();
        policy["substrates"][at]["latency"]["ms_per_token"] = 20.into();
    }
    let host = FakeHost::new();
    host.set_configuration(&policy::telemetry(&policy).to_string());
    let mut role = Role::configure(&host).unwrap();
    let mut turn = |speaks: bool| {
        role.on_tick(&host);
        for call in host.take_calls() {
            let (factor, per_token_ms) = if call.cluster == "metal-fr" { (3, 90) } else { (1, 30) };
            let signals = format!(r#"{{"speed_factor":{factor},"per_token_ms":{per_token_ms}}}"#);
            let body = format!(r#"{{"substrate":"{}","signals":{signals}}}"#, call.cluster);
            let status = if speaks { "200" } else { "500" };
            let size = host.answer(&[(":status", status)], body.as_bytes());
            role.on_call(&host, call.token, size);
        }
        host.advance_ms(TICK_MS);
    };
    (0..10).for_each(|_| turn(true));
    let shown = |name: &str| host.metric(&format!("berth.health.{name}")).map(|m| m.value);
    assert_eq!(shown("region_divergence.region.north"), Some(3_000_000));
    assert_eq!(shown("region_divergence.region.south"), Some(333_333), "the provider has no peer");
    assert_eq!(shown("token_spread.kind.gpu"), Some(2_000_000));
    assert_eq!(shown("token_spread.kind.provider"), Some(0));
    assert_eq!(shown("token_spread.kind.silicon"), None, "there is none");
    (0..1_000).for_each(|_| turn(false));
    assert_eq!(shown("region_divergence.region.north"), Some(0));
    assert_eq!(shown("token_spread.kind.gpu"), Some(0));
}
