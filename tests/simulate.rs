//! The simulator: the same files and seed give the same bytes, the law holds on every attempt, spreading holds where always
//! taking the best does not, and the tool says what is wrong with a scenario.
#![cfg(not(target_family = "wasm"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

use berth::health::{Beginning, Ending};
use berth::policy::Policy;
use berth::simulate::START_MS;
use berth::simulate::arrivals::Arrival;
use berth::simulate::experiment::{Run, Setup, Variant};
use berth::simulate::router::{Answer, Ask, NAMES, Router, Stop, Tuning, Words, grid};
use berth::simulate::server::Server;
use berth::simulate::{Figures, read};
use std::process::{Command, Output};
use std::{fs, path::Path};

const STANDARD: [&str; 18] = [
    "five-failures",
    "bursty",
    "diurnal",
    "spillover",
    "locality-collapse",
    "degraded-node",
    "law-in-motion",
    "partition",
    "herd",
    "metastable",
    "retry-storm",
    "cascade",
    "drift",
    "drift-at-scale",
    "drift-unnoticed",
    "flapping",
    "wavering",
    "trace",
];

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/simulate")
}

/// A standard scenario, with its text changed.
fn setup(name: &str, changes: &[(&str, &str)]) -> Setup {
    let mut text = fs::read_to_string(folder().join(format!("{name}.yaml"))).unwrap();
    for (from, to) in changes {
        assert!(text.contains(from), "{name} says `{from}`");
        text = text.replace(from, to);
    }
    let scenario = read(&text).unwrap();
    let checked = berth::policy::read_yaml(&fs::read_to_string(folder().join(&scenario.policy)).unwrap()).unwrap();
    let policy = Policy::new(checked.document, checked.digest.0);
    let lines =
        |file: &str| berth::simulate::arrivals::trace(&fs::read_to_string(folder().join(file)).unwrap()).unwrap();
    let trace = scenario.load.trace.as_ref().filter(|_| name == "trace").map_or_else(Vec::new, |t| lines(&t.file));
    Setup { scenario, document: policy.document().clone(), digest: *policy.digest(), trace, tunes: false }
}

fn plain(router: &'static str) -> Variant {
    Variant { router, tuning: None }
}

fn figures(setup: &Setup, variant: Variant) -> Figures {
    let Run { figures, .. } = setup.run(variant, 1_000_000, &mut |_, _| {});
    figures
}

fn berth(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_berth")).args(args).current_dir(folder()).output().unwrap()
}

#[test]
fn no_attempt_of_berth_leaves_the_envelope_in_any_standard_scenario() {
    for name in STANDARD {
        let mut setup = setup(name, &[]);
        setup.scenario.sweep = None;
        // The long ones are played whole for the report.
        setup.scenario.shorten(Some(400));
        let seen = figures(&setup, plain("berth"));
        assert!(seen.attempts > 300, "{name}: {}", seen.attempts);
        assert_eq!(seen.outside(), 0, "{name}");
    }
}

#[test]
fn every_router_that_looks_at_one_thing_only_leaves_the_envelope_and_a_list_stops_what_stands_written() {
    let setup = setup("law-in-motion", &[]);
    for router in ["latency-only", "cost-only", "region-only", "sku-only", "account-only"] {
        let shipped = figures(&setup, Variant { router, tuning: Some(Tuning::SHIPPED) });
        assert!(shipped.outside_written > 100, "{router}: {}", shipped.outside_written);
        let listed = figures(&setup, Variant { router, tuning: Some(Tuning { listed: true, ..Tuning::SHIPPED }) });
        assert_eq!(listed.outside_written, 0, "{router}");
        // A list does not see that a proof has lapsed or that a site stands in another country now.
        assert!(listed.outside_proof > 10, "{router}: {}", listed.outside_proof);
    }
}

#[test]
fn the_same_files_and_seed_give_the_same_bytes_and_another_seed_others() {
    let args = |seed| {
        ["simulate", "cascade.yaml", "--quiet", "--untuned", "--format", "json", "--shorten", "25", "--seed", seed]
    };
    let (one, again, other) = (berth(&args("7")), berth(&args("7")), berth(&args("8")));
    assert!(!one.stdout.is_empty() && one.stdout == again.stdout, "{}", String::from_utf8_lossy(&one.stderr));
    assert_ne!(one.stdout, other.stdout);
}

#[test]
fn old_pictures_do_not_make_a_herd_of_berth_where_they_make_one_of_always_taking_the_best() {
    for (proxies, period_ms) in [(10, 1_000), (100, 1_000), (10, 10_000), (100, 10_000)] {
        let fleet = format!("proxies: {proxies}, workers: 1, period_ms: {period_ms}");
        let setup = setup("herd", &[("proxies: 100, workers: 1, period_ms: 1000", &fleet)]);
        let ours = figures(&setup, plain("berth"));
        let best = figures(&setup, Variant { router: "scorers", tuning: Some(Tuning::SHIPPED) });
        assert!(ours.imbalance_ppm <= 1_500_000, "{proxies}: {}", ours.imbalance_ppm);
        assert!(best.imbalance_ppm > 3_000_000, "{proxies}: {}", best.imbalance_ppm);
        assert!(ours.goodput_ppm > best.goodput_ppm, "{proxies}");
    }
}

/// Three substrates of which one is twice as fast, four in five of their slots in use: with everything as it ships.
const UNEQUAL: &str = r#"
berth: 1
policy: {name: unequal, version: 1, owner: simulation}
substrates:
  - name: a
    kind: gpu
    location: {jurisdiction: DE, region: r, zone: z1}
    account: own
    capabilities: {models: {m: {quality: 0.7}}, context_tokens: 32768, features: [streaming]}
    latency: {first_token_ms: 200, prefill_ms_per_ktok: 40, ms_per_token: 18}
    cost: {regime: reserved, input_usd_per_mtok: 0.1, output_usd_per_mtok: 0.3}
    capacity: {concurrency: 32}
  - {name: b, like: a, location: {zone: z2}, latency: {ms_per_token: 9}}
  - {name: c, like: a, location: {zone: z3}}
classes:
  - {name: k, home: [a, b, c], deadline_ms: 60000}
default_class: k
envelopes:
  - {name: all, permit: {}, spillover: any}
"#;

fn unequal(rps: u32, proxies: u32, workers: u32, delay_ms: u64, more: &str) -> Setup {
    let text = format!(
        "simulate: 1\nname: old-news\ntitle: \"Old news\"\npolicy: none.yaml\nduration_s: 90\nwarmup_s: 20\n\
         fleet: {{proxies: {proxies}, workers: {workers}, period_ms: 1000, delay_ms: {delay_ms}}}\n\
         load:\n  rps: {rps}\n  shape: poisson\n  mix:\n    - {{model: m, region: r, \
         input: {{median: 200, spread: 0.5, most: 2000}}, output: {{median: 60, spread: 0.8, most: 400}}}}\n\
         physics:\n  a: {{slots: 32, queue: 64}}\n  b: {{slots: 32, queue: 64}}\n  c: {{slots: 32, queue: 64}}\n{more}"
    );
    let checked = berth::policy::read_yaml(UNEQUAL).unwrap();
    let policy = Policy::new(checked.document, checked.digest.0);
    let document = policy.document().clone();
    Setup { scenario: read(&text).unwrap(), document, digest: *policy.digest(), trace: Vec::new(), tunes: false }
}

/// Up to where news, a period old when the next come, are too old to count, with the defaults that ship: what can be answered is, and shares turn back no
/// more often than twice as much as those of a router that knows everything.
#[test]
fn news_however_old_make_nothing_oscillate_with_the_defaults_that_ship() {
    let ages = unequal(40, 4, 2, 0, "").document.settings.ages;
    for (proxies, workers) in [(4, 2), (16, 1)] {
        for delay_ms in [100, 1_000, 2_000, ages.soft_ms, ages.hard_ms - 2_000] {
            let setup = unequal(40, proxies, workers, delay_ms, "");
            let (ours, ideal) = (figures(&setup, plain("berth")), figures(&setup, plain("ideal")));
            assert!(ideal.goodput_ppm > 999_000, "it is feasible: {}", ideal.goodput_ppm);
            assert!(ours.goodput_ppm >= 970_000, "{proxies} proxies, {delay_ms} ms: {}", ours.goodput_ppm);
            let (swings, most) = (ours.swings_ppm, 2 * ideal.swings_ppm);
            assert!(swings <= most, "{proxies} proxies, {delay_ms} ms: {swings} swings, not {most}");
        }
        // Now known, now not: worse, and still nothing like refusing all.
        let between = figures(&unequal(40, proxies, workers, ages.hard_ms - 500, ""), plain("berth"));
        assert!(between.goodput_ppm >= 850_000, "{proxies} proxies: {}", between.goodput_ppm);
    }
}

/// One of three is lost. What the others get then is what they have room for, by all proxies and workers together: each takes
/// its part of what was free when it was counted and of what is free by now, and a proxy a quarter of that at least. Their
/// limit is what they declare less what is kept free; all of it is free again, as far as anybody knows, once what was in
/// flight could have ended and no news has come. That is half as much again as the limit; more than four proxies, which have
/// their quarter each, exceed it.
#[test]
fn a_survivor_gets_little_more_than_half_as_much_again_as_its_limit_when_the_third_is_gone() {
    let gone = "events:\n  - {at_s: 40, until_s: 70, what: down, to: [b]}\n";
    for ((proxies, workers), rps) in [((1, 16), 40), ((4, 4), 40), ((8, 2), 40), ((4, 4), 55), ((8, 2), 70)] {
        let mut setup = unequal(rps, proxies, workers, 100, gone);
        let kept = u64::from(setup.document.settings.headroom_ppm);
        let slots = u64::from(setup.document.substrates[0].capacity.concurrency);
        let limit = slots * (1_000_000 - kept) / 1_000_000;
        for seed in 1..=3 {
            setup.scenario.seed = seed;
            let (ours, blind) = (figures(&setup, plain("berth")), figures(&setup, plain("round-robin")));
            let (peak, blindly) = (ours.peak_ppm * slots / 1_000_000, blind.peak_ppm * slots / 1_000_000);
            println!("{rps}/s, {proxies} proxies of {workers}: {peak} where {limit} is the limit, blindly {blindly}");
            let most = if proxies <= 4 { 3 * limit / 2 } else { 5 * limit / 3 };
            assert!(peak <= most, "{rps}/s, {proxies} proxies of {workers}, seed {seed}: {peak}");
            assert!(peak < blindly, "{peak} {blindly}");
        }
    }
}

#[test]
fn overload_that_nobody_sheds_stays_after_its_cause_is_gone_and_berth_is_back_by_itself() {
    let mut setup = setup("metastable", &[]);
    setup.scenario.capacity = false;
    let listed = Tuning { listed: true, ..Tuning::SHIPPED };
    let mesh = figures(&setup, Variant { router: "locality-failover", tuning: Some(listed) });
    let ours = figures(&setup, plain("berth"));
    assert!(mesh.recovery_ms.is_none_or(|ms| ms > 60_000), "{:?}", mesh.recovery_ms);
    assert!(ours.goodput_ppm > 4 * mesh.goodput_ppm, "{} {}", ours.goodput_ppm, mesh.goodput_ppm);
    // Callers who have asked before come back and are too late already, which no proxy can see.
    let back = ours.recovery_ms.unwrap();
    assert!(back <= 15_000, "{back}");
    // What does it: were twice as many let in as are served within the deadline, it would not be back.
    let policy = fs::read_to_string(folder().join("three-world.yaml")).unwrap();
    let twice = policy.replace("concurrency: 48", "concurrency: 96");
    assert_ne!(policy, twice);
    let checked = berth::policy::read_yaml(&twice).unwrap();
    (setup.document, setup.digest) = (checked.document, checked.digest.0);
    let crowded = figures(&setup, plain("berth"));
    assert!(crowded.recovery_ms.is_none_or(|ms| ms > 3 * back), "{:?}", crowded.recovery_ms);
}

/// How many requests of a class run at a substrate, every tenth of a second, by what its answers say of when they were asked
/// for and when they were there.
fn in_flight(seen: &Figures, class: u16, substrate: u16) -> Vec<u32> {
    let mut running = vec![0; 1_100];
    for entry in seen.ledger.entries().filter(|e| e.good() && e.class == class && e.substrate == substrate) {
        let (from, until) = (entry.at_ms / 100, (entry.at_ms + entry.whole_us / 1_000) / 100);
        running.iter_mut().zip(0..).filter(|(_, at)| (from..until).contains(at)).for_each(|(n, _)| *n += 1);
    }
    // Without the warm-up and what it leaves running.
    running.split_off(300)
}

#[test]
fn a_noisy_tenant_keeps_to_its_share_of_each_proxy_and_the_others_are_answered() {
    let (crawl, chat, gpu) = (0, 1, 0);
    for ((proxies, workers), seed) in [((1, 1), 1), ((1, 4), 1), ((1, 4), 2), ((2, 2), 3)] {
        let fleet = format!("{{proxies: {proxies}, workers: {workers},");
        let mut setup = setup("noisy-tenant", &[("{proxies: 1, workers: 4,", &fleet)]);
        setup.scenario.seed = seed;
        let shared = figures(&setup, plain("berth"));
        assert_eq!(setup.document.substrates[0].capacity.tenant_share_ppm.len(), 1);
        setup.document.substrates[0].capacity.tenant_share_ppm.clear();
        let free = figures(&setup, plain("berth"));
        let mean = |seen: &Figures| {
            let running = in_flight(seen, crawl, gpu);
            running.iter().sum::<u32>() / running.len() as u32
        };
        let answered = |seen: &Figures| {
            let class = seen.by_class[chat];
            class.good * 1_000 / class.offered
        };
        // A quarter of the substrate, for each proxy: what is under way is an estimate, and so right on average.
        let share = 16 * proxies;
        let (running, most) = (mean(&shared), in_flight(&shared, crawl, gpu).into_iter().max().unwrap());
        println!(
            "{proxies} of {workers}, seed {seed}: {running} and at most {most} with {share}, {} without",
            mean(&free)
        );
        assert!(
            running <= share && most <= share + share / 2,
            "{running} and at most {most} where {share} is the share"
        );
        assert!(mean(&free) > share * 3 / 2, "{}", mean(&free));
        let (kept, lost) = (answered(&shared), answered(&free));
        println!("of a thousand chats {kept} and {lost} are answered");
        assert!(kept > 890 && lost < 750, "{kept} {lost}");
        assert!(shared.whys.iter().any(|(why, n)| *why == "tenant-share" && *n > 100), "{:?}", shared.whys);
    }
}

/// The best rivals that keep the envelope, with what the grid found for them, as in the report; and by how much Berth may be
/// short of them: luck in the first, requests refused that some would have answered in time in the other (see the report).
#[test]
fn berth_answers_as_many_in_time_as_the_best_tuned_rival() {
    for (name, router, cool_ms, taste, less_ppm) in [
        ("five-failures", "latency-only", 1_000, 2, 2_000),
        ("spillover", "latency-only", 5_000, 2, 0),
        ("locality-collapse", "latency-only", 5_000, 0, 0),
        ("degraded-node", "sku-only", 5_000, 2, 15_000),
        ("metastable", "cost-only", 1_000, 2, 0),
        ("cascade", "least-request", 1_000, 2, 0),
        ("drift", "latency-only", 5_000, 2, 1_000),
    ] {
        let mut setup = setup(name, &[]);
        setup.scenario.capacity = false;
        let rival = Variant { router, tuning: Some(Tuning { listed: true, cool_ms, taste }) };
        let (ours, theirs) = (figures(&setup, plain("berth")), figures(&setup, rival));
        assert_eq!(theirs.outside(), 0, "{name}: {router} keeps the envelope here");
        let least = theirs.goodput_ppm - less_ppm;
        assert!(ours.goodput_ppm >= least, "{name}: {} against {}", ours.goodput_ppm, theirs.goodput_ppm);
    }
}

#[test]
fn other_seeds_are_played_by_ours_the_listed_rivals_and_the_ideal_and_change_nothing_of_the_first() {
    let mut setup = setup("cascade", &[("duration_s: 120", "duration_s: 40"), ("until_s: 70", "until_s: 35")]);
    setup.scenario.routers = ["berth", "round-robin", "ideal"].map(String::from).to_vec();
    let mut results = setup.all(&mut |_, _| {});
    let before = format!("{:?}", results.runs);
    setup.hold(&mut results, 2, 71, &mut |_, _| {});
    assert_eq!(format!("{:?}", results.runs), before);
    let held: Vec<String> = results.held.iter().map(|h| h.variant.label()).collect();
    assert_eq!(held, ["berth", "round-robin + list", "ideal"]);
    // What each seed gives by itself.
    let alone = |seed: u64| {
        let mut setup = setup.clone();
        setup.scenario.seed = seed;
        figures(&setup, plain("berth"))
    };
    assert_eq!(results.held[0].figures, [alone(71), alone(72)]);
    // Goals are judged on those, and on nothing of the first.
    let goals = berth::simulate::goals::goals(&setup, &results);
    results.runs.iter_mut().for_each(|run| run.figures = Figures::default());
    assert_eq!(berth::simulate::goals::goals(&setup, &results), goals);
    assert!(goals.iter().any(|goal| goal.column == "goodput" && !goal.short.is_empty()), "{goals:?}");
}

#[test]
fn what_was_offered_is_what_ended_and_every_router_meets_the_same_arrivals() {
    let setup = setup("retry-storm", &[]);
    let all = ["berth", "ideal", "round-robin", "locality-failover"].map(|router| figures(&setup, plain(router)));
    for seen in &all {
        assert_eq!(seen.offered, seen.good + seen.late + seen.refused + seen.failed);
        assert_eq!(seen.offered, all[0].offered);
    }
}

#[test]
fn the_ideal_is_hard_to_beat() {
    for name in ["spillover", "metastable", "cascade"] {
        let mut setup = setup(name, &[]);
        setup.scenario.capacity = false;
        let ideal = figures(&setup, plain("ideal"));
        let mut others = grid().into_iter().map(|tuning| Variant { router: "least-request", tuning: Some(tuning) });
        assert!(others.all(|variant| figures(&setup, variant).goodput_ppm <= ideal.goodput_ppm), "{name}");
        assert_eq!(ideal.outside(), 0, "{name}");
    }
}

/// The rivals and the ideal only: what the core decides may change, what they do may not, unseen.
#[test]
fn the_short_report_of_a_small_run_is_what_is_checked_in() {
    let routers = "latency-only,cost-only,round-robin,least-request,locality-failover,scorers,ideal";
    let args = [
        "simulate",
        "five-failures.yaml",
        "cascade.yaml",
        "--quiet",
        "--untuned",
        "--summary",
        "--shorten",
        "30",
        "--seed",
        "5",
        "--routers",
        routers,
    ];
    let seen = String::from_utf8(berth(&args).stdout).unwrap();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/simulate/summary.md");
    if std::env::var_os("BLESS").is_some() {
        fs::create_dir_all(golden.parent().unwrap()).unwrap();
        fs::write(&golden, &seen).unwrap();
    }
    assert_eq!(seen, fs::read_to_string(golden).unwrap(), "BLESS=1 cargo test --test simulate rewrites it; look at it");
}

/// The checked-in report is of the scenarios and policies as they are now.
#[test]
fn the_report_in_the_readme_is_of_these_scenarios() {
    let readme = fs::read_to_string(folder().join("README.md")).unwrap();
    let files = STANDARD.map(|name| format!("{name}.yaml"));
    let args = ["simulate", "--quiet", "--untuned", "--summary", "--shorten", "3", "--routers", "ideal"];
    let args: Vec<&str> = args.into_iter().chain(files.iter().map(String::as_str)).collect();
    let seen = String::from_utf8(berth(&args).stdout).unwrap();
    let heads: Vec<&str> = seen.lines().filter(|line| line.contains("Policy `") || line.starts_with("### ")).collect();
    assert_eq!(heads.len(), 2 * STANDARD.len());
    for line in heads {
        assert!(readme.contains(line), "`make simulation` rewrites the report: missing {line}");
    }
}

#[test]
fn a_scenario_that_is_wrong_is_refused_with_every_place() {
    let text = "simulate: 1\nname: x\ntitle: t\npolicy: world.yaml\nduration_s: 5\nwarmup_s: 9\nload: {rps: many, mix: [{tennant: a}]}\nevents: [{at_s: 9, until_s: 3, what: dwn}]\n";
    let said: Vec<String> = read(text).unwrap_err().iter().map(ToString::to_string).collect();
    for place in ["warmup_s", "load.rps", "load.mix[0].tennant", "events[0].what", "events[0].until_s"] {
        assert!(said.iter().any(|line| line.contains(place)), "{place}: {said:#?}");
    }
}

#[test]
fn the_tool_says_what_is_wrong_and_ends_with_two() {
    for (args, expected) in [
        (vec!["simulate", "nobody.yaml"], "nobody.yaml: "),
        (vec!["simulate", "herd.yaml", "--routers", "berht"], "no such router"),
    ] {
        let output = berth(&args);
        assert_eq!(output.status.code(), Some(2));
        assert!(String::from_utf8(output.stderr).unwrap().contains(expected), "{args:?}");
    }
}

#[test]
fn a_page_is_one_file_that_asks_for_nothing() {
    let out = std::env::temp_dir().join(format!("berth-simulate-{}.html", std::process::id()));
    let file = out.to_str().unwrap();
    berth(&["simulate", "cascade.yaml", "--quiet", "--untuned", "--shorten", "20", "--report", file]);
    let page = fs::read_to_string(&out).unwrap();
    fs::remove_file(&out).unwrap();
    assert!(
        page.contains("<svg") && page.contains("prefers-color-scheme:dark") && page.contains("color-scheme:light dark")
    );
    // The whole envelope of the experiment: version, digests, seed, parameters, and both files as they were read.
    let policy = fs::read_to_string(folder().join("three-world.yaml")).unwrap();
    let first = policy.lines().find(|line| line.contains("- name: gpu-a")).unwrap();
    for part in [
        env!("CARGO_PKG_VERSION"),
        "seed 1",
        "fingerprint",
        "three-equals@1#",
        "cool-down ms",
        "over jurisdiction",
        first,
    ] {
        assert!(page.contains(part), "{part}");
    }
    for outside in ["src=", "href=", "<script", "url(", "@import"] {
        assert!(!page.contains(outside), "{outside}");
    }
}

/// Everything that can happen on the time line does something to a fleet that was well, and to the same one each time.
#[test]
fn every_fault_of_a_time_line_is_felt() {
    let run = |events: &str| {
        let mut setup = setup("five-failures", &[("duration_s: 90", "duration_s: 40")]);
        let text = format!(
            "simulate: 1\nname: x\ntitle: t\npolicy: world.yaml\nduration_s: 40\nwarmup_s: 10\nload: {{rps: 1, mix: [{{}}]}}\nevents:\n{events}"
        );
        setup.scenario.events = read(&text).unwrap().events;
        format!("{:?}", figures(&setup, plain("berth")))
    };
    let at = "at_s: 15, until_s: 30";
    let quiet = run("  - {at_s: 39, until_s: 40, what: lapse, to: [edge-nl]}");
    for event in [
        "what: down, to: [metal-fr]",
        "what: cut, to: [edge-nl]",
        "what: slow, to: [gpu-de], by: 4",
        "what: drift, to: [gpu-de], by: 4",
        "what: errors, to: [provider-eu, provider-us], by: 0.3",
        "what: price, to: [provider-us], by: 20",
        "what: failover, to: [metal-fr], country: US",
        "what: lapse, to: [metal-fr, gpu-de]",
        "what: silence, to: [metal-fr, gpu-de]",
        "what: delay, by: 6",
        "what: surge, by: 3",
    ] {
        let felt = run(&format!("  - {{{at}, {event}}}"));
        assert_ne!(felt, quiet, "{event}");
        assert_eq!(felt, run(&format!("  - {{{at}, {event}}}")), "{event}");
    }
}

/// What each part is for: without it something is worse, somewhere.
#[test]
fn each_part_that_can_be_switched_off_is_for_something() {
    for (scenario, part) in [("wavering", "berth-no-freshness"), ("flapping", "berth-no-hysteresis")] {
        let mut setup = setup(scenario, &[]);
        let mut good = |router| {
            let of = |seed| {
                setup.scenario.seed = seed;
                figures(&setup, plain(router)).good
            };
            (31..43).map(of).sum::<u64>()
        };
        let (whole, without) = (good("berth"), good(part));
        assert!(without < whole, "{part}: {without} answered in time, and with it {whole}");
    }
    let herd = setup("herd", &[("proxies: 100", "proxies: 10")]);
    let crowd = |router| figures(&herd, plain(router)).imbalance_ppm;
    let (spread, crowded) = (crowd("berth"), crowd("berth-no-spread"));
    // Both are the most loaded by the mean: one is even.
    assert!(crowded - 1_000_000 > 2 * (spread - 1_000_000), "{crowded} without it, {spread} with it");
}

/// What the page says a minute is enough for. A hundredth of it is played here, in the build that there is: what takes a
/// minute for all of it in an optimised build takes some twenty times as long in one that is not.
#[test]
fn the_million_is_one_through_a_hundred_proxies_to_thirty_two_substrates_and_a_hundredth_of_it_is_quick() {
    let mut setup = setup("million", &[]);
    let (fleet, load) = (setup.scenario.fleet, &setup.scenario.load);
    let measured_ms = setup.scenario.duration_ms - setup.scenario.warmup_ms;
    assert!(load.rate_mrps * setup.scenario.duration_ms / 1_000_000 >= 1_000_000 && measured_ms > 900_000);
    assert_eq!((fleet.proxies, setup.document.substrates.len()), (100, 32));
    setup.scenario.shorten(Some(10));
    let began = std::time::Instant::now();
    let seen = figures(&setup, plain("berth"));
    let took = began.elapsed();
    println!("{} requests after half of the time took {took:?}", seen.offered);
    assert!(seen.offered > 4_500 && seen.outside() == 0, "{}", seen.offered);
    let most_ms = if cfg!(debug_assertions) { 20 * 600 } else { 600 };
    // Four times as long where others run beside it.
    assert!(took.as_millis() <= 4 * most_ms, "{took:?}");
}

#[test]
fn what_the_grid_finds_is_the_best_of_it_on_the_seed_it_was_tuned_on() {
    let mut setup = setup("cascade", &[("duration_s: 120", "duration_s: 40"), ("until_s: 70", "until_s: 35")]);
    setup.tunes = true;
    setup.scenario.routers = vec!["least-request".into()];
    let results = setup.all(&mut |_, _| {});
    let found = results.runs.iter().find(|run| run.variant.is_listed()).unwrap();
    setup.scenario.seed += 1_000_003;
    let others = grid().into_iter().map(|tuning| Variant { router: "least-request", tuning: Some(tuning) });
    let best = others.map(|variant| figures(&setup, variant).goodput_ppm).max();
    assert_eq!((found.trained_ppm, grid().len()), (best, 9));
    assert_eq!(figures(&setup, found.variant).goodput_ppm, best.unwrap());
}

#[test]
fn every_measure_is_there_for_every_router() {
    let args = ["simulate", "metastable.yaml", "--quiet", "--untuned", "--shorten", "12", "--format", "json"];
    let told: serde_json::Value = serde_json::from_slice(&berth(&args).stdout).unwrap();
    let experiment = &told["experiments"][0];
    let runs = experiment["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 5 + 2 * 10 + 1, "ours and its parts, ten rivals as they are and listed, the ideal");
    for run in runs {
        for measure in [
            "outside",
            "goodput_ppm",
            "by_class",
            "late",
            "cost_uusd",
            "egress_uusd",
            "spilled",
            "shed",
            "quality_ppm",
            "max_over_mean_ppm",
            "swings_per_minute_ppm",
            "recovers",
        ] {
            assert!(!run[measure].is_null(), "{}: {measure}", run["router"]);
        }
    }
    let capacity = experiment["capacity"].as_array().unwrap();
    assert!(capacity.len() == 12 && capacity.iter().all(|c| c["floor_us"].as_u64() > Some(0)), "{capacity:?}");
    for router in NAMES.into_iter().filter(|name| *name != "berth") {
        let readme = fs::read_to_string(folder().join("README.md")).unwrap();
        assert!(readme.contains(&format!("`{router}`")), "{router} is documented");
    }
}

#[test]
fn progress_is_told_from_the_beginning_to_the_end() {
    let mut told = Vec::new();
    let setup = setup("cascade", &[]);
    setup.run(plain("round-robin"), 1_000_000, &mut |label, done| told.push((label.to_owned(), done)));
    assert!(told.len() >= 99 && told.is_sorted(), "{}", told.len());
    assert_eq!(told.last().unwrap(), &("round-robin".into(), 1_000_000));
}

/// Who is told what of which answer, and when.
#[derive(Default)]
struct Told {
    heads: Vec<(u64, u64)>,
    ends: Vec<(u64, u64)>,
}

/// Everything goes to the first substrate, and what is told is written down.
struct Scribe(std::rc::Rc<std::cell::RefCell<Told>>);

impl Router for Scribe {
    fn ask(&mut self, ask: &Ask, _: &[Server]) -> Answer {
        let stop = Stop { substrate: 0, per_try_ms: ask.class.deadline_ms };
        Answer::Go { stops: [Some(stop), None, None], whole: true }
    }
    fn again(&mut self, _: &Ask, _: &[Server]) -> Option<Stop> {
        None
    }
    fn began(&mut self, _: &Arrival, _: u16) {}
    fn answered(&mut self, arrival: &Arrival, _: usize, _: &Beginning<'_>, now_ms: u64) {
        self.0.borrow_mut().heads.push((arrival.id, now_ms - START_MS));
    }
    fn ended(&mut self, arrival: &Arrival, _: usize, ending: &Ending, now_ms: u64) {
        if matches!(ending, Ending::Whole { .. }) {
            self.0.borrow_mut().ends.push((arrival.id, now_ms - START_MS));
        }
    }
    fn hear(&mut self, _: usize, _: &Words, _: u64) {}
}

#[test]
fn the_head_of_a_stream_is_seen_before_its_end_and_what_runs_feels_a_fault_at_once() {
    let faults = "events:\n  - {at_s: 20, until_s: 24, what: slow, to: [gpu-a], by: 1000}\n";
    let changes = [
        ("duration_s: 120", "duration_s: 40"),
        ("events:\n", faults),
        ("rps: 80", "rps: 5"),
        ("{model:", "{streaming: true, model:"),
    ];
    let setup = setup("cascade", &changes);
    let told = std::rc::Rc::new(std::cell::RefCell::new(Told::default()));
    let router = Box::new(Scribe(told.clone()));
    let _ = berth::simulate::run(&setup.scenario, &setup.document, router, &[], 1_000_000, &mut |_| {});
    let told = told.borrow();
    let heads: std::collections::HashMap<u64, u64> = told.heads.iter().copied().collect();
    assert_eq!(heads.len(), told.heads.len(), "each head is told once");
    assert!(told.ends.len() > 100, "{}", told.ends.len());
    assert!(told.ends.iter().all(|(id, at)| heads[id] < *at), "a stream's head comes before its end");
    let ended = |from: u64, until: u64| told.ends.iter().filter(|(_, at)| (from..until).contains(at)).count();
    assert!(ended(17_000, 20_000) > 5);
    assert_eq!(ended(20_010, 24_000), 0, "a thousand times slower, nothing comes to its end");
    assert!(ended(24_000, 27_000) > 5, "and then it goes on");
}

/// As the rule that ships: any proxy alone, for ten minutes.
#[test]
fn a_drift_that_no_request_shows_at_a_small_scale_is_found_from_metrics_and_a_quiet_fleet_raises_no_alert() {
    for seed in [1, 8] {
        let mut small = setup("drift-unnoticed", &[]);
        small.scenario.seed = seed;
        let seen = figures(&small, plain("berth"));
        let drift = &small.scenario.events[0];
        let named = |(at_ms, at): &(u64, u16)| {
            small.document.substrates[usize::from(*at)].name.as_str() == "gpu-de"
                && (drift.from_ms..drift.until_ms).contains(at_ms)
        };
        assert!(seen.found.iter().any(named), "seed {seed}: {:?}", seen.found);
        assert!(seen.found.iter().all(|(at_ms, _)| *at_ms > drift.from_ms), "seed {seed}: {:?}", seen.found);
        let shows = seen.before_ppm.saturating_sub(seen.fault_ppm.unwrap());
        assert!(shows < 10_000, "seed {seed}: requests show {shows}");
        small.scenario.events.clear();
        assert_eq!(figures(&small, plain("berth")).found, [], "seed {seed}");
        // At ten times the load, everybody feels the same drift.
        let mut large = setup("drift", &[]);
        large.scenario.seed = seed;
        let seen = figures(&large, plain("berth"));
        let shows = seen.before_ppm.saturating_sub(seen.fault_ppm.unwrap());
        assert!(shows > 30_000, "seed {seed}: requests show {shows}");
    }
}

/// The alert and the simulator's: one threshold, one time, any instance alone.
#[test]
fn the_simulated_alert_is_the_one_that_ships() {
    let rules = fs::read_to_string(folder().join("../../envoy/rules/alerts.yaml")).unwrap();
    let rule = &rules[rules.find("alert: BerthDrift\n").unwrap()..];
    let rule = &rule[..rule.find("labels:").unwrap()];
    // The simulator's substrates are measured all the time: none of what it sees is old.
    let of =
        "max by (job, instance, substrate) (berth_health_drift unless berth_health_drift_age_ms >= 300000) > 500000";
    assert!(rule.contains(of), "{rule}");
    assert!(rule.contains("for: 10m"), "{rule}");
    assert_eq!(setup("drift-at-scale", &[]).scenario.alarm_ms, 600_000);
}

#[test]
fn a_goal_that_the_ideal_misses_too_is_out_of_reach_and_what_is_missed_says_why() {
    let mut setup = setup("locality-collapse", &[]);
    setup.scenario.routers = ["berth", "locality-failover", "ideal"].map(String::from).to_vec();
    let results = setup.all(&mut |_, _| {});
    let goals = berth::simulate::goals::goals(&setup, &results);
    let of = |column: &str| goals.iter().find(|goal| goal.column == column).unwrap();
    let mesh = of("1.3 × mesh");
    assert_eq!(mesh.verdict(), "out of reach", "{}", mesh.seen);
    assert!(mesh.short.contains("ideal 1.") && mesh.why.contains("more than can be answered at all"), "{mesh:?}");
    let cost = of("cost");
    assert_eq!(cost.verdict(), "missed", "{}", cost.seen);
    // Like with like: the sums are those of the two runs, request by request.
    let mesh = results.listed("locality-failover").unwrap();
    let ours = results.plain("berth").unwrap();
    let both = || ours.ledger.beside(&mesh.ledger).filter(|(o, t)| o.good() && t.good());
    let each = |sum: u64| sum / both().count() as u64 / 1_000_000;
    let (own, theirs): (u64, u64) = (both().map(|(o, _)| o.cost_pusd).sum(), both().map(|(_, t)| t.cost_pusd).sum());
    let same = of("cost of the same");
    let said =
        format!("{} against {} micro-dollars a request, over {} that both", each(own), each(theirs), both().count());
    assert!(same.seen.starts_with(&said), "{} {said}", same.seen);
    assert!(same.why.contains("are of class") && same.why.contains(" each, "), "{}", same.why);
    assert_eq!(of("envelope").verdict(), "met");
}

/// Requests in each second, of a load of this shape.
fn by_second(shape: &str, seed: u64) -> Vec<u64> {
    let mut setup =
        setup("cascade", &[("shape: poisson", &format!("shape: {shape}")), ("duration_s: 120", "duration_s: 800")]);
    (setup.scenario.seed, setup.scenario.load.rate_mrps) = (seed, 60_000);
    setup.scenario.events.clear();
    let mut counts = vec![0; 800];
    for arrival in berth::simulate::arrivals::Arrivals::new(&setup.scenario, &[], 1_000_000) {
        counts[usize::try_from(arrival.at_us / 1_000_000).unwrap()] += 1;
    }
    counts
}

fn mean(counts: &[u64]) -> f64 {
    counts.iter().sum::<u64>() as f64 / counts.len() as f64
}

/// Variance over mean: one where arrivals are independent of one another.
fn dispersion(counts: &[u64]) -> f64 {
    let mean = mean(counts);
    counts.iter().map(|n| (*n as f64 - mean).powi(2)).sum::<f64>() / counts.len() as f64 / mean
}

#[test]
fn each_shape_of_a_load_has_the_rates_and_the_dispersion_that_it_says() {
    let near = |seen: f64, wanted: f64| (seen / wanted - 1.0).abs() < 0.05;
    for seed in [1, 2, 3] {
        let poisson = by_second("poisson", seed);
        assert!(near(mean(&poisson), 60.0) && (0.8..1.25).contains(&dispersion(&poisson)), "{}", dispersion(&poisson));
        let bursty = by_second("bursty", seed);
        let phase = |from: usize, until: usize| -> Vec<u64> {
            bursty.iter().enumerate().filter(|(at, _)| (from..until).contains(&(at % 8))).map(|(_, n)| *n).collect()
        };
        assert!(near(mean(&phase(0, 2)), 180.0) && near(mean(&phase(3, 8)), 20.0) && near(mean(&bursty), 60.0));
        // 180 for a quarter and 20 for the rest: a variance of 4,800 beside the mean's 60.
        assert!((dispersion(&bursty) - 81.0).abs() < 10.0, "{}", dispersion(&bursty));
        let diurnal = by_second("diurnal", seed);
        let around = |second: usize| mean(&diurnal[second - 20..second + 20]);
        assert!(near(around(200), 108.0) && near(around(400), 60.0) && near(mean(&diurnal), 60.0), "{}", around(200));
        assert!((around(600) - 12.0).abs() < 3.0, "{}", around(600));
        assert!(dispersion(&diurnal) > 10.0, "{}", dispersion(&diurnal));
    }
}

/// Proofs go on for as long as somebody is still asking: what callers ask again after the last has arrived is no breach.
#[test]
fn substrates_prove_where_they_are_until_the_last_caller_is_done() {
    let more = [
        ("clients: {retries: 3, backoff_ms: 200}", "clients: {retries: 8, backoff_ms: 2000}"),
        ("until_s: 60", "until_s: 130"),
    ];
    let mut setup = setup("retry-storm", &more);
    setup.scenario.duration_ms = 60_000;
    let listed = Tuning { listed: true, ..Tuning::SHIPPED };
    for router in ["locality-failover", "scorers"] {
        let seen = figures(&setup, Variant { router, tuning: Some(listed) });
        assert_eq!((seen.outside_written, seen.outside_proof), (0, 0), "{router}");
    }
}

/// An answer to a later try counts from the first asking.
#[test]
fn who_is_answered_on_a_later_try_is_late_by_what_went_before() {
    // Refused connections for five seconds, then all is well; the deadline is three.
    let gone = "events:\n  - {at_s: 20, until_s: 25, what: down, to: [gpu-a, gpu-b, gpu-c]}\n";
    let again = ("clients: {retries: 1, backoff_ms: 300}", "clients: {retries: 10, backoff_ms: 1000}");
    let mut setup = setup("cascade", &[("duration_s: 120", "duration_s: 60"), ("rps: 80", "rps: 20"), again]);
    setup.scenario.events = read(&format!(
        "{}{gone}",
        "simulate: 1\nname: x\ntitle: t\npolicy: p\nduration_s: 60\nload: {rps: 1, mix: [{}]}\n"
    ))
    .unwrap()
    .events;
    let seen = figures(&setup, plain("round-robin"));
    let second = |at: usize| seen.timeline_ppm[at];
    assert!(second(15) > 990_000 && second(40) > 990_000, "{} {}", second(15), second(40));
    assert_eq!(second(20), 0, "whoever came then had waited for more than three seconds");
    assert!(seen.late > 20, "answered, and late: {}", seen.late);
}

/// In the form of the public traces of inference; `TRACE=FILE` plays one of those instead.
#[test]
fn a_public_trace_is_played_from_its_file() {
    let text = match std::env::var("TRACE") {
        Ok(file) => fs::read_to_string(file).unwrap(),
        Err(_) => fs::read_to_string(folder().join("trace.csv")).unwrap(),
    };
    let lines = text.lines().count() - 1;
    let mut setup = setup("cascade", &[("load:\n", "load:\n  trace: {file: trace.csv, speed: 2}\n")]);
    setup.trace = berth::simulate::arrivals::trace(&text).unwrap();
    assert_eq!(setup.trace.len(), lines);
    let last_us = setup.trace.last().unwrap().at_us;
    (setup.scenario.warmup_ms, setup.scenario.duration_ms) = (0, last_us / 2_000 + 60_000);
    setup.scenario.events.clear();
    let seen = figures(&setup, plain("berth"));
    println!("{} requests, {} answered in time", seen.offered, seen.good);
    assert_eq!(seen.offered, u64::try_from(lines).unwrap());
    assert_eq!(seen.offered, seen.good + seen.late + seen.refused + seen.failed);
    assert_eq!(seen.outside(), 0);
}

#[test]
fn a_trace_is_played_as_it_was_recorded() {
    let mut setup = setup("cascade", &[("load:\n", "load:\n  trace: {file: trace.csv}\n")]);
    setup.trace = berth::simulate::arrivals::trace("at,input,output\n10.5,100,10\n11,200,20\n11.25,50,5\n").unwrap();
    setup.scenario.warmup_ms = 0;
    setup.scenario.events.clear();
    let seen = figures(&setup, plain("round-robin"));
    assert_eq!((seen.offered, seen.good), (3, 3));
}
