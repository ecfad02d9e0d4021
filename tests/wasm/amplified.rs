//! Whatever the policy, and whatever a client may send within Envoy's own limits: no request costs a hundred times the
//! usual one. Counted in instructions, over every policy of `policies/`, generated ones, and the worst that could be
//! thought of; with bodies too.

use super::hostile::{Headers, MOST_BYTES, MOST_HEADERS, MOST_TIMES, pair};
use super::{FULL, policy as mesh};
use crate::fake_host::FakeHost;
use crate::generated::{self, with_more};
use crate::random::Random;
use crate::wasm_host::{Answer, Built, Vm, encode};
use berth::filter::MapKind;
use berth::policy::cases::{self, Said};
use berth::policy::read_yaml;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;

/// How many generated policies are tried.
const GENERATED: usize = 24;
/// What the largest single header may be beside the usual ones.
const LONG: usize = MOST_BYTES - 2_048;

/// A configuration, and what usually comes.
struct World {
    name: String,
    configuration: Value,
    usual: Vec<Headers>,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every fact by a header of its own name, and the features.
fn configured(policy: Value) -> Value {
    let facts = ["tenant", "class", "model", "data", "residency", "session", "region", "zone", "approval"];
    let numbers = ["input_tokens", "output_tokens", "deadline_ms"];
    let all = facts.into_iter().chain(numbers);
    let facts: serde_json::Map<_, _> =
        all.map(|fact| (fact.to_string(), json!({"header": format!("x-{fact}"), "trusted": true}))).collect();
    json!({"role": "placement", "policy": policy, "facts": facts, "features_header": "x-needs",
        "trusted_headers": [], "attach": "full", "replay": true})
}

fn first_lines() -> Headers {
    vec![
        pair(":method", "POST"),
        pair(":path", "/v1/chat/completions"),
        pair("x-request-id", "4f7c0e9a-0000-4000-8000-000000000001"),
        pair("user-agent", "curl/8"),
    ]
}

/// The policies that are shipped, and the requests of their cases.
fn shipped() -> Vec<World> {
    let mut names: Vec<String> = std::fs::read_dir(root().join("policies"))
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.strip_suffix(".cases.yaml").map(String::from))
        .collect();
    names.sort();
    assert!(names.len() >= 7, "{names:?}");
    let read = |file: String| std::fs::read_to_string(root().join(file)).unwrap();
    let world = |name: String| {
        let document = read_yaml(&read(format!("policies/{name}.yaml"))).unwrap().document;
        let cases = cases::read(&read(format!("policies/{name}.cases.yaml")), &document).unwrap();
        let json = serde_json::from_str(&read(format!("tests/golden/policies/{name}.json"))).unwrap();
        World { configuration: configured(json), usual: cases.iter().map(lines).collect(), name }
    };
    names.into_iter().map(world).collect()
}

/// The request of a case as a client sends it.
fn lines(case: &cases::Case) -> Headers {
    let mut lines = first_lines();
    for (name, fact) in &case.facts {
        let value = match &fact.value {
            Said::Text(text) => text.clone(),
            Said::Number(number) => number.to_string(),
            Said::Flag(flag) => flag.to_string(),
        };
        lines.push((format!("x-{}", name.as_str()).into_bytes(), value.into_bytes()));
    }
    lines.extend(case.headers.iter().map(|(name, fact)| pair(name, fact.value.as_bytes())));
    lines
}

fn generated() -> Vec<World> {
    let mut random = Random::new(0xa3b);
    let world = |at: usize| {
        let policy = generated::policy(&mut random);
        let mut configuration = generated::configuration(&mut random, &policy);
        with_more(&mut random, &mut configuration, false);
        configuration["mode"] = "enforce".into();
        let mut request = || generated::headers(&mut random).iter().map(|(k, v)| pair(k, v.as_bytes())).collect();
        World { name: format!("generated {at}"), configuration, usual: (0..21).map(|_| request()).collect() }
    };
    (0..GENERATED).map(world).collect()
}

fn with_classes(name: &str, classes: Vec<Value>, usual: &dyn Fn(usize) -> (&'static str, String)) -> World {
    let mut policy = mesh::policy();
    let last = policy["classes"][1].clone();
    let dress = |(at, matches): (usize, Value)| {
        let mut class = last.clone();
        (class["name"], class["match"]) = (format!("c{at}").into(), matches);
        class
    };
    let mut all: Vec<Value> = classes.into_iter().enumerate().map(dress).collect();
    all.push(last);
    policy["classes"] = all.into();
    let request = |nth: usize| {
        let (header, value) = usual(nth);
        [first_lines(), vec![pair("x-tenant", "acme"), pair("x-model", "llama-3.3-70b"), pair(header, value)]].concat()
    };
    World { name: name.into(), configuration: configured(policy), usual: (0..21).map(request).collect() }
}

/// Policies that ask as much of a header as a policy can.
fn worst_policies() -> Vec<World> {
    let long = |n: usize| format!("{}{n:03}", "a".repeat(500));
    // 30 classes of 100 beginnings that differ at their ends alone: 1.5 MB of them.
    let beginnings = |class: usize| {
        let all: Vec<Value> = (0..100).map(|n| json!({"header": "x-kind", "prefix": long(class * 100 + n)})).collect();
        json!({"any": all})
    };
    let words = |class: usize| {
        let all: Vec<String> = (0..100).map(|n| long(class * 100 + n)).collect();
        json!({"header": "x-kind", "in": all})
    };
    let sizes = |n: usize| json!({"header": "x-size", "min": 1_000_000 + n});
    let paths =
        |n: usize| json!({"any": [{"path_prefix": format!("/{}", long(n))}, {"path": format!("/{}", long(n))}]});
    let deep = |n: usize| {
        (0..12).fold(json!({"header": format!("x-{n}"), "is": "yes"}), |inner, level| match level % 3 {
            0 => json!({"not": inner}),
            1 => json!({"any": [inner, {"header": format!("x-{n}"), "prefix": "n"}]}),
            _ => json!({"all": [inner, {"header": format!("x-{n}"), "present": true}]}),
        })
    };
    vec![
        with_classes("beginnings", (0..30).map(beginnings).collect(), &|n| ("x-kind", format!("a{n}"))),
        with_classes("words", (0..30).map(words).collect(), &|n| ("x-kind", format!("a{n}"))),
        with_classes("sizes", (0..600).map(sizes).collect(), &|n| ("x-size", (n * 1_000).to_string())),
        with_classes("paths", (0..600).map(paths).collect(), &|n| ("x-kind", n.to_string())),
        with_classes("nested, of 60 headers", (0..60).map(deep).collect(), &|n| ("x-7", n.to_string())),
        many_envelopes(),
    ]
}

/// 64 envelopes of 256 tenants each, over as many substrates as a policy of this form has room for.
fn many_envelopes() -> World {
    let mut policy = mesh::policy();
    let substrate = policy["substrates"][0].clone();
    let another = |n: usize| {
        let mut it = substrate.clone();
        (it["name"], it["cluster"]) = (format!("s{n}").into(), format!("s{n}").into());
        it
    };
    policy["substrates"].as_array_mut().unwrap().extend((0..500).map(another));
    let envelope = |n: usize| {
        let tenants: Vec<String> =
            (0..255).map(|t| format!("{}{n}-{t}", "t".repeat(100))).chain(["acme".into()]).collect();
        json!({"name": format!("e{n}"), "applies_to": {"tenants": tenants}, "permit": {}, "spillover": "any"})
    };
    policy["envelopes"].as_array_mut().unwrap().extend((0..62).map(envelope));
    let tenant = |n: usize| if n.is_multiple_of(3) { "initech" } else { "acme" };
    let request =
        |n: usize| [first_lines(), vec![pair("x-tenant", tenant(n)), pair("x-model", "llama-3.3-70b")]].concat();
    World {
        name: "envelopes and substrates".into(),
        configuration: configured(policy),
        usual: (0..21).map(request).collect(),
    }
}

/// Every text in it, and every header that it asks for.
fn texts(of: &Value, words: &mut BTreeSet<String>, headers: &mut BTreeSet<String>) {
    match of {
        Value::String(text) => {
            words.insert(text.clone());
        }
        Value::Array(list) => list.iter().for_each(|one| texts(one, words, headers)),
        Value::Object(map) => {
            if let Some(Value::String(name)) = map.get("header") {
                headers.insert(name.clone());
            }
            map.values().for_each(|one| texts(one, words, headers));
        }
        _ => {}
    }
}

/// What a client could send instead of `base`, by what it is.
fn hostile(world: &World, base: &Headers) -> Vec<(String, Headers)> {
    let (mut words, mut names) = (BTreeSet::new(), BTreeSet::new());
    texts(&world.configuration, &mut words, &mut names);
    let known = ["x-needs", ":path", "x-request-id", "accept", "content-type", "grpc-timeout", "content-length"];
    let ours = ["x-placement-budget", "x-placement-cluster", "x-envoy-retry-on"];
    // What the policy itself asks for comes first. One with many headers: some of them stand for all.
    let names: Vec<String> = names.into_iter().chain(known.into_iter().chain(ours).map(String::from)).collect();
    let longest = words.iter().max_by_key(|word| word.len()).cloned().unwrap_or_default();
    let without = |name: &str| base.iter().filter(|(k, _)| k != name.as_bytes()).cloned().collect::<Headers>();
    let put = |name: &str, value: Vec<u8>| [without(name), vec![pair(name, value)]].concat();
    let mut all = vec![];
    for name in names.iter().take(if world.configuration.to_string().len() > 1 << 19 { 8 } else { 24 }) {
        let mut one = |what: &str, value: Vec<u8>| all.push((format!("{name}: {what}"), put(name, value)));
        one("nines", vec![b'9'; LONG]);
        one("a number behind noughts", [vec![b'0'; LONG - 1], vec![b'7']].concat());
        one("letters", vec![b'a'; LONG]);
        one("two bytes each", "é".repeat(LONG / 2).into_bytes());
        one("no text", vec![0xff; LONG]);
        one("a list", b"tools,".repeat(LONG / 6));
        one("an attack", b"a=1,b;c=\"".repeat(LONG / 9));
        // As near to the longest word as can be, which is not it.
        one("nearly a word", [longest.as_bytes(), b"?"].concat());
        one("begins as a word", longest.bytes().cycle().take(LONG).collect());
        let room = MOST_HEADERS - base.len() - 1;
        let each = LONG / MOST_HEADERS - name.len();
        let many = |value: &dyn Fn(usize) -> Vec<u8>| -> Headers {
            without(name).into_iter().chain((0..room).map(|n| pair(name, value(n)))).collect()
        };
        all.push((format!("{name}: a hundred times the same"), many(&|_| vec![b'a'; each])));
        all.push((format!("{name}: a hundred others"), many(&|n| format!("{n:0>each$}").into_bytes())));
    }
    // All of them at once, each as long as there is room.
    let names: Vec<&String> = names.iter().take(MOST_HEADERS - base.len()).collect();
    let each = LONG / names.len() - 64;
    let kept: Headers = base.iter().filter(|(k, _)| !names.iter().any(|n| n.as_bytes() == k)).cloned().collect();
    for byte in [b'a', b'9', b'0', b','] {
        let more = names.iter().map(|name| pair(name, vec![byte; each]));
        all.push((format!("all at once: {}", char::from(byte)), kept.iter().cloned().chain(more).collect()));
    }
    let more =
        (0..MOST_HEADERS - base.len()).map(|n| pair(&format!("x-placement-{n}"), vec![b'a'; LONG / MOST_HEADERS - 20]));
    all.push(("a hundred of our own".into(), base.iter().cloned().chain(more).collect()));
    for (what, headers) in &all {
        let bytes: usize = headers.iter().map(|(k, v)| k.len() + v.len()).sum();
        assert!(
            headers.len() <= MOST_HEADERS && bytes <= MOST_BYTES,
            "{what}: {} headers, {bytes} bytes",
            headers.len()
        );
    }
    all
}

fn start(world: &World) -> (FakeHost, Vm) {
    let host = FakeHost::new();
    let (mut vm, taken) = Built::load(FULL).start(&host, &world.configuration.to_string()).unwrap();
    assert!(taken, "{}: {:?}", world.name, vm.log());
    vm.tick().unwrap();
    (host, vm)
}

/// All that the stream of a request enters.
fn cost(vm: &mut Vm, host: &FakeHost, headers: &Headers) -> u64 {
    let pairs: Vec<(&[u8], &[u8])> = headers.iter().map(|(k, v)| (k.as_slice(), v.as_slice())).collect();
    vm.answer("proxy_get_header_map_pairs", Answer::Bytes(encode(&pairs)));
    host.set_headers(MapKind::RequestHeaders, &[]);
    host.forget_filter_state();
    host.take_responses();
    let before = vm.burnt();
    vm.request().unwrap();
    vm.burnt() - before
}

fn median(mut costs: Vec<u64>) -> u64 {
    costs.sort_unstable();
    costs[costs.len() / 2]
}

/// Tries everything on one policy; gives a line of the table, and whether it holds.
fn amplify(world: &World) -> (String, bool) {
    let (host, mut vm) = start(world);
    // What only the first ones cost is no price.
    let mut costs = || world.usual.iter().map(|headers| cost(&mut vm, &host, headers)).collect();
    let (_, usual) = (median(costs()), median(costs()));
    let mut most = (0, String::new());
    for (what, headers) in hostile(world, &world.usual[0]) {
        most = most.max((cost(&mut vm, &host, &headers), what));
    }
    let (worst, what) = most;
    let line = format!("{:24} {usual:>8} {worst:>9} {:>6.1}  {what}", world.name, worst as f64 / usual as f64);
    (line, worst <= usual * MOST_TIMES)
}

/// Each in turn, in two threads.
fn all_hold(worlds: &[World]) {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let mut seen: Vec<(String, bool)> = std::thread::scope(|scope| {
        let work = || {
            let take = || worlds.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
            std::iter::from_fn(take).map(amplify).collect::<Vec<_>>()
        };
        let both = [scope.spawn(work), scope.spawn(work)];
        both.into_iter().flat_map(|one| one.join().unwrap()).collect()
    });
    seen.sort();
    println!("{:24} {:>8} {:>9} {:>6}", "policy", "median", "worst", "times");
    seen.iter().for_each(|(line, _)| println!("{line}"));
    let bad: Vec<&String> = seen.iter().filter(|(_, holds)| !holds).map(|(line, _)| line).collect();
    assert!(bad.is_empty(), "over {MOST_TIMES} times the usual request: {bad:#?}");
}

#[test]
fn no_header_makes_a_request_cost_a_hundred_times_the_usual_one_under_the_shipped_policies() {
    all_hold(&shipped());
}

#[test]
fn no_header_makes_a_request_cost_a_hundred_times_the_usual_one_under_generated_policies() {
    all_hold(&generated());
}

#[test]
fn no_header_makes_a_request_cost_a_hundred_times_the_usual_one_under_the_worst_policies() {
    all_hold(&worst_policies());
}

/// So much of a body is looked at by default.
const PREFIX: usize = 1 << 14;

/// A body that is as much of one thing as is looked at.
fn hostile_bodies() -> Vec<(&'static str, Vec<u8>)> {
    let full = |piece: &str| piece.repeat(PREFIX / piece.len() + 1).into_bytes();
    let with = |before: &str, piece: &str| [before.as_bytes(), &full(piece)].concat();
    vec![
        ("nothing but brackets", full("[")),
        ("deep lists", with(r#"{"a": "#, "[")),
        ("deep objects", with("", r#"{"a":"#)),
        ("deep tools", with(r#"{"tools": "#, "[{\"a\":")),
        ("brackets closed again", with(r#"{"a": ["#, "[],")),
        ("a long text", with(r#"{"messages": ""#, "x")),
        ("a long model", with(r#"{"model": ""#, "x")),
        ("a long model of escapes", with(r#"{"model": ""#, r"\u00e9")),
        ("a long model that is no text", [br#"{"model": ""#.to_vec(), vec![0xff; PREFIX]].concat()),
        ("a long key", with(r#"{""#, "x")),
        ("a long key of escapes", with(r#"{""#, r"\u0041")),
        ("the model again and again", with("{", r#""model":"llama-3.3-70b","#)),
        ("another model each time", with("{", r#""model":"a","model":"b","#)),
        ("keys of nobody", with("{", r#""":0,"#)),
        ("keys of two letters", with("{", r#""\n":0,"#)),
        ("formats", with("{", r#""response_format":{},"#)),
        ("long formats", with("{", r#""response_format":{"x":"json_schema"},"#)),
        ("tools", with("{", r#""tools":[],"#)),
        ("tools behind spaces", with(r#"{"tools":["#, " ")),
        ("metadata", with("{", r#""metadata":{"a":"b"},"#)),
        ("deep metadata", with("{", r#""metadata":{"#)),
        ("a long number", with(r#"{"max_tokens": "#, "9")),
        ("a number behind noughts", [with(r#"{"max_tokens": "#, "0"), b"7}".to_vec()].concat()),
        ("numbers", with("{", r#""max_tokens":1e300,"#)),
        ("spaces", with("{", " ")),
        ("words", with(r#"{"stream": "#, "true")),
    ]
}

/// What a whole stream costs whose body comes in frames of this size, and no faster.
fn body_cost(vm: &mut Vm, host: &FakeHost, headers: &Headers, body: &[u8], frame: usize) -> u64 {
    let pairs: Vec<(&[u8], &[u8])> = headers.iter().map(|(k, v)| (k.as_slice(), v.as_slice())).collect();
    vm.answer("proxy_get_header_map_pairs", Answer::Bytes(encode(&pairs)));
    host.forget_filter_state();
    host.take_responses();
    host.set_request_body(body);
    let before = vm.burnt();
    let (id, mut went) = vm.open(false).unwrap();
    let mut size = 0;
    while went == crate::wasm_host::Went::Stopped && size < body.len() {
        size = (size + frame).min(body.len());
        went = vm.body(id, size, size == body.len()).unwrap();
    }
    vm.close(id).unwrap();
    vm.burnt() - before
}

/// In one piece and in small ones. (In pieces of a byte each is an entry into the VM, which costs the proxy more than it
/// costs the module.)
#[test]
fn no_body_makes_a_request_cost_a_hundred_times_the_usual_one() {
    let mut worlds = shipped();
    let mut failed = Vec::new();
    for world in &mut worlds {
        world.configuration["body"] = json!({"headers_stop": true, "data_key": "data"});
        let (host, mut vm) = start(world);
        let json = |headers: &Headers| [headers.clone(), vec![pair("content-type", "application/json")]].concat();
        let chat = br#"{"model": "llama-3.3-70b", "messages": [{"role": "user", "content": "Why is the sky blue?"}], "max_tokens": 200}"#;
        let mut costs = || world.usual.iter().map(|h| body_cost(&mut vm, &host, &json(h), chat, chat.len())).collect();
        let (_, usual) = (median(costs()), median(costs()));
        for frame in [PREFIX, 1_024, 64] {
            let mut most = (0, "");
            for (what, body) in hostile_bodies() {
                let cost = body_cost(&mut vm, &host, &json(&world.usual[0]), &body, frame);
                most = most.max((cost, what));
            }
            let (worst, what) = most;
            println!(
                "{:24} {usual:>8} {worst:>9} {:>6.1}  {what}, in frames of {frame}",
                world.name,
                worst as f64 / usual as f64
            );
            if worst > usual * MOST_TIMES {
                failed.push((world.name.clone(), frame, what));
            }
        }
        assert!(vm.memory() < 64 << 20, "{}", vm.memory());
    }
    assert!(failed.is_empty(), "{failed:?}");
}
