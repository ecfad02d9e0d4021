//! The telemetry page, in a real browser: drawn by its own script from what Envoy serves, with nothing from elsewhere.

use crate::desk::{FLEET, Harbour, listener, next, telemetry_with};
use crate::support::bootstrap::INGRESS;
use crate::support::client::{Ask, Http};
use crate::support::envoy::workdir;
use crate::support::eventually;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

/// The browser that the build's tools name.
fn browser() -> String {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join(".ci/tools");
    let found = Command::new(tools).arg("chromium").stderr(Stdio::inherit()).output().unwrap();
    let found = String::from_utf8_lossy(&found.stdout).trim().to_string();
    assert!(!found.is_empty(), "no browser: `.ci/tools chromium` says why, or name one with CHROMIUM=");
    found
}

/// What the browser says of a page: the document after its script has run, and what it complained of.
struct Look {
    dom: String,
    complaints: Vec<String>,
}

fn look(url: &str, more: &[&str]) -> Look {
    let profile = workdir();
    let output = Command::new(browser())
        .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--enable-logging=stderr"])
        .args(["--timeout=20000", "--virtual-time-budget=3000", "--hide-scrollbars"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .args(more)
        .args(["--dump-dom", url])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let _ = std::fs::remove_dir_all(profile);
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    // What pages say is marked so; the rest is the browser's own.
    let complaints = log.lines().filter(|line| line.contains("CONSOLE")).map(String::from).collect();
    // What the script has drawn stands before the script and its state.
    let dom = String::from_utf8_lossy(&output.stdout).split("<script").next().unwrap_or_default().to_string();
    Look { dom, complaints }
}

fn report(signals: Value, attested: &str) -> String {
    let sequence = next();
    json!({"sequence": sequence, "signals": signals,
        "attestation": {"jurisdiction": attested, "at_ms": sequence / 1_000}})
    .to_string()
}

/// One that is well, one that is full, one that rests on its provider's limit.
async fn fill(harbour: &Harbour) {
    let metal = json!({"queue_depth": 3, "memory_pressure": 0.62, "interconnect": 0.31, "rack_congestion": 0.12,
        "power_headroom": 0.44, "cooling_headroom": 0.38, "cpu_use": 0.27, "accelerator_use": 0.71, "running": 21, "first_token_ms": 212, "drift": 0.04, "speed_factor": 1.06, "hosts": 8});
    let onprem = json!({"queue_depth": 480, "memory_pressure": 0.94, "interconnect": 0.81, "accelerator_use": 0.98, "running": 64,
        "first_token_ms": 1904, "drift": 0.37, "speed_factor": 4.7, "oscillation": 0.22, "hosts": 4});
    let provider = json!({"rate_remaining": 1_840, "tokens_remaining": 2_200_000, "first_token_ms": 98, "input_price_usd_per_mtok": 0.15,
        "output_price_usd_per_mtok": 0.6, "link": 0.999});
    for (name, signals, country) in
        [("metal-fr", metal, "FR"), ("onprem-de", onprem, "DE"), ("provider-us", provider, "US")]
    {
        let seen = harbour.put(Http::One, FLEET, name, &report(signals, country)).await;
        assert_eq!(seen.status, 200, "{}", seen.text());
    }
}

/// Where the chat of a tenant goes does not matter here.
async fn ask(harbour: &Harbour, tenant: &str) {
    let ask = Ask::post(harbour.envoy.listener(INGRESS), "/v1/chat/completions", "{}");
    ask.header("x-tenant", tenant).header("x-workload", "chat").send().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_drawn_in_a_browser_and_shows_what_is_known() {
    let mut telemetry = listener();
    telemetry["read"] = "anyone".into();
    let mut filter = telemetry_with(telemetry);
    // One source that answers nothing of use and one whose cluster is not there.
    let text = filter["typed_config"]["config"]["configuration"]["value"].as_str().unwrap().to_string();
    let mut configuration: Value = serde_json::from_str(&text).unwrap();
    configuration["sources"] = json!([
        {"cluster": "metal-fr", "path": "/nothing", "substrate": "metal-fr", "interval_ms": 100},
        {"cluster": "gone", "path": "/metrics", "substrate": "onprem-de", "format": "vllm", "interval_ms": 100}]);
    // Two of a kind in two regions, of which one is slower, in the layers of a capacity plan.
    let metal = &mut configuration["policy"]["substrates"][0];
    (metal["kind"], metal["location"]["region"]) = ("gpu".into(), "r2".into());
    metal["labels"] = json!({"capacity_layer": "2"});
    filter["typed_config"]["config"]["configuration"]["value"] = configuration.to_string().into();
    let harbour = Harbour::start_with(filter, |_| {}).await;
    let to = harbour.envoy.listener("telemetry");
    eventually("a full substrate admits nobody", || async {
        fill(&harbour).await;
        let seen = Ask::get(to, "/state").send().await.unwrap();
        let state: Value = serde_json::from_slice(&seen.body).unwrap();
        let full = &state["snapshot"]["substrates"][1];
        let failed = |at: usize| state["sources"]["sources"][at]["failed"].as_u64() > Some(0);
        (full["admission"] == "closed" && failed(0) && failed(1)).then_some(())
    })
    .await;
    let harbour = Arc::new(harbour);
    // Browsers take their time: meanwhile the world goes on.
    let world = harbour.clone();
    let going_on = tokio::spawn(async move {
        loop {
            fill(&world).await;
            for tenant in ["acme", "initech", "acme", "nobody", "acme"] {
                ask(&world, tenant).await;
            }
        }
    });
    eventually("as many decisions are known as the page shows", || async {
        let seen = Ask::get(to, "/state").send().await.unwrap();
        let state: Value = serde_json::from_slice(&seen.body).unwrap();
        (state["decisions"].as_array().map_or(0, Vec::len) >= 20).then_some(())
    })
    .await;
    let url = format!("http://{to}/");
    let seen = look(&url, &[]);
    assert_eq!(seen.complaints, Vec::<String>::new(), "the script ran, and nothing was kept from it");
    for (what, text) in [
        ("a substrate", r#"id="substrate-onprem-de""#),
        ("an admission", "admits nobody"),
        ("a circuit", "circuit closed"),
        ("a signal", "memory pressure"),
        ("its value", "94 %"),
        ("drift", "+37 %"),
        ("what kind it is, and where", "<div class=\"note\">gpu · r2 · layer 2</div>"),
        (
            "what is bounded and nobody says",
            "bounded and not heard: rack congestion, east west, power headroom, cooling headroom",
        ),
        ("its age", r#"<td class="a">"#),
        (
            "a region beside others",
            r#"<td>region</td><td><b>r1</b></td><td><span class="pill warn">4.43 times as slow as"#,
        ),
        (
            "what stands alone",
            r#"<td>nothing to compare</td><td><b></b></td><td><span class="pill calm">gpu, provider<"#,
        ),
        ("how busy processors are", "cpu use"),
        ("and accelerators", "accelerator use"),
        ("an attestation", "attested DE"),
        ("the epoch", "<dt>epoch</dt>"),
        ("the writer", "<dt>writer</dt>"),
        ("the switch", "<dt>rollout</dt>"),
        ("a source", "gone/metrics"),
        ("its failure", "unsent"),
        ("another failure", "malformed"),
        ("the last decisions", "Last decisions"),
        ("where one went", "<b>metal-fr</b>"),
        ("what bound it", "sovereignty/"),
        ("what would have been", ", not provider-us"),
        ("what another one crossed", r#"<b>provider-us</b> <span class="pill warn">"#),
        ("one that was refused", "refused 403"),
        ("why", "governance/no-envelope"),
        ("by which policy", "test-mesh@3</code>"),
    ] {
        assert!(seen.dom.contains(text), "{what} is missing: {text}");
    }
    assert_eq!(seen.dom.matches("<td>interactive</td>").count(), 20, "the newest, each with its class");
    assert!(!seen.dom.contains("NaN") && !seen.dom.contains("undefined") && !seen.dom.contains("[object"));
    if let Some(folder) = std::env::var_os("PAGE_SHOTS").map(PathBuf::from) {
        for (name, more) in
            [("light", &[][..]), ("dark", &["--force-dark-mode", "--blink-settings=preferredColorScheme=0"])]
        {
            let shot = format!("--screenshot={}", folder.join(format!("telemetry-{name}.png")).display());
            let size = ["--window-size=1240,1620", &shot];
            look(&url, &[&size[..], more].concat());
        }
    }
    going_on.abort();
}

#[tokio::test]
async fn the_page_tells_a_browser_to_fetch_nothing_from_elsewhere_and_is_closed_by_default() {
    let harbour = Harbour::start(listener()).await;
    let seen = Ask::get(harbour.envoy.listener("telemetry"), "/").send().await.unwrap();
    assert_eq!((seen.status, seen.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(seen.header("content-security-policy").unwrap().starts_with("default-src 'none'; connect-src 'self'"));
    assert_eq!(seen.header("cache-control"), Some("no-store"));
    let mut closed = listener();
    closed.as_object_mut().unwrap().remove("read");
    let harbour = Harbour::start(closed).await;
    for path in ["/", "/state", "/snapshot", "/rollout"] {
        let ask = || Ask::get(harbour.envoy.listener("telemetry"), path);
        let seen = ask().send().await.unwrap();
        assert_eq!((seen.status, seen.header("www-authenticate")), (401, Some("Bearer realm=\"berth\"")), "{path}");
        let known = eventually("a picture is there", || async {
            let seen = ask().header("authorization", &format!("Bearer {FLEET}")).send().await.unwrap();
            (seen.status != 503).then_some(seen.status)
        });
        assert_eq!(known.await, 200, "{path}");
    }
}
