//! What tenants say stays with them: a word that is found nowhere else is put into each place where tenants and writers
//! put theirs, requests go every way that there is, and then all that Berth shows is searched for it, the log at its
//! most talkative too. What is documented to be shown is found, so that the search is seen to find.

use crate::account::file_log;
use crate::attempts::{at, placement, usual};
use crate::desk::{next, queue};
use crate::mesh::health;
use crate::support::bootstrap::{Bootstrap, Carried, INGRESS, wasm_filter};
use crate::support::broken::{TRAPS, broken};
use crate::support::client::{Ask, BOTH, Seen};
use crate::support::envoy::{Envoy, workdir};
use crate::support::upstream::{Script, Upstream};
use crate::support::{built, eventually, everywhere};
use berth::manifest::envoy::cluster::Endpoint;
use berth::manifest::envoy::route::Way;
use berth::place::replay::pseudonym;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;

/// A tenant with an envelope and a budget, one whose budget is nothing, one that no policy knows.
const TENANT: &str = "qztenantrich";
const POOR: &str = "qztenantpoor";
const STRANGER: &str = "qztenantstrange";
/// Shown in the replay record, and nowhere else.
const DATA: &str = "qzdataclass";
const MODEL: &str = "qzmodel";
const PATH: &str = "qzpath";
const PREDICATE: &str = "qzpredicate";
/// Shown nowhere.
const SESSION: &str = "qzsession";
const APPROVAL: &str = "qzapproval";
const PROMPT: &str = "qzprompt";
const CREDENTIAL: &str = "qzcredential";
const QUERY: &str = "qzquery";
const IDEMPOTENCY: &str = "qzidempotency";
const RUBBISH: &str = "qzrubbish";
const WRITER: &str = "qzwritertoken-0123456789";
const FORGER: &str = "qzforgedtoken-0123456789";

const ALL: [&str; 16] = [
    TENANT,
    POOR,
    STRANGER,
    DATA,
    MODEL,
    PATH,
    PREDICATE,
    SESSION,
    APPROVAL,
    PROMPT,
    CREDENTIAL,
    QUERY,
    IDEMPOTENCY,
    RUBBISH,
    WRITER,
    FORGER,
];

/// How a world is configured: whether tenants are digests, and what the filter does.
#[derive(Clone, Copy, Debug)]
struct Setting {
    hashed: bool,
    mode: &'static str,
    way: Way,
}

/// All that is shown, by where.
type Shown = BTreeMap<&'static str, String>;

struct World {
    setting: Setting,
    envoy: Envoy,
    all: Vec<Upstream>,
}

fn policy() -> Value {
    let mut policy = crate::attempts::policy();
    for class in policy["classes"].as_array_mut().unwrap() {
        class["deadline_ms"] = 5_000.into();
    }
    for substrate in policy["substrates"].as_array_mut().unwrap() {
        substrate["capabilities"]["models"][MODEL] = json!({"quality": 0.8});
    }
    policy["envelopes"] = json!([
        {"name": "eu", "applies_to": {"tenants": [TENANT, POOR]}, "permit": {"jurisdictions": ["EU"]}, "spillover": "jurisdiction"},
        {"name": "of-data", "applies_to": {"data": [DATA]}, "permit": {"substrates": ["a", "b"]}, "spillover": "jurisdiction"}]);
    let budget =
        |tenant: &str, usd: f64| json!({"tenant": tenant, "window_s": 31_536_000, "most_usd": usd, "fleet_share": 1});
    policy["budgets"] = json!([budget(TENANT, 100.0), budget(POOR, 0.000_001)]);
    policy
}

impl World {
    async fn start(setting: Setting) -> Self {
        let Setting { hashed, mode, way } = setting;
        let mut configuration = placement(way);
        let header = |name: &str, trusted: bool| json!({"header": name, "trusted": trusted});
        configuration["facts"] = json!({"tenant": header("x-tenant", true), "data": header("x-data", true),
            "session": header("x-session", false), "approval": header("x-approval", true), "model": header("x-model", false),
            "deadline_ms": header("x-deadline-ms", false), "input_tokens": header("x-tokens", false)});
        for (name, value) in [
            ("policy", policy()),
            ("mode", json!(mode)),
            ("hash_tenants", json!(hashed)),
            ("log_level", json!("trace")),
            ("replay", json!(true)),
            ("keys", json!(["substrate", "class", "binding", "spill", "attempts"])),
            ("decision_response", json!(true)),
            ("decision_upstream", json!(true)),
            ("features_header", json!("x-needs")),
            ("body", json!({"headers_stop": true, "prefix_bytes": 4_096, "hold_ms": 300, "data_key": "data_class"})),
            ("hops", json!({"tell": true})),
            ("sample", json!(1)),
            ("time_sample", json!(1)),
            ("outcomes", json!(1)),
        ] {
            configuration[name] = value;
        }
        if mode == "shadow" {
            configuration["mirror"] = true.into();
        }
        let (mut all, mut bootstrap) = (Vec::new(), Bootstrap::default());
        for name in ["a", "b", "c", "forbidden"] {
            let upstream = Upstream::start(name).await;
            upstream.does_at("/health", health(name, 0));
            let endpoint = Endpoint { next_hop: true, sees_decisions: true, ..at(&upstream, name == "b") };
            bootstrap = bootstrap.substrate(name, &endpoint);
            all.push(upstream);
        }
        let source = |u: &Upstream| json!({"cluster": u.name, "path": "/health", "substrate": u.name, "interval_ms": 100, "timeout_ms": 90});
        let telemetry = json!({"role": "telemetry", "policy": policy(), "log_level": "trace", "tick_ms": 50,
            "sources": all.iter().map(source).collect::<Vec<_>>(),
            "listener": {"headers_stop": true, "read": "anyone", "keep_snapshots": 64,
                "writers": [{"name": "agent", "token": WRITER, "reports": ["*"], "rollout": true}]}});
        let dir = workdir();
        let holds = |module: &std::path::Path, role, configuration: &Value| {
            let mut filter = wasm_filter(module, role, configuration, Carried::Text);
            filter["typed_config"]["config"]["allow_on_headers_stop_iteration"] = true.into();
            filter
        };
        let mut bootstrap = bootstrap
            .filter(holds(&broken(&built("berth.wasm"), &dir), "placement", &configuration))
            .routes(way, &["a", "b", "c", "forbidden"], Some("a"))
            .telemetry(holds(&built("berth.wasm"), "telemetry", &telemetry))
            .build();
        let http = &mut bootstrap["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"];
        http["access_log"] = file_log("access.log", "access-log.json");
        let router = http["http_filters"].as_array_mut().unwrap().last_mut().unwrap();
        router["typed_config"]["upstream_log"] = file_log("attempts.log", "attempt-log.json");
        let envoy = Envoy::start_in(dir, &bootstrap).await;
        let set = Ask::post(envoy.admin_address(), "/logging?wasm=debug", "").send().await.unwrap();
        assert!(set.text().contains("wasm: debug"), "{}", set.text());
        Self { setting, envoy, all }
    }

    /// A request with a word in every place, of one tenant.
    fn ask(&self, tenant: &str, class: &str) -> Ask {
        self.ask_as("application/json", tenant, class)
    }

    fn ask_as(&self, kind: &str, tenant: &str, class: &str) -> Ask {
        let said = json!({"model": MODEL, "data_class": DATA, "user": PROMPT, "max_tokens": 10, "metadata": {PROMPT: PROMPT},
            "messages": [{"role": "user", "content": format!("{PROMPT} {PROMPT}")}]});
        let path = format!("/v1/{PATH}?key={QUERY}");
        let ask = Ask::post(self.envoy.listener(INGRESS), &path, said.to_string());
        [
            ("content-type", kind),
            ("x-tenant", tenant),
            ("x-workload", class),
            ("x-session", SESSION),
            ("x-approval", APPROVAL),
            ("authorization", &format!("Bearer {CREDENTIAL}")),
            ("x-api-key", CREDENTIAL),
            ("cookie", &format!("session={SESSION}; key={CREDENTIAL}")),
            ("idempotency-key", IDEMPOTENCY),
            ("x-deadline-ms", RUBBISH),
            ("x-needs", RUBBISH),
            ("x-tokens", RUBBISH),
        ]
        .into_iter()
        .fold(ask, |ask, (name, value)| ask.header(name, value))
    }

    /// Every way that requests go; what clients were answered.
    async fn requests(&self) -> Vec<Seen> {
        let mut seen = Vec::new();
        let a = &self.all[0];
        for http in BOTH {
            let asks = [
                self.ask(TENANT, "again"),
                self.ask(POOR, "again"),
                self.ask(STRANGER, "once"),
                self.ask(STRANGER, "once").header("x-data", "public"),
                self.ask_as("application/grpc", STRANGER, "once").header("te", "trailers"),
                self.ask(STRANGER, "once").header("x-placement-cluster", RUBBISH),
                // Contradicting itself, a word for a number, a body that is none.
                self.ask(TENANT, "again").header("x-session", "another"),
                self.ask(TENANT, "again").header("x-tenant", STRANGER),
                self.ask(TENANT, PREDICATE).header("x-model", MODEL),
                self.ask(TENANT, "again").header("x-placement-budget", &format!("ms={RUBBISH};id={RUBBISH}")),
                self.ask(TENANT, "again").header(RUBBISH, &"f".repeat(20_000)),
            ];
            for ask in asks {
                seen.push(ask.over(http).send().await.unwrap());
            }
            for script in
                [Script::status(503), Script::overloaded(1), Script::Reset, Script::after(700, Script::ok("a"))]
            {
                a.does(script);
                for class in ["again", "hedged", "once"] {
                    seen.extend(self.ask(TENANT, class).over(http).send().await);
                }
            }
            a.does(Script::ok("a"));
        }
        seen
    }

    /// What writers send, with a token and without.
    async fn reports(&self) -> Vec<Seen> {
        let to = self.envoy.listener("telemetry");
        let mut seen = Vec::new();
        for http in BOTH {
            for token in [WRITER, FORGER] {
                for (path, body) in [
                    ("/substrates/a", queue(next(), 1)),
                    ("/substrates/a", json!({"sequence": next(), "signals": {"queue_depth": SESSION}}).to_string()),
                    ("/substrates/a", format!("{{\"{PROMPT}\"")),
                    ("/rollout", json!({"state": RUBBISH}).to_string()),
                ] {
                    let ask = Ask::put(to, &format!("{path}?{QUERY}"), body).over(http);
                    seen.push(ask.header("authorization", &format!("Bearer {token}")).send().await.unwrap());
                }
            }
        }
        seen
    }

    /// The request that traps, once in each worker or not, and the VM's return.
    async fn trap(&self) {
        let ask = (0..TRAPS).fold(self.ask(TENANT, "again"), |ask, n| ask.header(&format!("x-strike-{n}"), RUBBISH));
        assert_eq!(ask.send().await.unwrap().status, 503, "the request that traps");
        eventually("the log says so", || async { self.envoy.log().contains("unreachable").then_some(()) }).await;
        everywhere("both workers serve again", || async {
            self.ask(TENANT, "again").send().await.is_ok_and(|seen| seen.status == 200)
        })
        .await;
    }

    /// Everything that is shown, once there is something everywhere.
    async fn shown(&self, answers: &[Seen]) -> Shown {
        let mut shown = Shown::new();
        let budget = format!("berth.budget.uusd.tenant.{}", self.name_of(TENANT));
        let stats = eventually("what tenants have spent is counted", || async {
            let text = self.envoy.admin_get("/stats").await.text();
            text.contains(&budget).then_some(text)
        });
        shown.insert("stats", stats.await);
        shown.insert("prometheus", self.envoy.admin_get("/stats/prometheus").await.text());
        // What the page shows of the last decisions comes with the next picture.
        let to = self.envoy.listener("telemetry");
        let get = async |path: &str| Ask::get(to, path).send().await.unwrap();
        let state = eventually("a picture and decisions are there", || async {
            let state: Value = serde_json::from_slice(&get("/state").await.body).ok()?;
            let decided = state["decisions"].as_array().is_some_and(|all| !all.is_empty());
            (decided || self.setting.mode == "passthrough").then_some(state)
        })
        .await;
        let epoch = state["snapshot"]["epoch"].as_u64().unwrap();
        shown.insert("state", state.to_string());
        for (name, path) in [("page", "/"), ("snapshot", "/snapshot"), ("rollout", "/rollout")] {
            let seen = get(path).await;
            assert_eq!(seen.status, 200, "{path}");
            shown.insert(name, seen.text());
        }
        shown.insert("kept snapshot", get(&format!("/snapshots/{epoch}")).await.text());

        let (mut replay, mut access) = (String::new(), String::new());
        for mut line in self.envoy.access_log(answers.len()).await {
            let _ = writeln!(replay, "{}", line["replay"].take());
            // The path is the proxy's own to show, without its query.
            assert!(!line["path"].take().as_str().unwrap().contains(QUERY));
            let _ = writeln!(access, "{line}");
        }
        shown.insert("replay", replay);
        shown.insert("access log", access);
        let attempts = fs::read_to_string(self.envoy.dir().join("attempts.log")).unwrap();
        shown.insert("attempt log", attempts);
        shown.insert("log", self.envoy.log());
        let mut told = String::new();
        for received in self.all.iter().flat_map(Upstream::received) {
            for (name, value) in received.lines.iter().filter(|(name, _)| name.starts_with("x-placement-")) {
                let _ = writeln!(told, "{name}: {value}");
            }
        }
        shown.insert("substrates", told);
        let answers = answers.iter().map(|seen| format!("{seen:?} {}\n", seen.text()));
        shown.insert("answers", answers.collect());
        shown
    }

    /// What a tenant is called where it may be named.
    fn name_of(&self, tenant: &str) -> String {
        if self.setting.hashed { format!("{:016x}", pseudonym(tenant)) } else { tenant.into() }
    }

    /// What is documented to be shown there.
    fn documented(&self) -> BTreeSet<(&'static str, &'static str)> {
        let mut documented = BTreeSet::new();
        if self.setting.mode != "passthrough" {
            documented.extend([DATA, MODEL, PATH, PREDICATE].map(|word| ("replay", word)));
            if !self.setting.hashed {
                documented.extend([TENANT, POOR, STRANGER].map(|word| ("replay", word)));
            }
        }
        if !self.setting.hashed {
            // Budgets, of those who have one.
            let counted = [("stats", TENANT), ("stats", POOR), ("prometheus", TENANT), ("prometheus", POOR)];
            documented.extend(counted);
        }
        documented
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_tenants_say_is_shown_but_where_that_is_documented() {
    let settings = [(true, "enforce", usual()), (false, "enforce", usual()), (true, "enforce", Way::Simple)];
    let settings = settings.into_iter().chain([(true, "shadow", Way::Simple), (false, "passthrough", Way::Simple)]);
    for (hashed, mode, way) in settings {
        let setting = Setting { hashed, mode, way };
        let world = World::start(setting).await;
        everywhere("decisions are made from a live picture", || async {
            let seen = world.ask(TENANT, "again").send().await.unwrap();
            mode == "passthrough" || seen.header("x-placement-decision").is_some_and(|d| d.contains("fresh=live"))
        })
        .await;
        let mut answers = world.requests().await;
        let statuses: BTreeSet<u16> = answers.iter().map(|seen| seen.status).collect();
        let refused = [403, 429].iter().all(|status| statuses.contains(status));
        assert!(statuses.contains(&200) && refused == (mode == "enforce"), "{setting:?}: {statuses:?}");
        let reports = world.reports().await;
        let statuses: BTreeSet<u16> = reports.iter().map(|seen| seen.status).collect();
        assert!([200, 400, 401].iter().all(|status| statuses.contains(status)), "{statuses:?}");
        answers.extend(reports);
        world.trap().await;
        let shown = world.shown(&answers).await;
        for (place, text) in &shown {
            let least = if ["replay", "access log"].contains(place) { 10 } else { 1 };
            let none = mode == "passthrough" && *place == "substrates" || *place == "attempt log" && text.is_empty();
            assert!(none || text.lines().count() >= least, "{setting:?}: nothing is in {place}");
        }
        let mut found = BTreeSet::new();
        for (place, text) in &shown {
            let text = text.to_lowercase();
            found.extend(ALL.into_iter().filter(|word| text.contains(word)).map(|word| (*place, word)));
        }
        assert_eq!(found, world.documented(), "{setting:?}");
        if mode == "enforce" {
            for tenant in [TENANT, POOR, STRANGER] {
                assert!(shown["replay"].contains(&world.name_of(tenant)), "{setting:?}: {tenant} is in the record");
            }
            assert!(shown["stats"].contains(&world.name_of(TENANT)), "{setting:?}");
            assert!(shown["substrates"].contains("x-placement-decision"), "{setting:?}");
            let fell = shown["attempt log"].contains(r#""cluster":"b""#);
            assert_eq!(fell, way == Way::Full, "{setting:?}: what failed was tried elsewhere");
        }
    }
}
