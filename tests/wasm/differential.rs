//! The same requests through the native role and through the built module: the same record, the same headers, the
//! same answer and the same bytes in shared data. `BERTH_CASES=20000` runs more than `make test` does.

use super::{FULL, PLACEMENT};
use crate::fake_host::FakeHost;
use crate::generated::{configuration, headers, policy, snapshot};
use crate::random::Random;
use crate::wasm_host::{Built, Vm, Went};
use berth::filter::store::{Lease, publish};
use berth::filter::{MapKind, Role, Verdict};
use berth::model::Snapshot;
use std::collections::BTreeMap;

/// What one policy and one snapshot are used for.
const REQUESTS: usize = 20;
const SNAPSHOTS: usize = 5;
const CASES: usize = 2_000;

/// One world for each of the two.
struct Pair {
    native: (FakeHost, Role),
    built: (FakeHost, Vm),
}

const SEEN: [&str; 8] = [
    "x-placement-cluster",
    "x-placement-decision",
    "x-envoy-upstream-rq-timeout-ms",
    "x-envoy-upstream-rq-per-try-timeout-ms",
    "x-envoy-max-retries",
    "x-envoy-retry-on",
    "x-placement-budget",
    "x-tenant",
];

impl Pair {
    fn start(module: &Built, configuration: &str) -> Self {
        let (a, b) = (FakeHost::new(), FakeHost::new());
        a.set_configuration(configuration);
        let role = Role::configure(&a).unwrap_or_else(|line| panic!("{line}\n{configuration}"));
        let (vm, taken) = module.start(&b, configuration).unwrap();
        assert!(taken, "{:?}", vm.log());
        Self { native: (a, role), built: (b, vm) }
    }

    fn publish(&mut self, snapshot: &Snapshot) {
        for host in [&self.native.0, &self.built.0] {
            host.advance_ms(500);
            let now_ms = host.now_ms();
            let mut lease = Lease::new(1_000);
            assert!(lease.acquire(host, 7, now_ms));
            publish(host, &mut lease, now_ms, &mut snapshot.clone()).unwrap();
            lease.release(host, 7);
        }
        self.native.1.on_tick(&self.native.0);
        self.built.1.tick().unwrap();
        assert_eq!(self.native.0.shared_keys(), self.built.0.shared_keys());
        for key in self.native.0.shared_keys() {
            assert_eq!(self.native.0.shared(&key), self.built.0.shared(&key), "{key}");
        }
    }

    /// Why the last request was refused, or what bound it.
    fn reason(&self) -> String {
        let record = self.native.0.filter_state("placement").map(|r| String::from_utf8(r).unwrap()).unwrap_or_default();
        let member = |name: &str| record.split(", ").find_map(|m| m.strip_prefix(name)).map(str::to_string);
        member("reason=").or_else(|| member("binding=")).unwrap_or_default()
    }

    /// Whether the request was placed.
    fn ask(&mut self, context: u32, headers: &[(&str, String)]) -> bool {
        let pairs: Vec<(&str, &str)> = headers.iter().map(|(k, v)| (*k, v.as_str())).collect();
        for host in [&self.native.0, &self.built.0] {
            host.set_headers(MapKind::RequestHeaders, &pairs);
        }
        let (verdict, _) = self.native.1.arrive(&self.native.0, context, true);
        let went = self.built.1.request().unwrap();
        assert_eq!(went == Went::On, verdict == Verdict::Continue, "{headers:?}");
        let (a, b) = (&self.native.0, &self.built.0);
        let record = |host: &FakeHost| host.filter_state("placement").map(|r| String::from_utf8(r).unwrap());
        assert_eq!(record(a), record(b), "{headers:?}");
        for name in SEEN {
            let of = |host: &FakeHost| host.header(MapKind::RequestHeaders, name);
            assert_eq!(of(a), of(b), "{name}: {headers:?}");
        }
        assert_eq!(a.responses().last(), b.responses().last(), "{headers:?}");
        assert_eq!(a.responses().len(), b.responses().len());
        went == Went::On
    }
}

#[test]
fn the_built_modules_decide_as_the_native_core_does() {
    let wanted = std::env::var("BERTH_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(CASES);
    let modules = [Built::load(PLACEMENT), Built::load(FULL)];
    let mut random = Random::new(0x00be_0047);
    let (mut cases, mut placed) = (0, 0);
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    while cases < wanted {
        let policy = policy(&mut random);
        let many = policy["substrates"].as_array().unwrap().len();
        let mut pair = Pair::start(&modules[cases % 2], &configuration(&mut random, &policy));
        for _ in 0..SNAPSHOTS {
            let snapshot = snapshot(&mut random, many, pair.native.0.now_ms());
            pair.publish(&snapshot);
            for _ in 0..REQUESTS {
                cases += 1;
                placed += usize::from(pair.ask(u32::try_from(cases).unwrap(), &headers(&mut random)));
                *reasons.entry(pair.reason()).or_default() += 1;
            }
        }
    }
    println!("{cases} cases, {reasons:?}; {placed} of them placed, the same natively and in the modules");
    assert!(placed * 5 > cases && placed * 10 < cases * 9, "both outcomes were tried: {placed} of {cases} placed");
}
