//! `berth render` without a proxy: the examples are what would be rendered, what is rendered says which policy it holds,
//! and a deployment file that is wrong is refused with its place.

#![cfg(not(target_family = "wasm"))]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

use berth::manifest::envoy::route::early_removal;
use berth::model::contract::{BUDGET_HEADER, OWN_HEADERS};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The tool's exit code and what it said.
fn berth(arguments: &[&str]) -> (i32, String) {
    let said = Command::new(env!("CARGO_BIN_EXE_berth"))
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let text = [said.stdout, said.stderr].concat();
    (said.status.code().unwrap(), String::from_utf8_lossy(&text).into())
}

const EXAMPLES: [(&str, &str, &str); 5] = [
    ("envoy", "examples/envoy/deployment.yaml", "examples/envoy/rendered"),
    ("envoy-discovered", "examples/envoy/deployment.yaml", "examples/envoy/rendered-discovered"),
    ("istio", "examples/istio/deployment.yaml", "examples/istio/rendered"),
    ("envoy-gateway", "examples/envoy-gateway/deployment.yaml", "examples/envoy-gateway/rendered"),
    ("kustomize", "examples/kustomize/place.yaml", "examples/kustomize/rendered"),
];

/// `BLESS=1` renders them anew.
#[test]
fn the_examples_are_what_would_be_rendered() {
    for (target, deployment, folder) in EXAMPLES {
        if std::env::var_os("BLESS").is_some() {
            assert_eq!(berth(&["render", target, deployment, "-o", folder]).0, 0);
        }
        let (code, said) = berth(&["render", target, deployment, "-o", folder, "--check"]);
        assert_eq!((code, said.as_str()), (0, ""), "{target}: BLESS=1 cargo test --test render");
    }
}

#[test]
fn a_writer_that_stalls_at_the_desk_is_not_waited_for() {
    for file in
        ["envoy/rendered/envoy.yaml", "envoy-gateway/rendered/envoypatchpolicy.yaml", "istio/rendered/envoyfilter.yaml"]
    {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(file)).unwrap();
        assert_eq!(text.matches("request_timeout: '10s'").count(), 1, "{file}: it is the desk's alone");
    }
}

/// How long a connection to `gpu-de`, `gpu-fr` and the provider, which speaks TLS, may take.
fn connects(policy: &str, more: &str) -> [String; 3] {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dir = folder("connect");
    let deployment = fs::read_to_string(root.join(EXAMPLES[0].1)).unwrap();
    let deployment = deployment.replace("../../policies/starter.yaml", "policy.yaml");
    fs::write(
        dir.join("deployment.yaml"),
        deployment.replace("http2: true}\n  provider", &format!("{more}}}\n  provider")),
    )
    .unwrap();
    fs::write(dir.join("policy.yaml"), policy).unwrap();
    let file = dir.join("deployment.yaml");
    let (code, said) = berth(&["render", "envoy", file.to_str().unwrap(), "-o", dir.to_str().unwrap()]);
    assert_eq!(code, 0, "{said}");
    let rendered = fs::read_to_string(dir.join("envoy.yaml")).unwrap();
    ["gpu-de", "gpu-fr", "provider-us"].map(|cluster| {
        let (_, of) = rendered.split_once(&format!("  - name: {cluster}\n")).unwrap();
        let (_, taken) = of.split_once("connect_timeout: '").unwrap();
        taken.split_once('\'').unwrap().0.to_owned()
    })
}

#[test]
fn a_connection_may_take_no_longer_than_the_shortest_attempts_part_of_a_deadline_there() {
    let starter = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/starter.yaml")).unwrap();
    let hasty = |by: &str| starter.replacen("deadline_ms: 8000", by, 1);
    let (usual, plain) = ("1s", "http2: true");
    for (class, taken) in [
        ("deadline_ms: 8000", [usual; 3]),
        ("deadline_ms: 3000", [usual; 3]),
        ("deadline_ms: 2997", ["0.999s"; 3]),
        // No attempt is planned that is shorter than an answer is declared to take, or takes by its kind.
        ("deadline_ms: 600", ["0.250s", "0.250s", "0.500s"]),
        ("deadline_ms: 600\n    attempts: {most: 1}", ["0.600s"; 3]),
        ("deadline_ms: 6000\n    attempts: {most: 3, per_try_ms: 300}", ["0.300s", "0.300s", "0.500s"]),
        // What is in too great a hurry for the declared 250 ms is never sent there.
        ("deadline_ms: 240", [usual; 3]),
    ] {
        assert_eq!(connects(&hasty(class), plain), taken, "{class}");
    }
    let quick = hasty("deadline_ms: 90").replacen("first_token_ms: 250", "first_token_ms: 20", 1);
    let far = "    capacity: {concurrency: 500}";
    let quick = quick.replacen(far, &format!("    latency: {{first_token_ms: 20}}\n{far}"), 1);
    assert_eq!(connects(&quick, plain), ["0.050s", "0.050s", "0.100s"]);
    let two = hasty("deadline_ms: 900") + "selection: {plan: 2}\n";
    assert_eq!(connects(&two, plain), ["0.450s", "0.450s", "0.500s"], "no plan has more");
    // A class in a hurry is no concern of where it may not run, or cannot.
    let only =
        "  - name: hasty\n    applies_to: {classes: [chat]}\n    permit: {substrates: [gpu-fr]}\n    spillover: any\n";
    assert_eq!(connects(&(hasty("deadline_ms: 900") + only), plain), [usual, "0.300s", usual]);
    let able = hasty("deadline_ms: 900\n    limits: {min_quality: 0.8}").replacen(
        "    cost: {regime: on-demand",
        "    capabilities: {models: {llama-3.1-8b: {quality: 0.9}}}\n    cost: {regime: on-demand",
        1,
    );
    assert_eq!(connects(&able, plain), [usual, "0.300s", usual]);
    // Who knows better says so.
    let told = "http2: true, connect_ms: 1500";
    assert_eq!(connects(&hasty("deadline_ms: 600"), told), ["0.250s", "1.500s", "0.500s"]);
}

#[test]
fn a_file_that_differs_is_named() {
    let dir = folder("differs");
    assert_eq!(berth(&["render", "envoy", EXAMPLES[0].1, "-o", dir.to_str().unwrap()]).0, 0);
    let file = dir.join("envoy.yaml");
    fs::write(&file, fs::read_to_string(&file).unwrap() + "# by hand\n").unwrap();
    let (code, said) = berth(&["render", "envoy", EXAMPLES[0].1, "-o", dir.to_str().unwrap(), "--check"]);
    assert_eq!(code, 1);
    assert!(said.contains("envoy.yaml: not what would be rendered"), "{said}");
}

/// A sidecar's patches would be applied beside a waypoint's filter; what is somebody else's stays out of it.
#[test]
fn a_file_that_was_left_is_named() {
    let (code, said, out) = rendered("istio", ISTIO, &[], "left");
    assert_eq!((code, said.contains("left from")), (0, false), "{said}");
    fs::write(out.join("notes.yaml"), "# by hand\n").unwrap();
    let (code, said, out) = rendered("istio", ISTIO, &[("place: sidecar", "place: waypoint\n  target: way")], "left");
    assert!(code == 0 && said.contains("envoyfilter.yaml: left from another rendering"), "{said}");
    let deployment = out.parent().unwrap().join("deployment.yaml");
    let check = ["render", "istio", deployment.to_str().unwrap(), "-o", out.to_str().unwrap(), "--check"];
    let (code, said) = berth(&check);
    assert!(code == 1 && said.contains("envoyfilter.yaml: left from another rendering"), "{said}");
    assert!(!said.contains("notes.yaml"), "{said}");
    fs::remove_file(out.join("envoyfilter.yaml")).unwrap();
    assert_eq!(berth(&check), (0, String::new()));
}

/// A comment that is true of the policy stands before the policy.
#[test]
fn the_policy_s_comment_stands_before_the_policy() {
    let candidate = "placement:\n  candidate: {berth: 1, policy: {name: c, version: 2, owner: o}}\n";
    let (code, said, out) = rendered("istio", ISTIO, &[("placement:\n", candidate)], "commented");
    // A candidate that lacks the rest is no policy; its places are those of the current one.
    assert!(code == 1 && said.contains("placement.candidate"), "{said}");
    let policy = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/istio/policy.yaml")).unwrap();
    let lines: String = policy.lines().map(|line| format!("    {line}\n")).collect();
    let whole = format!("placement:\n  candidate:\n{lines}    rollout: {{share: 0.1}}\n");
    let (code, said, _) = rendered("istio", ISTIO, &[("placement:\n", &whole)], "commented");
    assert_eq!(code, 0, "{said}");
    let text = fs::read_to_string(out.join("envoyfilter.yaml")).unwrap();
    let after = text.split("# The policy as it was written.\n").nth(1).unwrap();
    assert!(after.trim_start().starts_with("policy:\n") && after.contains("# The starter policy in a mesh"), "{after}");
}

/// Wherever the policy went, as a text or as a map, it is the one that its people wrote.
#[test]
fn every_rendered_policy_is_the_policy_that_was_written() {
    for (target, policy, file) in [
        ("envoy", "policies/starter.yaml", "examples/envoy/rendered/envoy.yaml"),
        ("envoy-discovered", "policies/starter.yaml", "examples/envoy/rendered-discovered/placement.yaml"),
        ("istio", "examples/istio/policy.yaml", "examples/istio/rendered/envoyfilter.yaml"),
        ("istio", "examples/istio/policy.yaml", "examples/istio/rendered/alone/wasmplugin.yaml"),
        ("istio", "examples/istio/policy.yaml", "examples/istio/rendered/alone/trafficextension.yaml"),
        ("envoy-gateway", "policies/starter.yaml", "examples/envoy-gateway/rendered/envoypatchpolicy.yaml"),
        ("kustomize", "policies/starter.yaml", "examples/kustomize/rendered/placement.yaml"),
    ] {
        let label = |said: &str| {
            said.split_whitespace().find(|word| word.contains('#')).unwrap().trim_end_matches(':').to_owned()
        };
        let written = label(&berth(&["check", policy]).1);
        let (code, said) = berth(&["check", file]);
        assert_eq!(code, 0, "{target}: {said}");
        assert!(said.contains(&written), "{target}: {written} is not in {said}");
    }
}

fn folder(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("render-{name}-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    dir
}

/// Renders the example after a change; what the tool says of it.
fn changed(target: &str, from: &str, to: &str) -> (i32, String) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("examples/envoy/deployment.yaml")).unwrap();
    let text = text.replace("../../policies/starter.yaml", root.join("policies/starter.yaml").to_str().unwrap());
    assert!(text.contains(from), "{from}");
    let file = folder("bad").join(format!("{}.yaml", to.len()));
    fs::write(&file, text.replacen(from, to, 1)).unwrap();
    berth(&["render", target, file.to_str().unwrap()])
}

#[test]
fn what_is_wrong_with_a_deployment_is_said_with_its_place() {
    for (from, to, said) in [
        ("berth: 1", "berth: 2", ":2:8: error: BTH0010"),
        (
            "  gpu-fr: {",
            "  gpu-es: {",
            ":20:3: error: BTH0102 unknown-substrate at substrates.gpu-es: found `gpu-es`, expected a substrate of the policy; did you mean `gpu-",
        ),
        ("  gpu-fr: {", "  gpu-es: {", "error: BTH0012 missing-field at substrates.gpu-fr: expected its hosts"),
        ("otherwise: gpu-de", "otherwise: gpu-xx", ":6:12: error: BTH0102"),
        ("example:8000', 'gpu-2", "example', 'gpu-2", "expected `host:port`"),
        ("http2: true", "http3: true", "unknown-field at substrates.gpu-de.http3"),
        ("path_prefix: /openai", "path_prefix: '/openai\"'", "error: BTH"),
        ("tls: {sni: api.provider.example, ", "tls: {", "missing-field at substrates.provider-us.tls.sni"),
        ("trusted: true", "trusted: yes", "ambiguous-scalar"),
        ("tenant: {header", "tennant: {header", ":9:5: error: BTH0016 unknown-word at placement.facts.tennant"),
        ("format: clusters", "format: clutsers", "unknown-word at telemetry.sources[2].format: found `clutsers`"),
        ("{header: x-model}", "{headers: x-model}", "missing-field at placement.facts.model.header"),
        (
            "{header: x-model}",
            "{header: x-model, property: [metadata, model]}",
            "contradiction at placement.facts.model.property: found `a list`, expected one of `header` and `property`",
        ),
        (
            "placement:\n",
            "placement:\n  candidate: {substrates: [{name: gpu-de}, {name: gpu-nl}]}\n",
            "unknown-substrate at placement.candidate.substrates: found `gpu-nl`, expected a substrate of the current policy",
        ),
        ("placement:\n", "placement:\n  role: telemetry\n", "unknown-field at placement.role"),
        ("placement:\n", "placement:\n  attach: full\n", "unknown-field at placement.attach"),
        ("berth: 1\n", "berth: 1\nenvoy: '1.38'\n", "before Envoy 1.39 a route cannot look a plan up"),
        ("berth: 1\n", "berth: 1\nenvoy: '1.36'\nattach: lanes\n", "before Envoy 1.37 there are no composite clusters"),
        (
            "{file: /etc/envoy/berth.wasm}",
            "{url: 'https://m.example/berth.wasm'}",
            "what comes over the network is checked",
        ),
        (
            "placement:\n",
            "attach: lanes\nplacement:\n  lanes: [{cluster: all, substrates: [gpu-de, provider-us]}]\n",
            "lane `all`: found `provider-us`, which has a key of its own",
        ),
        ("{file: /etc/envoy/berth.wasm}", "{image: 'oci://m.example/berth'}", "module.file: missing"),
        ("berth: 1\n", "berth: 1\nobserve: false\nhistograms: true\n", "contradiction at histograms: found `true`"),
        (
            "placement:\n",
            "attach: lanes\nplacement:\n  lanes: [{cluster: all, substrates: [gpu-de, gpu-xx]}]\n",
            ":9:47: error: BTH0102 unknown-substrate at placement.lanes[0].substrates[1]: found `gpu-xx`, expected a substrate of the policy; did you mean `gpu-",
        ),
        (
            "placement:\n",
            "attach: lanes\nplacement:\n",
            "missing-field at placement.lanes: expected the composite clusters",
        ),
        (
            "placement:\n",
            "placement:\n  lanes: [{cluster: gpu-de, substrates: [gpu-de]}]\n",
            "contradiction at placement.lanes[0].cluster: found `gpu-de`, expected a name that no other cluster has",
        ),
        (
            "{cluster: admin,",
            "{cluster: admn,",
            "at telemetry.sources[2].cluster: found `admn`, expected a substrate's cluster, or one of the `helpers`; did you mean `admin`?",
        ),
        (
            "  admin: {hosts",
            "  gpu-de: {hosts",
            "contradiction at helpers.gpu-de: found `gpu-de`, expected a name that no substrate's cluster has",
        ),
        (
            "placement:\n",
            "placement:\n  candidate: {berth: 1, nonsense: true}\n",
            "unknown-field at placement.candidate.nonsense",
        ),
        (
            "telemetry:\n",
            "telemetry:\n  listener: {writers: [{name: w, token: secret, rollout: true}]}\n",
            "contradiction at telemetry.listener.writers[0].token: found `token`, expected `token_sha256`, its digest",
        ),
        (
            "telemetry:\n",
            "telemetry:\n  listener: {writers: [{name: w, san: 'spiffe://m/w', rollout: true}]}\n",
            "contradiction at telemetry.listener.writers[0].san: found `san`, expected `token_sha256`: the listener that is rendered speaks no TLS",
        ),
    ] {
        let (code, found) = changed("envoy", from, to);
        assert_eq!(code, 1, "{to}: {found}");
        assert!(found.contains(said), "{to}: {found}");
    }
    for (target, said) in
        [("istio", "istio: missing"), ("envoy-gateway", "gateway: missing"), ("kustomize", "kubernetes: missing")]
    {
        let (code, found) = changed(target, "berth: 1", "berth: 1");
        assert!(code == 1 && found.contains(said), "{target}: {found}");
    }
    let (code, found) = changed("envoy", "starter.yaml", "no-such-policy.yaml");
    assert!(code == 2 && found.contains("no-such-policy.yaml"), "{found}");
}

#[test]
fn a_place_for_whoever_nobody_places_that_an_envelope_does_not_permit_is_warned_of() {
    let (code, said) = changed("envoy", "otherwise: gpu-de", "otherwise: provider-us");
    let warning = ":6:12: warning: BTH0214 unsafe-otherwise at otherwise: found `provider-us`, expected a substrate that every envelope permits; not `eu-customers`";
    assert_eq!(code, 0, "{said}");
    assert!(said.contains(warning), "{said}");
    for harmless in ["otherwise: gpu-fr", "keep_bytes: 4096"] {
        let (code, said) = changed("envoy", "otherwise: gpu-de", harmless);
        assert!(code == 0 && !said.contains("warning"), "{said}");
    }
}

/// A later attempt would bear the name of the one before: the router sets names, and takes none back.
#[test]
fn a_host_without_a_name_of_its_own_beside_one_that_has_is_warned_of() {
    let named = "gpu-fr: {hosts: ['gpu.par.example:8000'], http2: true}";
    let (code, said) = changed("envoy", named, "gpu-fr: {hosts: ['10.0.0.2:8000']}");
    let warning =
        ":20:3: warning: BTH0215 left-authority at substrates.gpu-fr: expected an `authority`, as `gpu-de` has a name";
    assert!(code == 0 && said.contains(warning), "{said}");
    let (code, said) = changed("envoy", named, "gpu-fr: {hosts: ['10.0.0.2:8000'], authority: gpu.par.example}");
    assert!(code == 0 && !said.contains("BTH0215"), "{said}");
}

/// Whoever bounds slow clients at a listener that is not rendered must hear that nobody does.
#[test]
fn what_is_said_of_a_listener_that_is_not_rendered_is_warned_of() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for target in ["istio", "envoy-gateway"] {
        let (from, dir) = (root.join("examples").join(target), folder(&format!("idle-{target}")));
        let text = fs::read_to_string(from.join("deployment.yaml")).unwrap();
        let policy = text.lines().find_map(|line| line.strip_prefix("policy: ")).unwrap();
        let text = text.replace(policy, from.join(policy).to_str().unwrap());
        let file = dir.join("deployment.yaml");
        fs::write(&file, format!("{text}\nlisten: {{request_ms: 30000}}\n")).unwrap();
        let (code, said) = berth(&["render", target, file.to_str().unwrap(), "-o", dir.join("out").to_str().unwrap()]);
        assert!(code == 0 && said.contains("BTH0217 idle-listener at listen.request_ms"), "{target}: {code} {said}");
    }
    for (target, warned) in [("istio", true), ("envoy-gateway", true), ("envoy", false), ("kustomize", false)] {
        let to = "listen: {at: '0.0.0.0:8080', websocket: true, request_ms: 30000}";
        let (_, said) = changed(target, "listen: {at: '0.0.0.0:8080'}", to);
        for (column, field) in [(10, "at"), (30, "websocket"), (47, "request_ms")] {
            let warning =
                format!(":5:{column}: warning: BTH0217 idle-listener at listen.{field}: expected an Envoy of");
            assert_eq!(said.contains(&warning), warned, "{target} {field}: {said}");
        }
    }
}

/// What a waypoint cannot be told is not rendered for it, and what is rendered says what that is.
#[test]
fn a_waypoint_gets_the_filter_alone_and_hears_what_that_lacks() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dir = folder("waypoint");
    let text = fs::read_to_string(root.join("examples/istio/deployment.yaml")).unwrap();
    assert!(text.contains("place: sidecar"));
    fs::write(dir.join("deployment.yaml"), text.replace("place: sidecar", "place: waypoint\n  target: waypoint"))
        .unwrap();
    fs::copy(root.join("examples/istio/policy.yaml"), dir.join("policy.yaml")).unwrap();
    let out = dir.join("out");
    let file = dir.join("deployment.yaml");
    let (code, said) = berth(&["render", "istio", file.to_str().unwrap(), "-o", out.to_str().unwrap()]);
    assert_eq!(code, 0, "{said}");
    assert!(!out.join("envoyfilter.yaml").exists());
    for name in ["alone/wasmplugin.yaml", "alone/trafficextension.yaml"] {
        let text = fs::read_to_string(out.join(name)).unwrap();
        assert!(text.contains("mode: shadow"), "nothing obeys it: {text}");
        assert!(text.contains("It cannot say: the routes that obey the filter"), "{name}: {text}");
        assert!(text.contains("name: waypoint"), "{name}: {text}");
    }
}

/// Renders an example after changes to its deployment file, into a folder; what the tool says.
fn rendered(target: &str, example: &str, changes: &[(&str, &str)], name: &str) -> (i32, String, PathBuf) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut text = fs::read_to_string(root.join(example)).unwrap();
    for (from, to) in changes {
        assert!(text.contains(from), "{from}");
        text = text.replacen(from, to, 1);
    }
    let policy = root.join(example).parent().unwrap().join("policy.yaml");
    let policy = if policy.exists() { policy } else { root.join("policies/starter.yaml") };
    let dir = folder(name);
    for old in ["policy: policy.yaml", "policy: ../../policies/starter.yaml"] {
        text = text.replace(old, &format!("policy: {}", policy.display()));
    }
    fs::write(dir.join("deployment.yaml"), text).unwrap();
    let out = dir.join("out");
    let (code, said) =
        berth(&["render", target, dir.join("deployment.yaml").to_str().unwrap(), "-o", out.to_str().unwrap()]);
    (code, said, out)
}

const ISTIO: &str = "examples/istio/deployment.yaml";
const GATEWAY: &str = "examples/envoy-gateway/deployment.yaml";
const PLACE: &str = "examples/kustomize/place.yaml";

#[test]
fn sockets_and_the_time_for_requests_are_rendered_where_they_are_asked_for_and_nowhere_else() {
    let asked = "listen: {at: '0.0.0.0:8080', websocket: true, request_ms: 90500}";
    for (change, there) in [("listen: {at: '0.0.0.0:8080'}", false), (asked, true)] {
        let changes = [("listen: {at: '0.0.0.0:8080'}", change)];
        let (code, said, out) =
            rendered("envoy", "examples/envoy/deployment.yaml", &changes, &format!("kinds-{there}"));
        assert_eq!(code, 0, "{said}");
        let text = fs::read_to_string(out.join("envoy.yaml")).unwrap();
        for part in ["upgrade_type: websocket", "allow_connect: true", "request_timeout: '90.500s'"] {
            assert_eq!(text.contains(part), there, "{part}:\n{text}");
        }
    }
}

/// A filter that nothing obeys must not refuse, nor write down places that requests did not go to.
#[test]
fn a_filter_alone_is_rendered_in_shadow_beside_nothing_that_is_applied_with_it() {
    for (mode, told) in [("", "shadow"), ("  mode: enforce\n", "shadow"), ("  mode: passthrough\n", "passthrough")] {
        let change = ("placement:\n", &*format!("placement:\n{mode}"));
        for (target, example, files) in [
            ("istio", ISTIO, &["wasmplugin.yaml", "trafficextension.yaml"][..]),
            ("envoy-gateway", GATEWAY, &["envoyextensionpolicy.yaml"]),
        ] {
            let (code, said, out) = rendered(target, example, &[change], &format!("alone-{target}-{}", mode.len()));
            assert_eq!(code, 0, "{said}");
            for file in files {
                assert!(!out.join(file).exists(), "{file} is applied with the rest");
                let text = fs::read_to_string(out.join("alone").join(file)).unwrap();
                assert!(text.contains(&format!("mode: {told}\n")), "{mode}{file}: {text}");
            }
        }
    }
}

/// However its people begin and end it, what is rendered can be read, and holds that policy.
#[test]
fn a_policy_s_own_marks_of_documents_do_not_break_what_holds_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let starter = fs::read_to_string(root.join("policies/starter.yaml")).unwrap();
    let mesh = fs::read_to_string(root.join("examples/istio/policy.yaml")).unwrap();
    let all = |policy: &str| {
        let marked = ["---\n{}", "--- # ours\n{}...\n", "# first\n---\n{}", "{}...\n", "---\n{}... # the end\n"];
        marked.map(|form| form.replace("{}", policy))
    };
    let label = |file: &Path| {
        let (code, said) = berth(&["check", file.to_str().unwrap()]);
        let label =
            said.split_whitespace().find(|word| word.contains('#')).map(|l| l.trim_end_matches([':', ',']).to_owned());
        assert_eq!(code, 0, "{}: {said}", file.display());
        label.unwrap()
    };
    for (target, example, policy, files) in [
        ("istio", ISTIO, &mesh, &["envoyfilter.yaml", "alone/wasmplugin.yaml", "alone/trafficextension.yaml"][..]),
        ("envoy-gateway", GATEWAY, &starter, &["envoypatchpolicy.yaml", "alone/envoyextensionpolicy.yaml"]),
        ("kustomize", PLACE, &starter, &["placement.yaml"]),
    ] {
        for (i, text) in all(policy).iter().enumerate() {
            let dir = folder(&format!("marks-{target}-{i}"));
            fs::write(dir.join("policy.yaml"), text).unwrap();
            let deployment = fs::read_to_string(root.join(example)).unwrap();
            let deployment = deployment.replace("../../policies/starter.yaml", "policy.yaml");
            fs::write(dir.join("deployment.yaml"), deployment).unwrap();
            let path = |name: &str| dir.join(name).to_str().unwrap().to_owned();
            let (code, said) = berth(&["render", target, &path("deployment.yaml"), "-o", &path("out")]);
            assert_eq!(code, 0, "{said}");
            for file in files {
                let file = dir.join("out").join(file);
                assert_eq!(label(&file), label(&dir.join("policy.yaml")), "{}", file.display());
                let text = fs::read_to_string(file).unwrap();
                assert!(target == "kustomize" || text.contains("# The policy as it was written."), "{text}");
            }
        }
    }
}

/// Envoy 1.39 knows no rights of a VM, and would not take them or run without any.
#[test]
fn meshes_and_gateways_are_given_rights_where_their_envoy_looks_for_them() {
    fn look(value: &serde_json::Value, seen: &mut usize) {
        match value {
            serde_json::Value::Array(items) => items.iter().for_each(|item| look(item, seen)),
            serde_json::Value::Object(fields) => {
                if let Some(vm) = fields.get("vm_config") {
                    assert!(fields.contains_key("capability_restriction_config"), "{value}");
                    assert!(vm.get("capability_restriction_config").is_none(), "{vm}");
                    *seen += 1;
                }
                fields.values().for_each(|field| look(field, seen));
            }
            _ => {}
        }
    }
    for file in ["istio/rendered/envoyfilter.yaml", "envoy-gateway/rendered/envoypatchpolicy.yaml"] {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(file)).unwrap();
        let node = berth::policy::yaml::parse(&text).unwrap().node;
        let mut seen = 0;
        look(&serde_json::from_str(&berth::policy::canonical::canonical(&node)).unwrap(), &mut seen);
        assert!(seen >= 2, "{file}: {seen}");
    }
}

/// An image is checked by the digest in its name, or by the one beside it; without a file nothing observes, as was said.
#[test]
fn what_the_agent_fetches_is_checked_by_the_image_s_digest() {
    let digest = "0d0c3a4be5c1f2a96b6f7d1e8a4b3c2d1e0f9a8b7c6d5e4f3a2b1c0d9e8f7a6b";
    let beside = format!("'\n  sha256: {digest}");
    let tagged = format!("@sha256:{digest}'");
    let discovered = ("place: sidecar", "discovered: true\n  place: sidecar");
    for (i, changes) in [vec![discovered], vec![discovered, (&*tagged, &*beside)]].into_iter().enumerate() {
        let (code, said, out) = rendered("istio", ISTIO, &changes, &format!("digest-{i}"));
        assert_eq!(code, 0, "{said}");
        for file in ["envoyfilter.yaml", "alone/wasmplugin.yaml", "alone/trafficextension.yaml"] {
            let text = fs::read_to_string(out.join(file)).unwrap();
            assert!(text.contains(&format!("sha256: '{digest}'")), "{file}: {text}");
        }
    }
    let (code, said, out) = rendered(
        "istio",
        ISTIO,
        &[("  file: /etc/berth/berth.wasm\n", ""), ("telemetry:\n", "observe: false\ntelemetry:\n")],
        "unobserved",
    );
    assert_eq!(code, 0, "{said}");
    assert!(!fs::read_to_string(out.join("envoyfilter.yaml")).unwrap().contains("observe: true"));
}

/// What a mesh or a gateway is not given, it is told: with the place, and what was expected.
#[test]
fn what_a_mesh_cannot_be_given_is_refused() {
    let digest = "module.sha256: missing, expected the image's digest";
    for (target, example, changes, expected) in [
        (
            "istio",
            ISTIO,
            &[("svc.cluster.local:80'", "svc.cluster.local'")][..],
            "error: BTH0019 bad-text at istio.host: found `llm.inference.svc.cluster.local`, expected `host:port`",
        ),
        (
            "istio",
            ISTIO,
            &[("host: 'llm.inference.svc.cluster.local:80'", "host: ['a.example:80', 'b.example:443']")],
            "error: BTH0019 bad-text at istio.host: found `a list`, expected `host:port` of one virtual host, the host also `*` or `*.domain`; for all hosts at all ports leave it out",
        ),
        (
            "istio",
            ISTIO,
            &[("llm.inference.svc.cluster.local:80'", "a.example:80,b.example:80'")],
            "bad-text at istio.host: found `a.example:80,b.example:80`, expected `host:port` of one virtual host",
        ),
        (
            "istio",
            ISTIO,
            &[("'llm.inference.svc.cluster.local:80'", "'*:http'")],
            "bad-text at istio.host: found `*:http`, expected `host:port` of one virtual host",
        ),
        ("istio", ISTIO, &[("@sha256:", "-")], digest),
        ("envoy-gateway", GATEWAY, &[("@sha256:", "-")], digest),
        ("istio", ISTIO, &[("@sha256:", "-"), ("place: sidecar", "discovered: true\n  place: sidecar")], digest),
        (
            "istio",
            ISTIO,
            &[("  file: /etc/berth/berth.wasm\n", "")],
            "observe: expected `observe: false`, or `module.file`",
        ),
        (
            "istio",
            ISTIO,
            &[("  file: /etc/berth/berth.wasm\n", ""), ("  image: ", "  url: ")],
            "error: BTH0012 missing-field at module.sha256",
        ),
        // MORE
    ] {
        let (code, said, _) = rendered(target, example, changes, "refused");
        assert_eq!(code, 1, "{said}");
        assert!(said.contains(expected), "{expected}: {said}");
    }
}

/// The mesh's own clusters: one rule a host, with all that the deployment says of it, or a refusal.
#[test]
fn the_mesh_is_told_all_of_a_service_in_one_rule_or_nothing_is_rendered() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mesh = fs::read_to_string(root.join("examples/istio/policy.yaml")).unwrap();
    let own = ("sni: metal.par.example,", "sni: metal.par.example, certificate: /etc/own.pem, key: /etc/own.key,");
    const PROVIDER: &str = "outbound|443||api.provider.example";
    let make = |name: &str, cluster: &str, changes: &[(&str, &str)]| {
        let dir = folder(&format!("services-{name}"));
        assert!(mesh.contains(PROVIDER));
        fs::write(dir.join("policy.yaml"), mesh.replace(PROVIDER, cluster)).unwrap();
        let mut text = fs::read_to_string(root.join(ISTIO)).unwrap();
        for (from, to) in changes {
            assert!(text.contains(from), "{from}");
            text = text.replacen(from, to, 1);
        }
        fs::write(dir.join("deployment.yaml"), text).unwrap();
        let path = |name: &str| dir.join(name).to_str().unwrap().to_owned();
        let (code, said) = berth(&["render", "istio", &path("deployment.yaml"), "-o", &path("out")]);
        (code, said, fs::read_to_string(dir.join("out/services.yaml")).unwrap_or_default())
    };
    let (code, said, services) = make("mutual", PROVIDER, &[own]);
    assert_eq!(code, 0, "{said}");
    for part in ["mode: MUTUAL", "clientCertificate: /etc/own.pem", "privateKey: /etc/own.key"] {
        assert!(services.contains(part), "{part}: {services}");
    }
    // A second port of the host that `metal-fr` is.
    let same = [("'api.provider.example:443'", "'metal.par.example:9000'")];
    let (code, said, services) = make("ports", "outbound|9443||metal.par.example", &same);
    assert_eq!(code, 0, "{said}");
    assert_eq!(services.matches("kind: DestinationRule").count(), 2, "{services}");
    assert_eq!(services.matches("kind: ServiceEntry").count(), 1, "{services}");
    let both = ["portLevelSettings:", "{number: 8443}", "{number: 9443}", "{p-8443: 8443, p-9443: 9000}"];
    both.iter().for_each(|part| assert!(services.contains(part), "{part}: {services}"));
    let hosts = "hosts: ['api.provider.example:443']";
    let with = |more: &str| format!("{hosts}\n    {more}");
    let (named, prefixed) = (with("authority: api.provider.example"), with("path_prefix: /openai"));
    let keyed = with("credential: {sds_file: /etc/keys/key.yaml, secret: provider}");
    for (name, cluster, changes, expected) in [
        ("hosts", "outbound|9443||metal.par.example", &[][..], "expected the same hosts for all"),
        (
            "port",
            "outbound|84x||metal.par.example",
            &[],
            "found the cluster `outbound|84x||metal.par.example`, expected",
        ),
        ("subset", "outbound|9443|v2|metal.par.example", &[], "without a subset"),
        ("named", PROVIDER, &[(hosts, &*named)], "found an `authority` for `outbound|443||api.provider.example`"),
        ("prefixed", PROVIDER, &[(hosts, &*prefixed)], "found a `path_prefix` for"),
        // Others use the mesh's clusters too: the key would be shown for whoever asks.
        ("keyed", PROVIDER, &[(hosts, &*keyed)], "found a `credential` for"),
        // And what ours are shown would go on to the mesh's with the next attempt.
        (
            "mixed",
            "provider-us",
            &[],
            "found `outbound|8000||gpu-de.inference.svc.cluster.local`, which the mesh makes, beside `provider-us`, which is ours",
        ),
    ] {
        let (code, said, _) = make(name, cluster, changes);
        assert!(code == 1 && said.contains(expected), "{name}: {said}");
    }
    for once in ["attach: simple", "placement: {mode: shadow}"] {
        let head = if once.starts_with("attach") {
            ("berth: 1\n", format!("berth: 1\n{once}\n"))
        } else {
            ("placement:\n", String::from("placement:\n  mode: shadow\n"))
        };
        let (code, said, _) = make("once", "provider-us", &[(head.0, &*head.1)]);
        assert_eq!(code, 0, "{once}: {said}");
    }
}

/// The pods have all that their proxy reads, and are asked where and as whom it answers.
#[test]
fn a_pod_has_its_keys_and_a_service_its_scheme() {
    let listen = "listen: {at: '0.0.0.0:8443', certificate: /etc/own/tls.crt, key: /etc/own/tls.key}\nplacement:\n";
    let both = "secrets: {/etc/berth-secrets: provider, /etc/own: own}";
    let one = "secrets: {/etc/berth-secrets: provider}";
    let (code, said, out) = rendered("kustomize", PLACE, &[("placement:\n", listen), (one, both)], "pod");
    assert_eq!(code, 0, "{said}");
    let read = |name: &str| fs::read_to_string(out.join(name)).unwrap();
    let (deployment, service) = (read("deployment.yaml"), read("service.yaml"));
    for part in [
        "{name: secret-0, mountPath: /etc/berth-secrets, readOnly: true}",
        "{name: secret-1, mountPath: /etc/own, readOnly: true}",
        "{name: secret-0, secret: {secretName: provider}}",
        "{name: secret-1, secret: {secretName: own}}",
        "{name: https, containerPort: 8443}",
        "tcpSocket: {port: https}",
        "runAsUser: 101",
    ] {
        assert!(deployment.contains(part), "{part}: {deployment}");
    }
    assert!(service.contains("{name: https, port: 443, targetPort: https}"), "{service}");
    for (changes, expected) in [
        (&[(one, "secrets: {}")][..], "found none for `/etc/berth-secrets/provider.yaml`, expected its folder"),
        (&[("placement:\n", listen)], "found none for `/etc/own/tls.crt`, expected its folder"),
        (
            &[("ca: /etc/ssl/certs/", "ca: /etc/ca/")],
            "found none for `/etc/ca/ca-certificates.crt`, expected its folder",
        ),
        (
            &[("/etc/berth-secrets: provider}", "/etc/berth-secrets: provider, /etc/envoy/keys: own}")],
            "found `/etc/envoy/keys`, expected a folder outside of /etc/envoy, /module",
        ),
    ] {
        let (code, said, _) = rendered("kustomize", PLACE, changes, "no-pod");
        assert!(code == 1 && said.contains(&format!("kubernetes.secrets: {expected}")), "{said}");
    }
}

/// A policy that readers of YAML would take for different ones is in no manifest.
#[test]
fn an_ambiguous_policy_is_not_rendered() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dir = folder("ambiguous");
    let policy = fs::read_to_string(root.join("policies/starter.yaml")).unwrap();
    fs::write(dir.join("policy.yaml"), policy.replace("IT, NL]", "IT, NL, NO]")).unwrap();
    let deployment = fs::read_to_string(root.join("examples/envoy/deployment.yaml")).unwrap();
    fs::write(dir.join("deployment.yaml"), deployment.replace("../../policies/starter.yaml", "policy.yaml")).unwrap();
    let (code, said) = berth(&["render", "istio", dir.join("deployment.yaml").to_str().unwrap()]);
    assert!(code == 1 && said.contains("policy.yaml:4:") && said.contains("BTH0009"), "{said}");
}

/// What the tool looks at is what the plugin reads: the same fields, down to the last section.
#[test]
fn the_deployment_s_plugin_fields_are_the_plugin_s() {
    use berth::{filter::config, manifest::deployment::roles, policy::describe::describe, policy::source::Shape};

    /// What the plugin says that it would take in the place of a field that it does not know.
    fn taken(configuration: &str) -> Vec<String> {
        let said = config::parse(configuration.as_bytes()).unwrap_err();
        let listed = said.split_once("unknown field `zzz`, expected ").unwrap_or_else(|| panic!("{said}")).1;
        let mut names: Vec<String> = listed.split('`').skip(1).step_by(2).map(String::from).collect();
        names.sort_unstable();
        names
    }
    fn named(shape: &Shape) -> Vec<String> {
        let mut names: Vec<String> = shape.fields().iter().map(|field| field.name.to_owned()).collect();
        names.sort_unstable();
        names
    }
    fn within<'a>(shape: &'a Shape, name: &str) -> &'a Shape {
        match &shape.fields().iter().find(|field| field.name == name).unwrap().shape {
            Shape::List(one, _) | Shape::Map(_, one) => one,
            one => one,
        }
    }
    let (placement, telemetry) = (describe(roles::placement), describe(roles::telemetry));
    let filled_in = ["role", "policy", "attach", "observe", "histograms"].map(String::from);
    let mut both: Vec<String> = [named(&placement), named(&telemetry), filled_in.to_vec()].concat();
    both.sort_unstable();
    both.dedup();
    assert_eq!(both, taken(r#"{"role": "placement", "zzz": 1}"#));
    for (shape, section, value) in [
        (&placement, "lanes", r#"[{"zzz": 1}]"#),
        (&placement, "hops", r#"{"zzz": 1}"#),
        (&placement, "body", r#"{"zzz": 1}"#),
        (&placement, "canary", r#"{"zzz": 1}"#),
        (&placement, "facts", r#"{"tenant": {"zzz": 1}}"#),
        (&telemetry, "sources", r#"[{"zzz": 1}]"#),
        (&telemetry, "listener", r#"{"zzz": 1}"#),
    ] {
        let configuration = format!(r#"{{"role": "placement", "{section}": {value}}}"#);
        assert_eq!(named(within(shape, section)), taken(&configuration), "{section}");
    }
    let writers = within(within(&telemetry, "listener"), "writers");
    assert_eq!(named(writers), taken(r#"{"role": "telemetry", "listener": {"writers": [{"zzz": 1}]}}"#));
}

/// These objects are what the mesh's own types say, which know of no `TrafficExtension` yet.
#[test]
fn the_mesh_s_typed_models_take_what_is_rendered() {
    const CHECK: &str = r#"
const [home, ...files] = process.argv.slice(1);
const kinds = {
  "networking.istio.io/v1alpha3": "networking.istio.io/v1alpha3",
  "networking.istio.io/v1": "networking.istio.io/v1",
  "extensions.istio.io/v1alpha1": "extensions.istio.io/v1alpha1",
};
let looked = 0;
for (const file of files) {
  for (const object of JSON.parse(require("fs").readFileSync(file))) {
    const models = require(`${home}/node_modules/@kubernetes-models/istio/${kinds[object.apiVersion]}`);
    const Model = models[object.kind];
    if (!Model) { console.log(`${object.apiVersion} ${object.kind}: no such model`); process.exit(1); }
    try { new Model(object).validate(); looked += 1; } catch (e) { console.log(`${object.kind}: ${e.message}`); process.exit(1); }
  }
}
console.log(looked);
"#;
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let found = Command::new(root.join(".ci/tools")).arg("istio-models").output().unwrap();
    let home = String::from_utf8(found.stdout).unwrap();
    assert!(found.status.success(), "{}", String::from_utf8_lossy(&found.stderr));
    let dir = folder("models");
    let look = |name: &str, change: &dyn Fn(&mut serde_json::Value)| {
        let text = fs::read_to_string(root.join("examples/istio/rendered").join(name)).unwrap();
        let (documents, _) = berth::policy::yaml::parse_all(&text).unwrap();
        let objects: Vec<serde_json::Value> = documents
            .iter()
            .map(|node| {
                let mut object = serde_json::from_str(&berth::policy::canonical::canonical(node)).unwrap();
                change(&mut object);
                object
            })
            .collect();
        let file = dir.join(format!("{}.json", name.replace('/', "-")));
        fs::write(&file, serde_json::to_vec(&objects).unwrap()).unwrap();
        let said = Command::new("node").args(["-e", CHECK, home.trim()]).arg(&file).output().unwrap();
        (said.status.success(), String::from_utf8_lossy(&said.stdout).trim().to_owned(), objects.len().to_string())
    };
    for name in ["envoyfilter.yaml", "services.yaml", "alone/wasmplugin.yaml"] {
        let (content, said, objects) = look(name, &|_| {});
        assert!(content && said == objects, "{name}: {said}");
    }
    // And they are no rubber stamp.
    assert!(
        !look("envoyfilter.yaml", &|it| it["spec"]["configPatches"][0]["patch"]["operation"] =
            "INSERT_SOMEWHERE".into())
        .0
    );
    assert!(!look("alone/wasmplugin.yaml", &|it| it["spec"]["failStrategy"] = "FAIL_SOFTLY".into()).0);
    assert!(!look("alone/wasmplugin.yaml", &|it| drop(it["spec"].as_object_mut().unwrap().remove("url"))).0);
}

/// `BLESS=1` writes it anew.
#[test]
fn the_reference_of_the_deployment_file_is_written_from_its_schema() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("envoy/deploy.md");
    let text = fs::read_to_string(&path).unwrap();
    let (head, written) = text.split_once("<!-- reference -->\n").unwrap();
    let fields = berth(&["schema", "--deployment"]).1;
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, format!("{head}<!-- reference -->\n\n{fields}")).unwrap();
        return;
    }
    assert_eq!(written.trim(), fields.trim(), "BLESS=1 cargo test --test render");
}

/// The page's table of findings has every word that the doctor says, and no other.
#[test]
fn every_finding_is_on_the_page() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let source = fs::read_to_string(root.join("src/manifest/doctor.rs")).unwrap();
    let page = fs::read_to_string(root.join("envoy/deploy.md")).unwrap();
    let table: Vec<&str> = page
        .lines()
        .skip_while(|line| !line.starts_with("| finding"))
        .take_while(|line| line.starts_with('|'))
        .collect();
    let listed: std::collections::BTreeSet<&str> = table
        .iter()
        .filter_map(|line| line.split('|').nth(1))
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .collect();
    let words = |text: &str| text.len() > 3 && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
    let said: std::collections::BTreeSet<&str> = source
        .split('"')
        .skip(1)
        .step_by(2)
        .filter(|text| words(text) && (text.contains('-') || ["refused", "draining"].contains(text)))
        .collect();
    assert_eq!(said, listed);
}

/// Without the callbacks of answers a candidate would never be judged, and no end be looked at.
#[test]
fn a_placement_role_that_is_to_hear_of_answers_is_granted_their_callbacks() {
    for (field, granted) in [("outcomes: 16", true), ("outcomes: 0", false), ("time_sample: 7", false)] {
        let (code, said) = changed("envoy", "placement:\n", &format!("placement:\n  {field}\n"));
        assert_eq!(code, 0, "{said}");
        let placement =
            said.split_once("berth.placement").unwrap().1.split("envoy.filters.http.router").next().unwrap();
        assert!(placement.contains(field.split(':').next().unwrap()), "{placement}");
        for callback in ["proxy_on_response_headers", "proxy_on_done"] {
            assert_eq!(placement.contains(callback), granted, "{field}: {callback}");
        }
    }
}

/// A file is granted what it calls: the one with both roles never calls what only the other one does.
#[test]
fn a_placement_role_is_granted_what_its_file_calls() {
    let only =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/envoy/deployment.yaml")).unwrap();
    let head = |text: &str| text.split_once("telemetry:\n").unwrap().0.to_owned();
    let rest = only.split_once("substrates:\n").unwrap().1;
    for (field, both) in [("", true), ("", false), ("  outcomes: 16\n", true), ("  outcomes: 16\n", false)] {
        let text = if both { only.clone() } else { format!("{}substrates:\n{rest}", head(&only)) };
        let dir = folder(&format!("granted-{both}-{}", field.len()));
        let policy = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/starter.yaml");
        let text = text.replace("../../policies/starter.yaml", policy.to_str().unwrap());
        fs::write(dir.join("d.yaml"), text.replace("placement:\n", &format!("placement:\n{field}"))).unwrap();
        let (code, said) = berth(&["render", "envoy", dir.join("d.yaml").to_str().unwrap()]);
        assert_eq!(code, 0, "{said}");
        assert_eq!(said.contains("proxy_call_foreign_function"), !both, "{field}: {said}");
    }
}

#[test]
fn histograms_are_measured_inside_each_cluster_where_they_are_asked_for() {
    for (field, clusters) in [("histograms: true", 3), ("histograms: false", 0)] {
        let (code, said) = changed("envoy", "placement:\n", &format!("{field}\nplacement:\n"));
        assert_eq!(code, 0, "{said}");
        assert_eq!(said.matches("histograms").count(), clusters, "{field}");
        assert_eq!(said.matches(r#""observe":true"#).count() + said.matches(r#""observe": true"#).count(), 3, "{said}");
    }
}

#[test]
fn spans_go_to_a_collector_that_is_there() {
    let tracing = "placement:\n";
    for (target, to, said) in [
        ("envoy", "tracing: {cluster: admin}\nplacement:\n", "uri: 'http://admin/v1/traces'"),
        ("envoy", "tracing: {cluster: nobody}\nplacement:\n", "a cluster that is one of the `helpers`"),
        (
            "istio",
            "tracing: {cluster: admin}\nistio: {place: sidecar, namespace: mesh}\nplacement:\n",
            "tracing: expected none for this target",
        ),
    ] {
        let (code, text) = changed(target, tracing, to);
        assert!(text.contains(said), "{code}: {text}");
    }
}

/// Whatever of ours a client could send is removed before the filter sees it, but for the one that a hop may send.
#[test]
fn what_is_removed_early_is_every_name_of_ours() {
    fn sources(folder: &Path, found: &mut String) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, found);
            } else {
                found.push_str(&fs::read_to_string(&path).unwrap_or_default());
            }
        }
    }
    let mut source = String::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut source);
    let literals = source.split('"').filter(|text| text.starts_with(OWN_HEADERS) && text.len() > OWN_HEADERS.len());
    let mut ours: Vec<&str> =
        literals.filter(|text| text.bytes().all(|b| b == b'-' || b.is_ascii_lowercase())).collect();
    ours.sort_unstable();
    ours.dedup();
    assert!(ours.len() >= 5, "{ours:?}");
    let removed = early_removal(true).to_string();
    for name in ours {
        assert_eq!(removed.contains(&format!("\"{name}\"")), name != BUDGET_HEADER, "{name}: {removed}");
    }
}
