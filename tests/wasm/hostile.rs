//! What the worst request within Envoy's own limits (60 KiB, 100 headers) costs, in instructions and in memory.

use super::{FULL, PLACEMENT, policy};
use crate::fake_host::FakeHost;
use crate::random::Random;
use crate::wasm_host::{Answer, Built, Vm, encode};
use berth::filter::MapKind;
use serde_json::json;

pub(crate) const MOST_BYTES: usize = 60 << 10;
pub(crate) const MOST_HEADERS: usize = 100;
/// The bound that Envoy itself calls a security bug to pass.
pub(crate) const MOST_TIMES: u64 = 100;

pub(crate) type Headers = Vec<(Vec<u8>, Vec<u8>)>;

pub(crate) fn pair(name: &str, value: impl Into<Vec<u8>>) -> (Vec<u8>, Vec<u8>) {
    (name.as_bytes().to_vec(), value.into())
}

fn usual() -> Headers {
    vec![
        pair(":method", "POST"),
        pair(":path", "/v1/chat/completions"),
        pair("x-request-id", "4f7c0e9a-0000-4000-8000-000000000001"),
        pair("x-tenant", "acme"),
        pair("x-workload", "chat"),
        pair("x-model", "llama-3.3-70b"),
        pair("content-type", "application/json"),
        pair("user-agent", "curl/8"),
    ]
}

/// Each is as much of one thing as fits.
fn worst() -> Vec<(&'static str, Headers)> {
    let each = MOST_BYTES / MOST_HEADERS - 64;
    let many = |name: &dyn Fn(usize) -> String, value: &dyn Fn(usize) -> Vec<u8>| -> Headers {
        usual().into_iter().chain((0..MOST_HEADERS - 8).map(|i| (name(i).into_bytes(), value(i)))).collect()
    };
    let one = |name: &str, value: Vec<u8>| -> Headers { usual().into_iter().chain([pair(name, value)]).collect() };
    let long = |byte: u8| vec![byte; MOST_BYTES - 1_024];
    let mut all: Vec<(&'static str, Headers)> = vec![
        ("a hundred of our own", many(&|i| format!("x-placement-{i}"), &|_| vec![b'a'; each])),
        ("a hundred times the cluster", many(&|_| "x-placement-cluster".into(), &|_| vec![b'a'; each])),
        ("a hundred tenants", many(&|_| "x-tenant".into(), &|i| format!("t{i:0>500}").into_bytes())),
        ("a hundred workloads", many(&|_| "x-workload".into(), &|i| format!("w{i:0>500}").into_bytes())),
        ("a hundred others", many(&|i| format!("x-other-{i}"), &|_| vec![b'a'; each])),
        ("a hundred lists of features", many(&|_| "x-needs".into(), &|_| b"tools,".repeat(each / 6))),
        ("no text", many(&|i| format!("x-other-{i}"), &|_| vec![0xff; each])),
        ("a hundred router headers", many(&|_| "x-envoy-retry-on".into(), &|_| vec![b'a'; each])),
    ];
    for name in ["x-tenant", "x-model", "x-workload", "x-session", "x-tokens", "x-request-id", ":path", "accept"] {
        all.push((name, one(name, long(b'9'))));
    }
    for (what, piece) in [("commas", &b","[..]), ("features", b"tools,"), ("spaces", b" "), ("an attack", b"a,b;c=\"")]
    {
        all.push((what, one("x-needs", piece.repeat((MOST_BYTES - 1_024) / piece.len()))));
        all.push((what, one("traceparent", piece.repeat((MOST_BYTES - 1_024) / piece.len()))));
    }
    let bytes = |headers: &Headers| headers.iter().map(|(k, v)| k.len() + v.len()).sum::<usize>();
    for (what, headers) in &all {
        assert!(headers.len() <= MOST_HEADERS && bytes(headers) <= MOST_BYTES, "{what}: {}", bytes(headers));
    }
    all
}

fn start(host: &FakeHost) -> Vm {
    start_of(FULL, host)
}

fn start_of(module: &str, host: &FakeHost) -> Vm {
    let mut configuration = policy::placement(&policy::policy());
    configuration["features_header"] = "x-needs".into();
    configuration["attach"] = "full".into();
    configuration["facts"]["session"] = json!({"header": "x-session"});
    configuration["facts"]["input_tokens"] = json!({"header": "x-tokens"});
    let (mut vm, taken) = Built::load(module).start(host, &configuration.to_string()).unwrap();
    assert!(taken, "{:?}", vm.log());
    vm.tick().unwrap();
    vm
}

fn cost(vm: &mut Vm, host: &FakeHost, headers: &Headers) -> u64 {
    let pairs: Vec<(&[u8], &[u8])> = headers.iter().map(|(k, v)| (k.as_slice(), v.as_slice())).collect();
    vm.answer("proxy_get_header_map_pairs", Answer::Bytes(encode(&pairs)));
    host.set_headers(MapKind::RequestHeaders, &[]);
    vm.request().unwrap();
    vm.spent()
}

#[test]
fn no_request_within_the_proxys_limits_costs_a_hundred_times_the_usual_one() {
    let host = FakeHost::new();
    let mut vm = start(&host);
    let mut costs: Vec<u64> = (0..21).map(|_| cost(&mut vm, &host, &usual())).collect();
    costs.sort_unstable();
    let median = costs[costs.len() / 2];
    let mut most = (0, "");
    for (what, headers) in worst() {
        let cost = cost(&mut vm, &host, &headers);
        println!("{what:32} {cost:>9} instructions, {:.1} times", cost as f64 / median as f64);
        most = most.max((cost, what));
    }
    println!("the usual request: {median} instructions");
    assert!(most.0 <= median * MOST_TIMES, "{} costs {} times the median", most.1, most.0 / median);
}

/// What a body of so many bytes costs, in frames of one byte each.
fn body_cost(bytes: usize) -> u64 {
    let host = FakeHost::new();
    let mut configuration = policy::placement(&policy::policy());
    configuration["body"] = json!({"headers_stop": true});
    let (mut vm, taken) = Built::load(FULL).start(&host, &configuration.to_string()).unwrap();
    assert!(taken, "{:?}", vm.log());
    vm.tick().unwrap();
    host.set_headers(
        MapKind::RequestHeaders,
        &[(":path", "/"), ("x-tenant", "acme"), ("content-type", "application/json")],
    );
    let body = format!(r#"{{"messages": "{}"}}"#, "x".repeat(bytes - 16));
    host.set_request_body(body.as_bytes());
    let (id, _) = vm.open(false).unwrap();
    let costs = (1..=body.len()).map(|size| {
        vm.body(id, size, size == body.len()).unwrap();
        vm.spent()
    });
    costs.sum()
}

#[test]
fn a_body_in_the_smallest_frames_costs_in_proportion_to_its_size() {
    let (short, long) = (body_cost(2_000), body_cost(16_000));
    println!("in frames of one byte: 2 kB {short}, 16 kB {long} instructions, {:.1} times", long as f64 / short as f64);
    // Eight times as much; gone over again with each frame it would be sixty-four times.
    assert!(long <= 16 * short, "{short} instructions became {long}");
}

#[test]
fn hostile_requests_do_not_grow_the_memory() {
    let host = FakeHost::new();
    let mut vm = start(&host);
    let fresh = vm.memory();
    let worst = worst();
    for round in 0..40 {
        for (_, headers) in &worst {
            cost(&mut vm, &host, headers);
        }
        host.advance_ms(100);
        vm.tick().unwrap();
        assert!(vm.memory() <= fresh + (1 << 20), "round {round}: {} from {fresh}", vm.memory());
    }
}

/// How many requests each module serves in a test run; BERTH_REQUESTS is another number (1,000,000 were tried).
const REQUESTS: usize = 50_000;
/// Requests until each of the worst has come by, whose size memory then keeps.
const WARM: usize = 5_000;

/// A context that stayed would be some 100 bytes, and memory is given by 64 KiB: a byte that stays of each would show.
fn serve(module: &str, requests: usize) {
    let host = FakeHost::new();
    let mut vm = start_of(module, &host);
    vm.reset();
    let (usual, worst) = (usual(), worst());
    let (mut warm, mut created, mut deleted) = (0, 0, 0);
    for n in 0..requests + WARM {
        let headers = if n % 500 == 0 { &worst[n / 500 % worst.len()].1 } else { &usual };
        cost(&mut vm, &host, headers);
        if n % 100 == 99 {
            host.advance_ms(100);
            vm.tick().unwrap();
            created += vm.entries().get("proxy_on_context_create").copied().unwrap_or(0);
            deleted += vm.entries().get("proxy_on_delete").copied().unwrap_or(0);
            vm.reset();
            host.take_responses();
        }
        if n == WARM {
            warm = vm.memory();
        }
    }
    println!(
        "{module}: {requests} requests, {created} contexts created and {deleted} deleted: {warm} bytes before and {} after",
        vm.memory()
    );
    assert_eq!(vm.memory(), warm, "{module}");
    assert_eq!(created, deleted, "{module}");
    // The module that only places is not told of contexts at all: it has nothing to keep.
    assert_eq!(created, if module == FULL { (requests + WARM) as u64 } else { 0 });
}

#[test]
fn what_a_vm_holds_is_the_same_after_many_requests() {
    let requests = std::env::var("BERTH_REQUESTS").ok().and_then(|n| n.parse().ok()).unwrap_or(REQUESTS);
    std::thread::scope(|scope| {
        let both = [FULL, PLACEMENT].map(|module| scope.spawn(move || serve(module, requests)));
        both.into_iter().for_each(|one| one.join().unwrap());
    });
}

/// Header maps that no proxy would send: any bytes at all.
#[test]
fn broken_header_maps_end_early_and_trap_nothing() {
    let host = FakeHost::new();
    let mut vm = start(&host);
    let mut random = Random::new(11);
    for round in 0..3_000 {
        let worst = usual();
        let pairs: Vec<(&[u8], &[u8])> = worst.iter().map(|(k, v)| (k.as_slice(), v.as_slice())).collect();
        let mut bytes = encode(&pairs);
        for _ in 0..=random.below(8) {
            let at = random.below(bytes.len());
            bytes[at] = random.next().to_le_bytes()[3];
        }
        bytes.truncate(1 + random.below(bytes.len() * 2));
        vm.answer("proxy_get_header_map_pairs", Answer::Bytes(bytes.clone()));
        host.set_headers(MapKind::RequestHeaders, &[]);
        vm.request().unwrap_or_else(|trap| panic!("round {round}: {bytes:02x?}: {trap}"));
    }
}
