//! The books balance: over thousands of mixed requests with faults, what the metrics, the access log, the log of
//! attempts and the substrates themselves counted is the same to the last request, and the log replays whole.

use crate::attempts::{self, at};
use crate::fallbacks;
use crate::prometheus::Prometheus;
use crate::support::bootstrap::{Bootstrap, Carried, INGRESS, wasm_filter};
use crate::support::client::Ask;
use crate::support::envoy::Envoy;
use crate::support::upstream::{Script, Upstream};
use crate::support::{built, eventually};
use berth::explain::line::Line;
use berth::filter::config::{Config, parse};
use berth::health::{codec, json as picture};
use berth::manifest::envoy::route::Way;
use berth::model::metric::{labels, tag_rule};
use berth::place::inspect;
use berth::place::replay::{Identity, Replay, pseudonym};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

const FILE_LOG: &str = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog";
/// In each round, by each of so many clients at once.
const PER_CLIENT: usize = 180;
const CLIENTS: usize = 6;
/// Those with a budget.
const TENANTS: [&str; 2] = ["acme", "globex"];

fn shipped(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("envoy").join(name)).unwrap()
}

fn policy() -> Value {
    let mut policy = attempts::policy();
    for class in policy["classes"].as_array_mut().unwrap() {
        class["home"] = json!(["a"]);
        class["deadline_ms"] = 5_000.into();
    }
    // Two of one kind, and one that says nothing of itself.
    for (at, (hardware, zone)) in [("h100", "z1"), ("h200", "z1"), ("h200", "z2")].into_iter().enumerate() {
        policy["substrates"][at]["labels"] = json!({"hardware": hardware, "revision": "2026-10"});
        policy["substrates"][at]["location"]["zone"] = zone.into();
    }
    policy["breaking"] = json!({"dwell_ms": 200, "hold_down_ms": 400});
    // A dollar at this proxy, so that parts per million of it are micro-dollars, in windows of a year.
    policy["budgets"] = TENANTS
        .map(|tenant| json!({"tenant": tenant, "window_s": 31_536_000, "most_usd": 4, "fleet_share": 0.25}))
        .into_iter()
        .collect();
    policy
}

pub struct Books {
    pub envoy: Envoy,
    upstreams: Vec<Upstream>,
}

pub fn health(name: &str, queue_depth: u64) -> Script {
    Script::ok(&json!({"substrate": name, "signals": {"queue_depth": queue_depth, "memory_pressure": 0.3}}).to_string())
}

/// The shipped formats, as Envoy's configuration has them.
pub fn file_log(path: &str, format: &str) -> Value {
    let format: Value = serde_json::from_str(&shipped(format)).unwrap();
    json!([{"name": "file", "typed_config": {"@type": FILE_LOG, "path": path, "log_format": {"json_format": format}}}])
}

impl Books {
    /// Four substrates, both roles, full attachment, the shipped logs and label rules.
    pub async fn open() -> Self {
        Self::open_with(|_| {}).await
    }

    pub async fn open_with(change: impl FnOnce(&mut Value)) -> Self {
        let mut upstreams = Vec::new();
        for name in ["a", "b", "c", "forbidden"] {
            let upstream = Upstream::start(name).await;
            upstream.does_at("/health", health(name, 0));
            upstreams.push(upstream);
        }
        let mut placement = attempts::placement(Way::Full);
        placement["policy"] = policy();
        for (key, value) in [
            ("replay", json!(true)),
            ("hash_tenants", json!(true)),
            ("sample", json!(10)),
            ("time_sample", json!(10)),
            ("outcomes", json!(1)),
        ] {
            placement[key] = value;
        }
        placement["facts"]["zone"] = json!({"header": "x-zone"});
        let source = |u: &Upstream| json!({"cluster": u.name, "path": "/health", "substrate": u.name, "interval_ms": 100, "timeout_ms": 90});
        let telemetry = json!({"role": "telemetry", "policy": policy(), "tick_ms": 50,
            "sources": upstreams.iter().map(source).collect::<Vec<_>>(),
            "listener": {"headers_stop": true, "read": "anyone", "keep_snapshots": 4_096}});
        let mut watcher = wasm_filter(&built("berth.wasm"), "telemetry", &telemetry, Carried::Text);
        watcher["typed_config"]["config"]["allow_on_headers_stop_iteration"] = true.into();
        let mut bootstrap = Bootstrap::default();
        for upstream in &upstreams {
            bootstrap = bootstrap.substrate(&upstream.name, &at(upstream, upstream.name == "b"));
        }
        let filter = wasm_filter(&built("berth.wasm"), "placement", &placement, Carried::Text);
        let mut bootstrap =
            bootstrap.filter(filter).routes(Way::Full, &["a", "b", "c", "forbidden"], None).telemetry(watcher).build();
        let http = &mut bootstrap["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"];
        http["access_log"] = file_log("access.log", "access-log.json");
        let mut text = http["access_log"][0].clone();
        text["typed_config"]["path"] = "access.txt".into();
        text["typed_config"]["log_format"] =
            json!({"text_format_source": {"inline_string": shipped("access-log.txt")}});
        http["access_log"].as_array_mut().unwrap().push(text);
        let router = http["http_filters"].as_array_mut().unwrap().last_mut().unwrap();
        router["typed_config"]["upstream_log"] = file_log("attempts.log", "attempt-log.json");
        let rule = |label: &&str| json!({"tag_name": label, "regex": tag_rule(label)});
        bootstrap["stats_config"] = json!({"stats_tags": labels().iter().map(rule).collect::<Vec<_>>()});
        change(&mut bootstrap);
        Self { envoy: Envoy::start(&bootstrap).await, upstreams }
    }

    pub fn upstream(&self, name: &str) -> &Upstream {
        self.upstreams.iter().find(|u| u.name == name).unwrap()
    }

    /// A mix of tenants, classes and sizes; says how many were asked.
    pub async fn ask_many(&self, round: usize, each: usize) -> usize {
        let clients = (0..CLIENTS).map(|client| {
            let to = self.envoy.listener(INGRESS);
            tokio::spawn(async move {
                for n in 0..each {
                    let tenant = ["acme", "acme", "globex", "initech", "nobody"][(n + client) % 5];
                    let class = ["once", "again", "other"][n / 5 % 3];
                    let ask = Ask::post(to, &format!("/v1/x?round={round}"), "x".repeat(n % 7 * 100));
                    let ask = ask.header("x-zone", ["z1", "moon"][n % 2]);
                    ask.header("x-tenant", tenant).header("x-workload", class).send().await.unwrap();
                }
            })
        });
        for client in clients.collect::<Vec<_>>() {
            client.await.unwrap();
        }
        each * CLIENTS
    }

    /// The metrics of the placement role as Prometheus reads them, by name and labels.
    pub async fn metrics(&self) -> BTreeMap<String, u64> {
        let text = self.envoy.admin_get("/stats/prometheus").await.text();
        let lines = text.lines().filter(|line| line.starts_with("berth_"));
        lines
            .filter_map(|line| line.rsplit_once(' '))
            .filter_map(|(name, n)| Some((sorted(name), n.parse().ok()?)))
            .collect()
    }

    pub fn lines(&self, file: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.envoy.dir().join(file)).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }
}

/// A series with its labels in order.
fn sorted(series: &str) -> String {
    let (name, labels) = series.trim_end_matches('}').split_once('{').unwrap_or((series, ""));
    let mut labels: Vec<&str> = labels.split(',').filter(|label| !label.is_empty()).collect();
    labels.sort_unstable();
    format!("{name}{{{}}}", labels.join(","))
}

/// Sums of a metric over all its series.
fn sum(metrics: &BTreeMap<String, u64>, name: &str) -> u64 {
    let of = |key: &&String| key.split('{').next() == Some(name);
    metrics.iter().filter(|(key, _)| of(key)).map(|(_, n)| n).sum()
}

/// What is counted of requests, which does not change while there are none.
fn counted(metrics: &BTreeMap<String, u64>) -> Vec<(&String, &u64)> {
    let of_requests = [
        "decisions",
        "binding",
        "spillovers",
        "refusals",
        "planned",
        "rejections",
        "sampled",
        "routers",
        "undecided",
        "run",
        "ways",
        "timed",
        "stage_ns",
        "crossed",
        "answers",
        "destinations",
        "way_bytes",
    ];
    let counts =
        |key: &str| of_requests.iter().any(|name| key.strip_prefix("berth_").is_some_and(|k| k.starts_with(name)));
    metrics.iter().filter(|(key, _)| counts(key)).collect()
}

fn series(name: &str, labels: &[(&str, &str)]) -> String {
    let mut labels: Vec<_> = labels.iter().map(|(k, v)| format!("{k}=\"{v}\"")).collect();
    labels.sort();
    format!("{name}{{{}}}", labels.join(","))
}

/// The widest of the borders that a record names.
fn widest(crossed: &str) -> &'static str {
    let borders = ["jurisdiction", "region", "account", "regime", "zone"];
    borders.into_iter().find(|border| crossed.contains(border)).unwrap_or("none")
}

/// What the policy says of the substrate that was chosen.
fn count_run(count: &mut impl FnMut(&str, &[(&str, &str)], u64), class: &str, d: &Line) {
    let policy = policy();
    let mut all = policy["substrates"].as_array().unwrap().iter();
    let substrate = all.find(|s| s["name"] == d.get("substrate").unwrap()).unwrap();
    let label = |key: &str| substrate["labels"][key].as_str().unwrap_or("none").to_string();
    let (hardware, revision) = (label("hardware"), label("revision"));
    let on = [("class", class), ("hardware", hardware.as_str()), ("revision", revision.as_str())];
    let quality = (substrate["capabilities"]["models"]["m"]["quality"].as_f64().unwrap() * 1e6).round();
    count("berth_run", &on, 1);
    count("berth_run_quality_ppm", &on, quality as u64);
    count("berth_run_cost_uusd", &on, d.get("cost").unwrap().parse().unwrap());
}

/// What the metrics must be, counted from the log's decisions.
fn expected(decisions: &[Line]) -> BTreeMap<String, u64> {
    let mut expected = BTreeMap::new();
    let mut count =
        |name: &str, labels: &[(&str, &str)], by: u64| *expected.entry(series(name, labels)).or_default() += by;
    for d in decisions {
        let (class, refused) = (d.get("class").unwrap(), d.get("refused").is_some());
        let outcome = if refused { "refused" } else { "placed" };
        count(
            "berth_decisions",
            &[("class", class), ("substrate", d.get("substrate").unwrap_or("none")), ("outcome", outcome)],
            1,
        );
        if refused {
            let (dimension, reason) = d.get("reason").unwrap().split_once('/').unwrap();
            count("berth_refusals", &[("class", class), ("dimension", dimension), ("reason", reason)], 1);
        } else {
            count_run(&mut count, class, d);
            count("berth_planned", &[("attempts", &d.items("plan").len().to_string())], 1);
            count(
                "berth_cost_uusd",
                &[("class", class), ("regime", "reserved")],
                d.get("cost").unwrap().parse().unwrap(),
            );
        }
        let binding = d.item("binding").unwrap();
        count("berth_binding", &[("dimension", &binding.value), ("reason", binding.param("by").unwrap_or("none"))], 1);
        count("berth_freshness", &[("fresh", d.get("fresh").unwrap())], 1);
        count("berth_classified", &[("by", d.item("class").unwrap().param("by").unwrap_or("trusted"))], 1);
        if let Some(spill) = d.item("spill") {
            let border = widest(spill.param("x").unwrap_or_default());
            count("berth_spillovers", &[("class", class), ("border", border)], 1);
            for (what, key) in [("cost", "cost"), ("egress", "egress"), ("time", "us")] {
                let n: i64 = spill.param(key).unwrap().parse().unwrap();
                let unit = if what == "time" { "us" } else { "uusd" };
                let way = if n < 0 { "saved" } else { "added" };
                count(&format!("berth_spillover_{what}_{way}_{unit}"), &[("border", border)], n.unsigned_abs());
            }
        }
        if d.get("last-resort").is_some() {
            count("berth_last_resort", &[], 1);
        }
    }
    expected
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_logs_and_substrates_agree_to_the_last_request_and_the_log_replays_whole() {
    let books = Books::open_with(fallbacks::watched).await;
    let mut asked = 0;
    for round in 0..5 {
        // Overload, resets, a failing second choice, a deep queue at home, and all well again.
        match round {
            1 => books.upstream("a").does(Script::overloaded(1)),
            2 => {
                books.upstream("a").does(Script::Reset);
                books.upstream("b").does(Script::status(503));
            }
            3 => {
                books.upstream("a").does(Script::ok("a"));
                books.upstream("a").does_at("/health", health("a", 500));
            }
            4 => {
                books.upstream("b").does(Script::ok("b"));
                books.upstream("a").does_at("/health", health("a", 0));
            }
            _ => {}
        }
        asked += books.ask_many(round, PER_CLIENT).await;
    }
    assert!(asked >= 5_000);
    let asked_u64 = asked as u64;
    // A scrape may fall between two counters of the same tick: two that say the same do not.
    let metrics = eventually("every decision was told", || async {
        let metrics = books.metrics().await;
        // Ends are told after decisions.
        let ended = sum(&metrics, "berth_answers") >= sum(&metrics, "berth_run");
        let told = sum(&metrics, "berth_decisions") >= asked_u64 && ended;
        tokio::time::sleep(std::time::Duration::from_millis(150)).await;
        (told && counted(&books.metrics().await) == counted(&metrics)).then_some(metrics)
    })
    .await;
    let lines = books.envoy.access_log(asked).await;
    assert_eq!((lines.len() as u64, sum(&metrics, "berth_decisions")), (asked_u64, asked_u64));
    let decisions: Vec<Line> = lines.iter().map(|l| Line::parse(l["decision"].as_str().unwrap()).unwrap()).collect();
    for (series, count) in expected(&decisions) {
        assert_eq!(metrics.get(&series), Some(&count), "{series}");
    }
    for (name, of) in [("berth_spillovers", "spill"), ("berth_refusals", "refused"), ("berth_planned", "plan")] {
        assert_eq!(sum(&metrics, name), decisions.iter().filter(|d| d.get(of).is_some()).count() as u64, "{name}");
    }
    assert!(sum(&metrics, "berth_spillovers") > 100 && sum(&metrics, "berth_refusals") > 900, "{metrics:?}");
    let sampled = sum(&metrics, "berth_sampled");
    assert!((asked_u64 / 20..asked_u64 / 5).contains(&sampled), "{sampled} of {asked} were sampled");
    assert_eq!(sum(&metrics, "berth_routers"), sampled * 5);
    zones_agree(&metrics, &decisions);
    ends_agree(&metrics, &lines);
    let timed = sum(&metrics, "berth_timed");
    assert!((asked_u64 / 20..asked_u64 / 5).contains(&timed), "{timed} of {asked} were timed");
    let spent_ns = sum(&metrics, "berth_stage_ns");
    assert!((timed..timed * 1_000_000).contains(&spent_ns), "{timed} decisions took {spent_ns} ns");
    assert_eq!(sum(&metrics, "berth_undecided"), 0);
    budgets_agree(&books, &lines).await;
    attempts_agree(&books, &lines).await;
    fallbacks_agree(&books, &lines).await;
    replays(&books, asked).await;
    rejections_agree(&books, &metrics, &lines);
}

/// Every reason of every rejected candidate was counted: as many as come out when each line is decided again.
fn rejections_agree(books: &Books, metrics: &BTreeMap<String, u64>, lines: &[Value]) {
    let mut snapshots = BTreeMap::new();
    for file in fs::read_dir(books.envoy.dir().join("snapshots")).unwrap() {
        let snapshot = picture::read(&fs::read(file.unwrap().path()).unwrap()).unwrap();
        let checksum = codec::carried_checksum(&codec::encode(&snapshot));
        snapshots.insert(Identity { writer: snapshot.writer, epoch: snapshot.epoch, checksum }, snapshot);
    }
    let mut configuration = attempts::placement(Way::Full);
    configuration["policy"] = policy();
    let Config::Placement(config) = parse(configuration.to_string().as_bytes()).unwrap() else { panic!() };
    let mut expected = BTreeMap::<String, u64>::new();
    for line in lines {
        let replay = Replay::parse(line["replay"].as_str().unwrap()).unwrap();
        let resolved = replay.resolve(&config.policy).unwrap();
        let snapshot = replay.snapshot.map(|identity| &snapshots[&identity]);
        let headers = resolved.headers();
        let facts = resolved.facts(&headers);
        let seen = inspect(&config.policy, snapshot, &replay.local, &facts, replay.now_ms, replay.seed);
        for code in seen.rows.iter().flat_map(|row| &row.reasons).map(|reason| reason.code) {
            let labels = [("dimension", code.dimension().as_str()), ("reason", code.as_str())];
            *expected.entry(series("berth_rejections", &labels)).or_default() += 1;
        }
    }
    let counted: BTreeMap<String, u64> = metrics
        .iter()
        .filter(|(name, n)| name.starts_with("berth_rejections{") && **n > 0)
        .map(|(name, n)| (name.clone(), *n))
        .collect();
    assert_eq!(counted, expected);
    assert!(counted.len() > 4, "{counted:?}");
    println!("rejected: {counted:?}");
}

/// What shows as used of a tenant's budget is what its placed requests were expected to cost, to the micro-dollar and
/// over both workers. The replay record says whose each was, by the same digest.
async fn budgets_agree(books: &Books, lines: &[Value]) {
    let mut charged = BTreeMap::<String, u64>::new();
    for line in lines {
        let decision = Line::parse(line["decision"].as_str().unwrap()).unwrap();
        let tenant = line["replay"].as_str().unwrap().split(';').find_map(|member| member.strip_prefix("T+#")).unwrap();
        if let Some(cost) = decision.get("cost") {
            *charged.entry(tenant.into()).or_default() += cost.parse::<u64>().unwrap();
        }
    }
    for tenant in TENANTS {
        let name = format!("{:016x}", pseudonym(tenant));
        let charged = charged[&name];
        assert!((1_000..1_000_000).contains(&charged), "{tenant} was charged {charged}");
        let of = |metric: &str| series(metric, &[("tenant", &name)]);
        let metrics = eventually("both workers have told what they spent", || async {
            let metrics = books.metrics().await;
            (metrics.get(&of("berth_budget_used_ppm")) >= Some(&charged)).then_some(metrics)
        })
        .await;
        assert_eq!(metrics[&of("berth_budget_used_ppm")], charged, "{tenant}");
        assert_eq!(metrics[&of("berth_budget_uusd")], 1_000_000);
        assert_eq!(metrics[&of("berth_budget_window_s")], 31_536_000);
        println!("{tenant} was charged {charged} micro-dollars, and so much shows as used");
    }
    let metrics = books.metrics().await;
    assert!(metrics["berth_budget_age_ms{}"] < 5_000, "{metrics:?}");
    assert_eq!(metrics.keys().filter(|key| key.starts_with("berth_budget_used_ppm")).count(), TENANTS.len());
}

/// Every placed request came from some zone and went to the zone of its substrate.
fn zones_agree(metrics: &BTreeMap<String, u64>, decisions: &[Line]) {
    let policy = policy();
    let zone = |name: &str| {
        let mut all = policy["substrates"].as_array().unwrap().iter();
        all.find(|s| s["name"] == name).unwrap()["location"]["zone"].as_str().unwrap()
    };
    for to in ["z1", "z2"] {
        let placed = decisions.iter().filter(|d| d.get("substrate").is_some_and(|name| zone(name) == to)).count();
        let from = |origin| *metrics.get(&series("berth_ways", &[("origin", origin), ("destination", to)])).unwrap();
        assert_eq!(from("z1") + from("other") + from("z2") + from("none"), placed as u64, "{to}");
        assert!(from("z1") > 0 && from("other") > 0 && from("z2") + from("none") == 0, "{to}");
    }
}

/// What the role saw of every end is what the proxy's own log says of it: how it came out, where it went, how many bytes.
fn ends_agree(metrics: &BTreeMap<String, u64>, lines: &[Value]) {
    let mut expected: BTreeMap<String, u64> = BTreeMap::new();
    let (mut good, mut late) = (0, 0);
    for line in lines {
        let d = Line::parse(line["decision"].as_str().unwrap()).unwrap();
        let Some(chosen) = d.get("substrate") else { continue };
        let planned: Vec<String> = d.items("plan").iter().map(|item| item.value.clone()).collect();
        let ran = line["cluster"].as_str().unwrap_or_else(|| panic!("{line}"));
        let went = match planned.iter().position(|name| name == ran) {
            Some(0) => "first",
            Some(_) => "later",
            None => "elsewhere",
        };
        *expected.entry(series("berth_destinations", &[("went", went)])).or_default() += 1;
        let plan = d.items("plan");
        // Each that was made, also those that came to nothing.
        for attempt in plan.iter().take(plan.iter().position(|item| item.value == ran).unwrap() + 1) {
            let border = widest(attempt.param("x").unwrap_or_default());
            *expected.entry(series("berth_crossed", &[("border", border)])).or_default() += 1;
        }
        let policy = policy();
        let mut all = policy["substrates"].as_array().unwrap().iter();
        let substrate = all.find(|s| s["name"] == ran).unwrap();
        let label = |key: &str| substrate["labels"][key].as_str().unwrap_or("none").to_string();
        let (hardware, revision) = (label("hardware"), label("revision"));
        let came = match line["status"].as_u64().unwrap() {
            200 => "good",
            429 => "overloaded",
            _ => "failed",
        };
        assert_eq!(chosen, planned[0]);
        let on =
            [("class", d.get("class").unwrap()), ("hardware", &hardware), ("revision", &revision), ("answer", came)];
        *expected.entry(series("berth_answers", &on)).or_default() += 1;
        let to = substrate["location"]["zone"].as_str().unwrap();
        let bytes = |field: &str| line[field].as_u64().unwrap();
        for (flow, bytes) in [("request", bytes("bytes_in")), ("answer", bytes("bytes_out"))] {
            *expected.entry(format!("{to} {flow}")).or_default() += bytes;
        }
        (good, late) = (good + usize::from(came == "good"), late + usize::from(went == "later"));
    }
    assert!(good > 1_000 && late > 200, "{good} good, {late} elsewhere than first");
    for (what, count) in &expected {
        if let Some((to, flow)) = what.split_once(' ').filter(|_| !what.contains('{')) {
            let of = |name: &&String| {
                name.starts_with("berth_way_bytes{")
                    && name.contains(&format!("destination=\"{to}\""))
                    && name.contains(&format!("flow=\"{flow}\""))
            };
            assert_eq!(metrics.keys().filter(of).map(|name| metrics[name]).sum::<u64>(), *count, "{what}");
        } else {
            assert_eq!(metrics.get(what), Some(count), "{what}");
        }
    }
    assert_eq!(sum(metrics, "berth_answers"), sum(metrics, "berth_run"));
}

/// Each attempt has its line, each line was received, and the last line's cluster is the request's.
async fn attempts_agree(books: &Books, lines: &[Value]) {
    let made: u64 = lines.iter().map(|l| l["attempts"].as_u64().unwrap()).sum();
    let attempts = eventually("every attempt is logged", || async {
        let attempts = books.lines("attempts.log");
        (attempts.len() as u64 >= made).then_some(attempts)
    })
    .await;
    let of = |name: &str| attempts.iter().filter(|l| l["cluster"] == name).count();
    for upstream in &books.upstreams {
        assert_eq!(upstream.received().len(), of(&upstream.name), "attempts at {}", upstream.name);
    }
    assert_eq!(attempts.len() as u64, made);
    let mut by_request: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    attempts.iter().for_each(|l| by_request.entry(l["request_id"].as_str().unwrap()).or_default().push(&l["cluster"]));
    let mut again = 0;
    for line in lines {
        let went = by_request.remove(line["request_id"].as_str().unwrap()).unwrap_or_default();
        assert_eq!(went.len() as u64, line["attempts"].as_u64().unwrap(), "{line}");
        assert!(went.is_empty() || went.contains(&&line["cluster"]), "{line}");
        again += usize::from(went.len() > 1);
    }
    assert!(by_request.is_empty() && again > 200, "{again} requests were tried again");
}

/// Every fallback was counted with its cause, and stands in the request's own line.
async fn fallbacks_agree(books: &Books, lines: &[Value]) {
    let mut expected: BTreeMap<String, u64> = BTreeMap::new();
    for (fallback, n) in fallbacks::summed_up(books)["fallbacks"].as_object().unwrap() {
        let (way, cause) = fallback.split_once(", ").unwrap();
        let (from, to) = way.split_once(" → ").unwrap();
        let cause = if cause == "500" { "5xx" } else { cause };
        let name = series("berth_fallbacks", &[("from", from), ("to", to), ("cause", cause)]);
        *expected.entry(name).or_default() += n.as_u64().unwrap();
    }
    let metrics = books.metrics().await;
    let counted = metrics.into_iter().filter(|(name, _)| name.starts_with("berth_fallbacks{"));
    assert_eq!(counted.collect::<BTreeMap<_, _>>(), expected);
    assert!(expected.len() > 2, "{expected:?}");
    let told: usize = lines.iter().filter_map(|line| line["fell"].as_str()).map(|text| text.matches('>').count()).sum();
    assert_eq!(told as u64, expected.values().sum::<u64>());
    println!("fell back: {expected:?}");
}

/// Collects the snapshots that the log names and has the tool decide everything again.
async fn replays(books: &Books, asked: usize) {
    let folder = books.envoy.dir().join("snapshots");
    fs::create_dir_all(&folder).unwrap();
    let epoch = |line: &Value| Line::parse(line["decision"].as_str()?).ok()?.get("epoch")?.parse::<u64>().ok();
    let mut epochs: Vec<u64> = books.lines("access.log").iter().filter_map(epoch).filter(|e| *e > 0).collect();
    epochs.sort_unstable();
    epochs.dedup();
    for epoch in &epochs {
        let seen = Ask::get(books.envoy.listener("telemetry"), &format!("/snapshots/{epoch}")).send().await.unwrap();
        assert_eq!(seen.status, 200, "{epoch}: {}", seen.text());
        fs::write(folder.join(format!("{epoch}.json")), &seen.body).unwrap();
    }
    let gone = Ask::get(books.envoy.listener("telemetry"), "/snapshots/999999").send().await.unwrap();
    assert_eq!(gone.status, 404);
    let file = books.envoy.dir().join("policy.json");
    fs::write(&file, policy().to_string()).unwrap();
    // The lines of text say the same as those of JSON.
    eventually("the lines of text are written", || async {
        let text = fs::read_to_string(books.envoy.dir().join("access.txt")).unwrap_or_default();
        (text.lines().count() == asked && text.ends_with('\n')).then_some(())
    })
    .await;
    for log in ["access.log", "access.txt"] {
        let log = books.envoy.dir().join(log);
        let output = Command::new(env!("CARGO_BIN_EXE_berth"))
            .args(["replay".as_ref(), file.as_os_str(), "--log".as_ref(), log.as_os_str()])
            .args(["--snapshots".as_ref(), folder.as_os_str()])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            text.starts_with(&format!("{asked} the same, 0 different, 0 not decidable\n")),
            "{}: {text}",
            log.display()
        );
    }
    assert!(epochs.len() > 5, "{} snapshots decided", epochs.len());
}

#[tokio::test]
async fn a_real_prometheus_scrapes_a_real_envoy_and_the_shipped_alert_fires_when_work_leaves_its_jurisdiction() {
    let books = Books::open().await;
    let rules =
        shipped("rules/recording.yaml") + shipped("rules/alerts.yaml").trim_start_matches(|c| c != '-').trim_start();
    let config = json!({"global": {"evaluation_interval": "200ms"}, "rule_files": ["rules.yml"], "scrape_configs": [
        {"job_name": "mesh", "scrape_interval": "200ms", "scrape_timeout": "200ms", "metrics_path": "/stats/prometheus",
            "static_configs": [{"targets": [books.envoy.admin_address().to_string()]}]}]});
    let prometheus = Prometheus::start_with(&config, &rules).await;
    let firing = || async {
        let seen = Ask::get(prometheus.address, "/api/v1/alerts").send().await.ok()?;
        let alerts: Value = serde_json::from_slice(&seen.body).ok()?;
        let names = alerts["data"]["alerts"].as_array()?.iter().filter(|a| a["state"] == "firing");
        Some(names.map(|a| a["labels"]["alertname"].as_str().unwrap().to_string()).collect::<Vec<_>>())
    };
    let all_home = || async {
        let ask = Ask::post(books.envoy.listener(INGRESS), "/v1/x", "x")
            .header("x-tenant", "acme")
            .header("x-workload", "once");
        ask.send().await.unwrap().text() == "a"
    };
    assert!(all_home().await);
    let scraped = |wanted: &'static str| {
        let address = prometheus.address;
        async move {
            let query = format!("/api/v1/query?query=sum({wanted})");
            let seen = Ask::get(address, &query).send().await.ok()?;
            let answer: Value = serde_json::from_slice(&seen.body).ok()?;
            answer["data"]["result"][0]["value"][1].as_str()?.parse::<f64>().ok()
        }
    };
    eventually("the first decision was scraped", || async { scraped("berth_decisions").await.filter(|n| *n >= 1.0) })
        .await;
    assert!(!firing().await.unwrap().contains(&String::from("BerthSpilloverOverJurisdiction")));

    books.upstream("a").does_at("/health", health("a", 500));
    eventually("work leaves its home", || async { (!all_home().await).then_some(()) }).await;
    eventually("the alert fires", || async {
        // Prometheus sees an increase between two scrapes: there has to be more than one spillover.
        let _ = all_home().await;
        firing().await?.contains(&String::from("BerthSpilloverOverJurisdiction")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_tracers_spans_carry_the_decision() {
    let collector = Upstream::start("collector").await;
    let address = collector.address;
    let books = Books::open_with(|bootstrap| {
        let cluster = at(&collector, false).render("collector");
        bootstrap["static_resources"]["clusters"].as_array_mut().unwrap().push(cluster);
        let http = &mut bootstrap["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"];
        http["tracing"] = json!({
            "random_sampling": {"value": 100},
            "custom_tags": [{"tag": "berth.decision", "value": "%FILTER_STATE(wasm.placement:PLAIN)%"},
                {"tag": "gen_ai.request.model", "request_header": {"name": "x-model"}}],
            "provider": {"name": "zipkin", "typed_config": {
                "@type": "type.googleapis.com/envoy.config.trace.v3.ZipkinConfig", "collector_cluster": "collector",
                "collector_endpoint": "/spans", "collector_endpoint_version": "HTTP_JSON", "collector_hostname": address.to_string()}}
        });
    })
    .await;
    let ask = Ask::post(books.envoy.listener(INGRESS), "/v1/x", "x").header("x-tenant", "acme").header("x-model", "m");
    ask.header("x-workload", "once").send().await.unwrap();
    let tags = eventually("a span arrives", || async {
        let bodies = collector.received().into_iter().filter(|r| r.path == "/spans");
        let mut spans = bodies.flat_map(|r| serde_json::from_slice::<Vec<Value>>(&r.body).unwrap_or_default());
        spans.find(|span| span["tags"]["berth.decision"].is_string()).map(|span| span["tags"].clone())
    })
    .await;
    let decision = Line::parse(tags["berth.decision"].as_str().unwrap()).unwrap();
    assert_eq!((decision.get("class"), &tags["gen_ai.request.model"]), (Some("once"), &json!("m")));
}
