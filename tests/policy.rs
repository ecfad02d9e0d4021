//! The policy as its authors meet it: whole documents, whole answers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

use berth::policy::{read_json, read_yaml};
use std::{fs, path::Path};

fn root(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn policies() -> Vec<(String, String)> {
    let mut all: Vec<_> = fs::read_dir(root("policies"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "yaml"))
        .filter(|path| !path.to_string_lossy().ends_with(".cases.yaml"))
        .map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(&path).unwrap()))
        .collect();
    all.sort();
    all
}

#[test]
fn every_policy_of_the_library_compiles_without_a_warning() {
    for (name, text) in policies() {
        match read_yaml(&text) {
            Err(errors) => panic!("{name}: {}", errors.iter().map(|e| format!("\n{e}")).collect::<String>()),
            Ok(checked) => assert_eq!(checked.warnings, [], "{name}"),
        }
    }
}

#[test]
fn a_policy_is_the_same_as_yaml_and_as_json() {
    use berth::policy::{canonical, yaml};
    for (name, text) in policies() {
        let json = canonical::canonical(&yaml::parse(&text).unwrap().node);
        let (from_yaml, from_json) = (read_yaml(&text).unwrap(), read_json(json.as_bytes()).unwrap());
        assert!(from_yaml.document == from_json.document, "{name}");
        assert_eq!(from_yaml.digest, from_json.digest, "{name}");
    }
}

/// Why a document is refused, one line an error.
fn problems(name: &str, text: &str) -> String {
    let result = if name.ends_with(".json") { read_json(text.as_bytes()) } else { read_yaml(text) };
    let found = result.err().unwrap_or_default();
    found.iter().map(|p| format!("{} {p}\n", p.at.map_or_else(|| "-".into(), |at| at.to_string()))).collect()
}

fn same_as_golden(path: &Path, actual: &str) {
    if std::env::var_os("BLESS").is_some() {
        fs::write(path, actual).unwrap();
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    assert_eq!(actual, expected, "{} (BLESS=1 rewrites it)", path.display());
}

#[test]
fn every_broken_document_is_refused_with_the_errors_written_next_to_it() {
    let mut count = 0;
    for entry in fs::read_dir(root("tests/bad")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if name.ends_with(".txt") {
            continue;
        }
        let said = problems(name, &fs::read_to_string(&path).unwrap());
        assert!(!said.is_empty(), "{name} is not refused");
        same_as_golden(&path.with_extension("txt"), &said);
        count += 1;
    }
    assert!(count >= 60, "{count}");
}

#[test]
fn the_reference_is_what_the_schema_and_the_codes_say() {
    const MARK: &str = "<!-- From here on written from the schema: BLESS=1 cargo test --test policy -->\n\n";
    let path = root("policies/README.md");
    let text = fs::read_to_string(&path).unwrap();
    let by_hand = text.split_once(MARK).expect("the mark").0;
    same_as_golden(&path, &format!("{by_hand}{MARK}{}", berth::policy::reference::reference()));
}

mod mutations {
    use super::*;
    use proptest::prelude::*;

    /// One careless edit of a text.
    #[derive(Clone, Debug)]
    enum Edit {
        DropLine(usize),
        DoubleLine(usize),
        SwapLines(usize, usize),
        DropChars(usize, usize),
        Put(usize, &'static str),
        Indent(usize),
    }

    const STUFF: [&str; 24] = [
        "0",
        "-1",
        "1e9",
        "null",
        "true",
        "NO",
        "\"\"",
        "[",
        "]",
        "{",
        "}",
        ": ",
        ",",
        "#",
        "&a ",
        "*a",
        "!!str ",
        "\t",
        "é",
        "\u{0}",
        "- ",
        "---\n",
        "9007199254740993",
        "${x}",
    ];

    fn edit() -> impl Strategy<Value = Edit> {
        let any = || 0..100_000_usize;
        prop_oneof![
            any().prop_map(Edit::DropLine),
            any().prop_map(Edit::DoubleLine),
            (any(), any()).prop_map(|(a, b)| Edit::SwapLines(a, b)),
            (any(), 1..20_usize).prop_map(|(at, n)| Edit::DropChars(at, n)),
            (any(), 0..STUFF.len()).prop_map(|(at, i)| Edit::Put(at, STUFF[i])),
            any().prop_map(Edit::Indent),
        ]
    }

    fn apply(text: &str, edit: &Edit) -> String {
        let mut lines: Vec<&str> = text.lines().collect();
        let indented;
        let n = lines.len().max(1);
        match edit {
            Edit::DropLine(i) => drop(lines.remove(i % n)),
            Edit::DoubleLine(i) => lines.insert(i % n, lines[i % n]),
            Edit::SwapLines(a, b) => lines.swap(a % n, b % n),
            Edit::Indent(i) => {
                indented = format!("  {}", lines[i % n]);
                lines[i % n] = &indented;
            }
            Edit::DropChars(at, count) => {
                let chars: Vec<char> = text.chars().collect();
                let at = at % chars.len().max(1);
                return chars.iter().take(at).chain(chars.iter().skip(at + count)).collect();
            }
            Edit::Put(at, stuff) => {
                let at = at % text.chars().count().max(1);
                return text.chars().take(at).chain(stuff.chars()).chain(text.chars().skip(at)).collect();
            }
        }
        lines.join("\n") + "\n"
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_mutated_policy_compiles_or_is_refused_with_a_place(
            which in 0..64_usize,
            edits in proptest::collection::vec(edit(), 1..4),
        ) {
            let all = policies();
            let (name, text) = &all[which % all.len()];
            let mutated = edits.iter().fold(text.clone(), |text, edit| if text.is_empty() { text } else { apply(&text, edit) });
            if let Err(errors) = read_yaml(&mutated) {
                prop_assert!(!errors.is_empty(), "{} was refused in silence", name);
                let named = errors.iter().any(|e| e.at.is_some() || !e.path.is_empty());
                prop_assert!(named, "{}: no place in {:?}", name, errors);
            }
        }

        #[test]
        fn mutated_cases_are_read_or_refused_with_a_place(
            which in 0..64_usize,
            edits in proptest::collection::vec(edit(), 1..4),
        ) {
            let all = policies();
            let (name, text) = &all[which % all.len()];
            let document = read_yaml(text).unwrap().document;
            let cases = fs::read_to_string(root(&format!("policies/{name}.cases.yaml"))).unwrap();
            let mutated = edits.iter().fold(cases, |text, edit| if text.is_empty() { text } else { apply(&text, edit) });
            if let Err(errors) = berth::policy::cases::read(&mutated, &document) {
                prop_assert!(!errors.is_empty(), "{} was refused in silence", name);
                let named = errors.iter().any(|e| e.at.is_some() || !e.path.is_empty());
                prop_assert!(named, "{}: no place in {:?}", name, errors);
            }
        }

        #[test]
        fn any_bytes_as_json_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Err(errors) = read_json(&bytes) {
                prop_assert!(!errors.is_empty());
            }
        }
    }
}

mod layers {
    use super::*;
    use berth::{
        model::{Borders, Country, Document, Envelope, Kind, Name, Selector, Terms, envelope::Require},
        policy::{json, layered::layer, narrow::narrow, permits},
    };
    use proptest::{option, prelude::*, sample::subsequence};

    const TENANTS: [&str; 3] = ["acme", "globex", "initech"];
    const COUNTRIES: [&str; 5] = ["DE", "FR", "IE", "NL", "US"];
    const ACCOUNTS: [&str; 5] = ["acme-fr", "acme-de", "cloud-us", "provider-main", "acme-edge"];
    const CLASSES: [&str; 3] = ["interactive", "batch", "edge"];

    fn global() -> Document {
        read_yaml(&fs::read_to_string(root("policies/agentic-production.yaml")).unwrap()).unwrap().document
    }

    fn some(words: &'static [&'static str]) -> impl Strategy<Value = Option<Vec<&'static str>>> {
        option::weighted(0.4, subsequence(words, 1..=words.len()))
    }

    fn names(words: Option<Vec<&str>>) -> Option<Vec<Name>> {
        words.map(|w| w.iter().map(|n| Name::parse(n).unwrap()).collect())
    }

    fn terms() -> impl Strategy<Value = Terms> {
        let kinds = option::weighted(0.3, subsequence(&Kind::ALL[..], 1..=7));
        (some(&COUNTRIES), some(&COUNTRIES), some(&ACCOUNTS), kinds).prop_map(|(places, laws, accounts, kinds)| {
            let countries = |l: Option<Vec<&str>>| l.map(|l| l.iter().map(|c| Country::parse(c).unwrap()).collect());
            Terms {
                jurisdictions: countries(places),
                subject_to: countries(laws),
                accounts: names(accounts),
                kinds,
                ..Terms::default()
            }
        })
    }

    fn envelopes() -> impl Strategy<Value = Vec<Envelope>> {
        let one = (some(&TENANTS), some(&CLASSES), terms(), terms(), 0..32_u8, option::of(1..900_u64));
        proptest::collection::vec(one, 1..5).prop_map(|all| {
            let make = |(i, (tenants, classes, permit, forbid, borders, age)): (
                usize,
                (Option<Vec<&str>>, _, _, _, _, Option<u64>),
            )| Envelope {
                name: Name::parse(&format!("e{i}")).unwrap(),
                applies_to: Selector {
                    tenants: tenants.map(|t| t.into_iter().map(String::from).collect()),
                    classes: names(classes),
                    ..Selector::default()
                },
                permit,
                forbid,
                spillover: Borders::from_bits(borders),
                require: Require { attestation_max_age_ms: age.map(|s| s * 1000), ..Require::default() },
            };
            all.into_iter().enumerate().map(make).collect()
        })
    }

    /// A section of an override, as people might write it: narrower, wider, or neither.
    fn section() -> impl Strategy<Value = String> {
        let list = |words: &'static [&'static str]| subsequence(words, 1..=words.len());
        let line = prop_oneof![
            list(&COUNTRIES).prop_map(|l| format!(r#""permit":{{"jurisdictions":{l:?}}}"#)),
            list(&ACCOUNTS).prop_map(|l| format!(r#""permit":{{"accounts":{l:?}}}"#)),
            list(&COUNTRIES).prop_map(|l| format!(r#""forbid":{{"subject_to":{l:?}}}"#)),
            list(&ACCOUNTS).prop_map(|l| format!(r#""forbid":{{"accounts":{l:?}}}"#)),
            prop_oneof!["none", "zone", "region", "jurisdiction"].prop_map(|w| format!(r#""spillover":"{w}""#)),
            (1..900_u32).prop_map(|s| format!(r#""attestation_max_age_s":{s}"#)),
            any::<bool>().prop_map(|on| format!(r#""air_gapped":{on}"#)),
        ];
        line.prop_map(|line| format!("{{{line}}}"))
    }

    /// What is permitted to a request without a data class, as a set of substrates with what may be crossed and how old a proof may be.
    fn permitted(document: &Document, tenant: &str, class: &str) -> Vec<(usize, u8, u64)> {
        let class = Name::parse(class).unwrap();
        let applies = |e: &&Envelope| {
            e.applies_to.tenants.as_ref().is_none_or(|t| t.iter().any(|t| t == tenant))
                && e.applies_to.data.is_none()
                && permits::applies_to_class(e, &class)
        };
        let applying: Vec<&Envelope> = document.envelopes.iter().filter(applies).collect();
        let cross = applying.iter().fold(Borders::ANY.bits(), |b, e| b & e.spillover.bits());
        let age = applying.iter().filter_map(|e| e.require.attestation_max_age_ms).min().unwrap_or(u64::MAX);
        let stands = |s: &_| !applying.is_empty() && applying.iter().all(|e| permits::permits(e, s));
        (0..document.substrates.len()).filter(|&i| stands(&document.substrates[i])).map(|i| (i, cross, age)).collect()
    }

    fn is_narrower(narrowed: &Document, global: &Document) -> Result<(), TestCaseError> {
        for tenant in ["acme", "globex", "initech", "nobody"] {
            for class in ["interactive", "batch", "edge", "standard"] {
                let before = permitted(global, tenant, class);
                for (substrate, cross, age) in permitted(narrowed, tenant, class) {
                    let was = before.iter().find(|(s, ..)| *s == substrate);
                    prop_assert!(
                        was.is_some_and(|(_, c, a)| cross & !c == 0 && age <= *a),
                        "{tenant} {class} {substrate}"
                    );
                }
            }
        }
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn an_override_never_permits_more_than_the_global_policy(
            envelopes in envelopes(),
            first in section(),
            everywhere in section(),
            disabled in 0..9_usize,
        ) {
            let mut global = global();
            global.envelopes = envelopes;
            let off = &global.substrates[disabled].name;
            let text = format!(
                r#"{{"berth":1,"overrides":{{"name":"here","owner":"me","envelopes":{{"e0":{first}}},
                "everywhere":{everywhere},"substrates":{{"{off}":{{"disabled":true}}}}}}}}"#
            );
            match narrow(&global, &json::parse(text.as_bytes()).unwrap(), "") {
                Ok(narrowed) => {
                    is_narrower(&narrowed, &global)?;
                    let off = |(s, ..): &(usize, u8, u64)| *s == disabled;
                    prop_assert!(!permitted(&narrowed, "acme", "batch").iter().any(off));
                }
                Err(errors) => prop_assert!(errors.iter().all(|e| e.code == "BTH0301" && e.at.is_some()), "{:?}", errors),
            }
        }
    }

    /// Numbers that narrow a class, a substrate and a budget, or would widen them.
    fn numbers() -> impl Strategy<Value = [Option<u32>; 7]> {
        let number = || option::weighted(0.5, 1..3_000_u32);
        [number(), number(), number(), number(), number(), number(), number()]
    }

    /// What a tenant may use of a substrate, by tier: not what is kept for the tiers above it and for other tenants.
    fn usable(capacity: &berth::model::substrate::Capacity, tenant: &str) -> [i64; 3] {
        let others = capacity.keep_for_tenant_ppm.iter().filter(|(t, _)| t != tenant).map(|(_, ppm)| i64::from(*ppm));
        let others: i64 = others.sum();
        let above = |tier: usize| capacity.keep_for_ppm.iter().skip(tier + 1).map(|ppm| i64::from(*ppm)).sum::<i64>();
        [0, 1, 2].map(|tier| i64::from(capacity.concurrency) * (1_000_000 - others - above(tier)))
    }

    /// What may only fall and what may only grow, of everything that overrides speak of besides envelopes.
    fn bounds(document: &Document) -> (Vec<i64>, Vec<i64>) {
        let none = i64::MAX;
        let class = |c: &berth::model::Class| {
            let queue = c.limits.max_queue.map_or(none, i64::from);
            [i64::from(c.deadline_ms), i64::from(c.attempts.most), c.limits.cost_uusd.unwrap_or(none), queue]
        };
        let grows = |c: &berth::model::Class| {
            [i64::from(c.limits.min_quality_ppm), i64::from(c.air_gapped), i64::from(c.approval_for.bits())]
        };
        let usable =
            |s: &berth::model::Substrate| ["acme", "globex", "nobody"].map(|t| usable(&s.capacity, t)).concat();
        let concurrency = document.substrates.iter().flat_map(usable);
        let budgets = document.settings.budgets.iter().map(|b| b.most_uusd);
        let falls = document.classes.iter().flat_map(class).chain(concurrency).chain(budgets).collect();
        (falls, document.classes.iter().flat_map(grows).collect())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_policy_under_an_override_is_written_out_and_reads_as_it_was_meant(
            first in section(),
            everywhere in option::of(section()),
            [deadline, attempts, cost, quality, queue, concurrency, kept] in numbers(),
            air_gapped in option::of(any::<bool>()),
            disabled in 0..9_usize,
        ) {
            let node = berth::policy::yaml::parse(
                &fs::read_to_string(root("policies/agentic-production.yaml")).unwrap(),
            ).unwrap().node;
            let global = global();
            let field = |name: &str, value: Option<String>| value.map(|v| format!(r#""{name}":{v}"#));
            let class: Vec<String> = [
                field("deadline_ms", deadline.map(|n| n.to_string())),
                field("attempts", attempts.map(|n| (n % 3 + 1).to_string())),
                field("cost_usd", cost.map(|n| format!("0.{n:06}"))),
                field("min_quality", quality.map(|n| format!("0.{n:04}"))),
                field("max_queue", queue.map(|n| n.to_string())),
                field("air_gapped", air_gapped.map(|on| on.to_string())),
            ].into_iter().flatten().collect();
            let off = &global.substrates[disabled].name;
            // Of the one that keeps something for globex already, and of another.
            let kept = |s: &str| field("keep_for_tenant", kept.map(|n| format!(r#"{{"{}":0.{n:04}}}"#, ["globex", "acme"][n as usize % 2])).filter(|_| off.as_str() != s));
            let silicon = [
                field("concurrency", concurrency.map(|n| n.to_string())).filter(|_| off.as_str() != "silicon-us"),
                kept("silicon-us"),
            ].into_iter().flatten().collect::<Vec<_>>().join(",");
            let metal = kept("metal-fr").map_or_else(String::new, |kept| format!(r#","metal-fr":{{{kept}}}"#));
            let local = format!(
                r#"{{"berth":1,"overrides":{{"name":"here","owner":"me","envelopes":{{"acme":{first}}},
                {}"classes":{{"interactive":{{{}}}}},
                "substrates":{{"{off}":{{"disabled":true}},"silicon-us":{{{silicon}}}{metal}}},"budgets":{{"globex":{}}}}}}}"#,
                everywhere.map_or_else(String::new, |e| format!(r#""everywhere":{e},"#)),
                class.join(","),
                cost.unwrap_or(1),
            );
            // Where the override names the disabled substrate twice, it is refused as any repetition is.
            let local = if off.as_str() == "silicon-us" { local.replace(r#","silicon-us":{}"#, "") } else { local };
            match layer(&node, &json::parse(local.as_bytes()).unwrap()) {
                Ok((_, checked)) => {
                    let narrowed = checked.document;
                    prop_assert_eq!(narrowed.identity.name.as_str(), "agentic-production-here");
                    is_narrower(&narrowed, &global)?;
                    let ((fell, grew), (falls, grows)) = (bounds(&narrowed), bounds(&global));
                    prop_assert!(fell.len() == falls.len() && fell.iter().zip(&falls).all(|(a, b)| a <= b), "{local}");
                    prop_assert!(grew.iter().zip(&grows).all(|(a, b)| a & b == *b || a >= b), "{local}");
                }
                Err(errors) => prop_assert!(errors.iter().all(|e| e.code == "BTH0301"), "{:?}\n{local}", errors),
            }
        }
    }

    #[test]
    fn a_permit_of_which_nothing_is_left_is_written_out_too() {
        let text = fs::read_to_string(root("policies/agentic-production.yaml")).unwrap();
        let node = berth::policy::yaml::parse(&text).unwrap().node;
        let local =
            r#"{"berth":1,"overrides":{"name":"here","owner":"me","everywhere":{"permit":{"jurisdictions":["JP"]}}}}"#;
        let (_, checked) = layer(&node, &json::parse(local.as_bytes()).unwrap()).unwrap();
        assert!(permitted(&global(), "acme", "interactive").len() > 1);
        assert!(permitted(&checked.document, "acme", "interactive").is_empty());
    }

    #[test]
    fn an_override_that_would_widen_or_names_nothing_is_refused_at_every_place() {
        let local = r#"{"berth":1,"overrides":{"name":"par","owner":"edge",
            "envelopes":{"globex":{"permit":{"jurisdictions":["FR","US"]}},"special-data":{"spillover":"region"},"nobody":{}},
            "classes":{"interactive":{"deadline_ms":9000,"cost_usd":0.5,"min_quality":0.1,"max_queue":20}},
            "substrates":{"metal-fr":{"concurrency":65}},"budgets":{"globex":501,"umbrella":1}}}"#;
        let errors = narrow(&global(), &json::parse(local.as_bytes()).unwrap(), "").unwrap_err();
        let said: Vec<String> = errors.iter().map(|e| format!("{} {}", e.code, e.path)).collect();
        assert_eq!(
            said,
            [
                "BTH0301 overrides.envelopes.globex.permit.jurisdictions",
                "BTH0302 overrides.envelopes.nobody",
                "BTH0301 overrides.classes.interactive.deadline_ms",
                "BTH0301 overrides.classes.interactive.cost_usd",
                "BTH0301 overrides.classes.interactive.min_quality",
                "BTH0301 overrides.classes.interactive.max_queue",
                "BTH0301 overrides.substrates.metal-fr.concurrency",
                "BTH0301 overrides.budgets.globex",
                "BTH0302 overrides.budgets.umbrella",
            ]
        );
    }

    #[test]
    fn an_override_that_narrows_holds() {
        let local = r#"{"berth":1,"overrides":{"name":"par","owner":"edge",
            "envelopes":{"acme":{"permit":{"jurisdictions":["FR","DE"]},"spillover":"zone"}},
            "classes":{"interactive":{"deadline_ms":1000,"attempts":1}},"budgets":{"globex":50}}}"#;
        let narrowed = narrow(&global(), &json::parse(local.as_bytes()).unwrap(), "").unwrap();
        assert_eq!(permitted(&narrowed, "acme", "interactive").iter().map(|p| p.0).collect::<Vec<_>>(), [0, 1, 8]);
        let class = &narrowed.classes[0];
        assert_eq!((class.deadline_ms, class.attempts.most, class.attempts.per_try_ms), (1000, 1, Some(1000)));
        assert_eq!(narrowed.settings.budgets[0].most_uusd, 50_000_000);
    }

    /// What is left of a policy under these lines, or the places that are refused.
    fn under(global: &Document, lines: &str) -> Result<Document, Vec<String>> {
        let local = format!(r#"{{"berth":1,"overrides":{{"name":"here","owner":"me",{lines}}}}}"#);
        let refused = |errors: Vec<berth::policy::InvalidPolicy>| errors.into_iter().map(|e| e.path).collect();
        narrow(global, &json::parse(local.as_bytes()).unwrap(), "").map_err(refused)
    }

    const ACCOUNT: u8 = Borders::NONE.with(berth::model::Border::Account).bits();
    const REGION: u8 = Borders::NONE.with(berth::model::Border::Region).bits();

    /// Set by the policy, said by the override: the narrower of the two, or refused where what is said is the wider one.
    /// Said of every envelope at once, it is cut away instead.
    #[test]
    fn each_line_of_an_envelope_becomes_the_narrower_of_the_two_or_is_refused_as_wider() {
        type Line = (fn(&mut Envelope), &'static str, &'static str, fn(&Envelope) -> bool, bool);
        let lines: [Line; 16] = [
            (|_| (), r#""attestation_max_age_s":300"#, "", |e| e.require.attestation_max_age_ms == Some(300_000), true),
            (
                |e| e.require.attestation_max_age_ms = Some(600_000),
                r#""attestation_max_age_s":300"#,
                "",
                |e| e.require.attestation_max_age_ms == Some(300_000),
                true,
            ),
            (
                |e| e.require.attestation_max_age_ms = Some(600_000),
                r#""attestation_max_age_s":600"#,
                "",
                |e| e.require.attestation_max_age_ms == Some(600_000),
                true,
            ),
            (
                |e| e.require.attestation_max_age_ms = Some(600_000),
                r#""attestation_max_age_s":601"#,
                "attestation_max_age_s",
                |e| e.require.attestation_max_age_ms == Some(600_000),
                false,
            ),
            (
                |e| e.require.health_max_age_ms = Some(5_000),
                r#""health_max_age_s":4"#,
                "",
                |e| e.require.health_max_age_ms == Some(4_000),
                true,
            ),
            (
                |e| e.require.health_max_age_ms = Some(5_000),
                r#""health_max_age_s":6"#,
                "health_max_age_s",
                |e| e.require.health_max_age_ms == Some(5_000),
                false,
            ),
            (|_| (), r#""air_gapped":true"#, "", |e| e.require.air_gapped, true),
            (|e| e.require.air_gapped = true, r#""air_gapped":true"#, "", |e| e.require.air_gapped, true),
            (|_| (), r#""air_gapped":false"#, "", |e| !e.require.air_gapped, true),
            (|e| e.require.air_gapped = true, r#""air_gapped":false"#, "air_gapped", |e| e.require.air_gapped, false),
            (
                |e| e.require.approval_for = Borders::from_bits(ACCOUNT),
                r#""approval_for":["account","region"]"#,
                "",
                |e| e.require.approval_for.bits() == ACCOUNT | REGION,
                true,
            ),
            (
                |e| e.spillover = Borders::ANY,
                r#""spillover":"none""#,
                "",
                |e| e.spillover == Borders::ANY.minus(Borders::up_to(berth::model::Border::Jurisdiction)),
                true,
            ),
            (|e| e.spillover = Borders::NONE, r#""spillover":"none""#, "", |e| e.spillover.is_empty(), true),
            (|e| e.spillover = Borders::NONE, r#""spillover":"zone""#, "spillover", |e| e.spillover.is_empty(), false),
            (
                |e| e.forbid.accounts = None,
                r#""forbid":{"accounts":["cloud-us"]}"#,
                "",
                |e| e.forbid.accounts.as_ref().is_some_and(|l| l.len() == 1),
                true,
            ),
            (
                |e| e.permit.accounts = None,
                r#""permit":{"accounts":["cloud-us"]}"#,
                "",
                |e| e.permit.accounts.as_ref().is_some_and(|l| l.len() == 1),
                true,
            ),
        ];
        for (set, said, refused, holds, narrower) in lines {
            let mut global = global();
            set(&mut global.envelopes[0]);
            match under(&global, &format!(r#""envelopes":{{"acme":{{{said}}}}}"#)) {
                Ok(narrowed) => {
                    assert!(narrower && holds(&narrowed.envelopes[0]), "{said}: {:?}", narrowed.envelopes[0])
                }
                Err(paths) => {
                    assert_eq!((narrower, paths), (false, vec![format!("overrides.envelopes.acme.{refused}")]))
                }
            }
            let everywhere = under(&global, &format!(r#""everywhere":{{{said}}}"#)).unwrap();
            assert!(holds(&everywhere.envelopes[0]), "{said} everywhere: {:?}", everywhere.envelopes[0]);
        }
    }

    #[test]
    fn what_an_override_forbids_is_forbidden_besides_each_once_and_in_order() {
        let mut global = global();
        global.envelopes[0].forbid.accounts = names(Some(vec!["cloud-us"]));
        let said = r#""envelopes":{"acme":{"forbid":{"accounts":["cloud-us","acme-fr"],"jurisdictions":["US","FR"],
            "subject_to":["NL"],"kinds":["edge"],"regions":["us-east"],"regimes":["spot"],"substrates":["metal-fr"]}}}"#;
        let forbid = under(&global, said).unwrap().envelopes.remove(0).forbid;
        let shown = |list: Option<Vec<Name>>| list.unwrap().iter().map(Name::to_string).collect::<Vec<_>>().join(" ");
        let places =
            |list: Option<Vec<Country>>| list.unwrap().iter().map(Country::to_string).collect::<Vec<_>>().join(" ");
        assert_eq!((shown(forbid.accounts), shown(forbid.regions)), ("cloud-us acme-fr".into(), "us-east".into()));
        assert_eq!((places(forbid.jurisdictions), places(forbid.subject_to)), ("FR US".into(), "NL".into()));
        assert_eq!((forbid.kinds, forbid.regimes.unwrap().len()), (Some(vec![Kind::Edge]), 1));
        assert_eq!(shown(forbid.substrates), "metal-fr");
    }

    #[test]
    fn each_number_of_a_class_becomes_the_narrower_of_the_two_or_is_refused_as_wider() {
        let mut global = global();
        let class = &mut global.classes[0];
        (class.deadline_ms, class.attempts.most, class.attempts.per_try_ms) = (1_000, 2, Some(700));
        (class.limits.cost_uusd, class.limits.max_queue, class.limits.min_quality_ppm) = (Some(500), None, 500_000);
        (class.air_gapped, class.approval_for) = (true, Borders::from_bits(ACCOUNT));
        let said = |line: &str| {
            let narrowed = under(&global, &format!(r#""classes":{{"interactive":{{{line}}}}}"#))?;
            let class = &narrowed.classes[0];
            let (limits, attempts) = (&class.limits, &class.attempts);
            let numbers = [
                i64::from(class.deadline_ms),
                i64::from(attempts.most),
                i64::from(attempts.per_try_ms.unwrap()),
                limits.cost_uusd.unwrap(),
                limits.max_queue.map_or(-1, i64::from),
                i64::from(limits.min_quality_ppm),
            ];
            Ok((numbers, class.air_gapped, class.approval_for.bits()))
        };
        let same = [1_000, 2, 700, 500, -1, 500_000];
        let with = |at: usize, value: i64| {
            let mut numbers = same;
            numbers[at] = value;
            Ok((numbers, true, ACCOUNT))
        };
        let refused = |field: &str| Err(vec![format!("overrides.classes.interactive.{field}")]);
        for (line, expected) in [
            ("", with(0, 1_000)),
            (r#""deadline_ms":999"#, with(0, 999)),
            (r#""deadline_ms":1000"#, with(0, 1_000)),
            (r#""deadline_ms":1001"#, refused("deadline_ms")),
            (r#""deadline_ms":600"#, Ok(([600, 2, 600, 500, -1, 500_000], true, ACCOUNT))),
            (r#""attempts":1"#, with(1, 1)),
            (r#""attempts":3"#, refused("attempts")),
            (r#""cost_usd":0.0004"#, with(3, 400)),
            (r#""cost_usd":0.000501"#, refused("cost_usd")),
            (r#""max_queue":9"#, with(4, 9)),
            (r#""min_quality":0.6"#, with(5, 600_000)),
            (r#""min_quality":0.5"#, with(5, 500_000)),
            (r#""min_quality":0.4"#, refused("min_quality")),
            (r#""air_gapped":true"#, with(0, 1_000)),
            (r#""air_gapped":false"#, refused("air_gapped")),
            (r#""approval_for":["account","region"]"#, Ok((same, true, ACCOUNT | REGION))),
        ] {
            assert_eq!(said(line), expected, "{line}");
        }
        // Of a substrate and a budget: as much is not more.
        let whole = global.substrates[0].capacity.concurrency;
        let concurrency = |n: u32| under(&global, &format!(r#""substrates":{{"metal-fr":{{"concurrency":{n}}}}}"#));
        assert_eq!(concurrency(whole).unwrap().substrates[0].capacity.concurrency, whole);
        assert_eq!(concurrency(whole + 1).unwrap_err(), ["overrides.substrates.metal-fr.concurrency"]);
        // More may be kept for a tenant, there or for another one besides: nobody has more by it. Not less, which would be
        // more to the others, and not more than there is.
        let kept = |tenant: &str, part: &str| {
            let lines = format!(r#""substrates":{{"metal-fr":{{"keep_for_tenant":{{"{tenant}":{part}}}}}}}"#);
            Ok::<_, Vec<String>>(under(&global, &lines)?.substrates[0].capacity.keep_for_tenant_ppm.clone())
        };
        let both = |parts: &[(&str, u32)]| Ok(parts.iter().map(|(t, ppm)| (String::from(*t), *ppm)).collect());
        assert_eq!(kept("globex", "0.2"), both(&[("globex", 200_000)]));
        assert_eq!(kept("globex", "0.3"), both(&[("globex", 300_000)]));
        assert_eq!(kept("acme", "0.55"), both(&[("acme", 550_000), ("globex", 200_000)]));
        let at = |field: &str| Err(vec![format!("overrides.substrates.metal-fr.keep_for_tenant{field}")]);
        assert_eq!(kept("globex", "0.199999"), at(".globex"));
        assert_eq!(kept("acme", "0.550001"), at(""));
        assert_eq!(under(&global, r#""budgets":{"globex":500}"#).unwrap().settings.budgets, global.settings.budgets);
        let off = under(&global, r#""substrates":{"metal-fr":{"disabled":true}}"#).unwrap();
        assert!(
            off.envelopes.iter().all(|e| e.forbid.substrates.as_ref().is_some_and(|l| l[0].as_str() == "metal-fr"))
        );
        // What nobody declares is refused, with the name that it looks like.
        for (lines, path) in [
            (r#""classes":{"interactiv":{}}"#, "overrides.classes.interactiv"),
            (r#""substrates":{"metal-f":{}}"#, "overrides.substrates.metal-f"),
            (r#""envelopes":{"acm":{}}"#, "overrides.envelopes.acm"),
        ] {
            assert_eq!(under(&global, lines).unwrap_err(), [path]);
        }
    }
}

#[test]
fn the_queue_that_is_too_long_grows_with_the_substrate_unless_the_policy_says_a_number() {
    use berth::model::Kind;
    let starter = fs::read_to_string(root("policies/starter.yaml")).unwrap();
    let limit = |thresholds: &str, kind: Kind, concurrency: u32| {
        let document = read_yaml(&format!("{starter}\n{thresholds}\n")).unwrap().document;
        let mut substrate = document.substrates[0].clone();
        (substrate.kind, substrate.capacity.concurrency) = (kind, concurrency);
        document.settings.thresholds_of(&substrate).queue_depth
    };
    assert_eq!([8, 100, 512].map(|n| limit("", Kind::Gpu, n)), [Some(20), Some(20), Some(102)]);
    assert_eq!([8, 512].map(|n| limit("", Kind::Silicon, n)), [Some(5), Some(102)]);
    assert_eq!(limit("", Kind::Provider, 512), None, "a provider says nothing of its queue");
    assert_eq!(limit("thresholds: {gpu: {queue_depth: 7}}", Kind::Gpu, 512), Some(7), "what is written holds");
    assert_eq!(limit("thresholds: {gpu: {queue_depth: none}}", Kind::Gpu, 512), None);
    assert_eq!(limit("thresholds: {gpu: {queue_share: 0.5}}", Kind::Gpu, 512), Some(256));
    assert_eq!(limit("thresholds: {gpu: {queue_depth: 7, queue_share: 0.5}}", Kind::Gpu, 10), Some(7), "the larger");
}

#[test]
fn the_readme_shows_the_starter_in_forty_lines() {
    let starter = fs::read_to_string(root("policies/starter.yaml")).unwrap();
    let readme = fs::read_to_string(root("README.md")).unwrap();
    assert!(readme.contains(&format!("```yaml\n{starter}```")), "README.md shows another starter.yaml");
    assert!(starter.lines().count() <= 40, "{} lines", starter.lines().count());
}

mod tool {
    use super::*;
    use std::process::Command;

    /// What the tool prints and its exit code.
    fn berth(args: &[&str]) -> (String, i32) {
        let output = Command::new(env!("CARGO_BIN_EXE_berth")).args(args).current_dir(root("")).output().unwrap();
        (String::from_utf8(output.stdout).unwrap(), output.status.code().unwrap())
    }

    fn file(name: &str, text: &str) -> String {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    #[test]
    fn check_lists_jurisdictions_when_it_is_asked_to() {
        let text = fs::read_to_string(root("policies/starter.yaml")).unwrap();
        let own = file("own.yaml", &text.replace("jurisdictions: [EU, US]", "jurisdictions: [EU]"));
        let (said, _) = berth(&["check", "--jurisdictions", &own]);
        assert!(said.contains("  class  may run in  nothing in\n  chat   DE EU FR    US\n"), "{said}");
        assert!(!berth(&["check", &own]).0.contains("nothing in"));
        let (said, _) = berth(&["check", "--format", "json", &own]);
        assert!(said.contains(r#"{"class":"chat","nowhere":["US"],"within":["DE","EU","FR"]}"#), "{said}");
    }

    #[test]
    fn exit_codes_are_0_well_1_found_something_2_used_wrongly() {
        assert_eq!(berth(&["check", "policies/starter.yaml", "--fail-on", "warning"]).1, 0);
        assert_eq!(berth(&["check", "tests/bad/kind-unknown.yaml"]).1, 1);
        assert_eq!(berth(&["check", "no/such/file.yaml"]).1, 2);
        assert_eq!(berth(&["check"]).1, 2);
        assert_eq!(berth(&["schema", "substrates.costs"]).1, 2);
    }

    #[test]
    fn a_narrowed_policy_is_a_policy_like_any_other() {
        let local = "berth: 1\noverrides:\n  name: edge\n  owner: me\n  classes: {chat: {deadline_ms: 2000}}\n";
        let local = file("override.yaml", &format!("{local}  substrates: {{gpu-de: {{disabled: true}}}}\n"));
        let (said, code) = berth(&["narrow", "policies/starter.yaml", &local]);
        assert_eq!(code, 0, "{said}");
        let narrowed = file("narrowed.yaml", &said);
        let (said, _) = berth(&["check", &narrowed]);
        assert!(said.contains("starter-edge@1#") && said.contains("0 errors"), "{said}");
        let (said, _) = berth(&["diff", "policies/starter.yaml", &narrowed]);
        assert!(said.contains("class chat changed\n  deadline_ms: 8000 → 2000\n"), "{said}");
        let (said, _) = berth(&["explain", &narrowed, "--facts", "tenant=acme,path=/v1/chat"]);
        assert!(said.contains("gpu-fr") && !said.contains("gpu-de: chosen"), "{said}");
        // And what the check says of both: of the override, and of what it leaves.
        let (said, code) = berth(&["check", "policies/starter.yaml", "--narrowed-by", &local, "--fail-on", "warning"]);
        assert!(code == 1 && said.contains("unused-substrate: substrates[0]"), "{said}");
        let wider = file(
            "wider.yaml",
            "berth: 1\noverrides: {name: x, owner: me, envelopes: {eu-customers: {permit: {jurisdictions: [FR, US]}}}}\n",
        );
        let (said, code) = berth(&["narrow", "policies/starter.yaml", &wider]);
        assert!(code == 1 && said.contains("BTH0301") && said.contains("and not `US`"), "{said}");
        assert_eq!(berth(&["check", "policies/starter.cases.yaml", "--narrowed-by", &wider]).1, 2);
    }

    #[test]
    fn an_approval_that_has_run_out_is_a_warning() {
        let text = fs::read_to_string(root("policies/starter.yaml")).unwrap();
        let with = |until: &str| format!("{text}approvals: [{{token: abc, borders: [zone], until: {until}}}]\n");
        let (said, _) = berth(&["check", &file("expired.yaml", &with("2020-01-01T00:00:00Z"))]);
        assert!(said.contains("warning[BTH0211] expired-approval: approvals[0].until"), "{said}");
        assert!(said.contains("0 errors, 1 warning\n"), "{said}");
        let (said, _) = berth(&["check", &file("valid.yaml", &with("2999-01-01T00:00:00Z"))]);
        assert!(said.contains("0 errors, 0 warnings\n"), "{said}");
    }

    #[test]
    fn what_formatting_is_not_made_for_is_left_alone() {
        let json = file("left-alone.json", "{\"berth\": 1}");
        let (said, code) = berth(&["fmt", &json]);
        assert!(code == 1 && said.contains("left alone: JSON"), "{said}");
        assert_eq!(fs::read_to_string(json).unwrap(), "{\"berth\": 1}");
    }

    #[test]
    fn the_library_is_formatted() {
        for (name, _) in policies() {
            assert_eq!(berth(&["fmt", "--check", &format!("policies/{name}.yaml")]), (String::new(), 0));
        }
    }

    #[test]
    fn an_excerpt_shows_the_line_and_points_at_the_mistake() {
        let (said, _) = berth(&["check", "tests/bad/jurisdiction-is-a-region.yaml"]);
        assert!(said.contains("tests/bad/jurisdiction-is-a-region.yaml:9:30"), "{said}");
        let line = said.lines().find(|l| l.starts_with("9 |")).unwrap();
        let caret = said.lines().find(|l| l.contains('^')).unwrap();
        assert_eq!(&line[caret.find('^').unwrap()..][..3], "EUR");
        assert!(caret.contains("^^^ found `EUR`, expected an ISO 3166-1"), "{caret}");
    }

    #[test]
    fn warnings_fail_only_where_it_was_asked_for() {
        let text = fs::read_to_string(root("policies/starter.yaml")).unwrap().replace("[AT, BE", "[NO, BE");
        let path = file("norway.yaml", &text);
        let (said, code) = berth(&["check", &path]);
        assert!(said.contains("BTH0009") && code == 0, "{said}");
        assert_eq!(berth(&["check", &path, "--fail-on", "warning"]).1, 1);
    }

    /// A manifest around a policy whose one mistake is its `kind`, and where that mistake stands in it.
    fn embedded(head: &str, indent: usize) -> (String, usize) {
        let policy = fs::read_to_string(root("tests/bad/kind-unknown.yaml")).unwrap();
        let indented: String = policy.lines().map(|l| format!("{}{l}\n", " ".repeat(indent))).collect();
        let text = format!("{head}{indented}");
        let line = text.lines().position(|l| l.contains("kind: tpu")).unwrap() + 1;
        (text, line)
    }

    #[test]
    fn a_mistake_in_an_embedded_policy_is_shown_where_it_stands_in_the_manifest() {
        let envoy_filter = "apiVersion: networking.istio.io/v1alpha3\nkind: EnvoyFilter\nspec:\n  configPatches:\n    - patch:\n        value:\n          typed_config:\n            config:\n              configuration:\n                \"@type\": type.googleapis.com/google.protobuf.Struct\n                value:\n                  role: placement\n                  policy:\n";
        let text_in_text = envoy_filter.replace(
            "Struct\n                value:\n                  role",
            "StringValue\n                value: |\n                  role",
        );
        let wasm_plugin = "apiVersion: extensions.istio.io/v1alpha1\nkind: WasmPlugin\nspec:\n  pluginConfig:\n    role: placement\n    policy:\n";
        let traffic_extension = "apiVersion: extensions.istio.io/v1alpha1\nkind: TrafficExtension\nspec:\n  wasm:\n    pluginConfig:\n      role: placement\n      policy:\n";
        let bootstrap = "static_resources:\n  listeners:\n    - filter_chains:\n        - filters:\n            - configuration:\n                role: placement\n                policy:\n";
        for (name, head, indent) in [
            ("struct", envoy_filter, 20),
            ("string", text_in_text.as_str(), 20),
            ("wasm-plugin", wasm_plugin, 6),
            ("traffic-extension", traffic_extension, 8),
            ("bootstrap", bootstrap, 18),
        ] {
            let (text, line) = embedded(head, indent);
            let path = file(&format!("{name}.yaml"), &text);
            let (said, code) = berth(&["check", &path, "--format", "json"]);
            let report: serde_json::Value = serde_json::from_str(&said).unwrap();
            let problem = &report[0]["problems"][0];
            assert_eq!(problem["code"], "BTH0016", "{name}: {said}");
            assert_eq!((problem["line"].as_u64(), code), (u64::try_from(line).ok(), 1), "{name}");
            assert_eq!(problem["column"].as_u64(), u64::try_from(indent + 11).ok(), "{name}");
            assert!(problem["path"].as_str().unwrap().ends_with("policy.substrates[0].kind"), "{name}");
            // The others that read policies say the same place, and print the line itself.
            let place = format!("{path}:{line}:{}\n", indent + 11);
            let cases = root("policies/starter.cases.yaml");
            let starter = root("policies/starter.yaml");
            for (args, expected) in [
                (["test", &path, "--cases", cases.to_str().unwrap()].as_slice(), 1),
                (&["diff", &path, starter.to_str().unwrap()], 2),
                (&["diff", starter.to_str().unwrap(), &path], 2),
            ] {
                let output = Command::new(env!("CARGO_BIN_EXE_berth")).args(args).output().unwrap();
                let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
                assert_eq!(output.status.code(), Some(expected), "{args:?}: {said}");
                assert!(said.contains(&place) && said.contains("kind: tpu"), "{args:?}: {place}{said}");
            }
        }
    }

    #[test]
    fn json_in_a_string_of_a_bootstrap_is_found_too() {
        use berth::policy::{canonical::canonical, yaml};
        let policy = canonical(&yaml::parse(&fs::read_to_string(root("policies/starter.yaml")).unwrap()).unwrap().node);
        let inner = format!(r#"{{"role":"placement","policy":{policy},"candidate":{policy}}}"#);
        let outer = serde_json::json!({"static_resources": {"configuration": {"value": inner}}});
        let (said, code) = berth(&["check", &file("bootstrap.json", &outer.to_string())]);
        assert_eq!((said.matches("starter@1#").count(), code), (2, 0), "{said}");
    }

    #[test]
    fn what_stands_beside_an_embedded_policy_is_looked_at_too_however_deep_it_stands() {
        let indented = |text: &str, by: usize| -> String {
            text.lines().map(|line| format!("{}{line}\n", " ".repeat(by))).collect()
        };
        let policy = fs::read_to_string(root("policies/starter.yaml")).unwrap();
        let plugin = format!("role: placement\nattach: ful\nfactz: {{}}\npolicy:\n{}", indented(&policy, 2));
        let wasm_plugin = format!("kind: WasmPlugin\nspec:\n  pluginConfig:\n{}", indented(&plugin, 4));
        let (said, code) = berth(&["check", &file("beside.yaml", &wasm_plugin)]);
        assert_eq!(code, 1);
        for part in
            ["unknown-word: spec.pluginConfig.attach", "beside.yaml:5:", "unknown-field: spec.pluginConfig.factz"]
        {
            assert!(said.contains(part), "{part}: {said}");
        }
        // A text in a text: a bootstrap in a ConfigMap, whose plugin has its configuration as a text.
        let bootstrap = format!("static_resources:\n  configuration: |\n{}", indented(&plugin, 4));
        let map = format!("kind: ConfigMap\ndata:\n  envoy.yaml: |\n{}", indented(&bootstrap, 4));
        let (said, code) = berth(&["check", &file("map.yaml", &map)]);
        let line = 1 + map.lines().position(|line| line.contains("attach: ful")).unwrap();
        assert!(code == 1 && said.contains(&format!("map.yaml:{line}:")), "line {line}: {said}");
        assert!(said.contains("data[\"envoy.yaml\"].static_resources.configuration.attach"), "{said}");
        // Two policies in one file are none.
        let (said, code) = berth(&["check", &file("two.yaml", &format!("{policy}---\n{policy}"))]);
        assert!(code == 1 && said.contains("BTH0007") && said.contains("expected one policy in a file"), "{said}");
    }

    #[test]
    fn a_manifest_without_a_policy_is_refused() {
        let (said, code) = berth(&["check", &file("service.yaml", "kind: Service\nspec: {}\n")]);
        assert!(said.contains("BTH0401") && code == 1, "{said}");
    }

    #[test]
    fn sarif_names_rules_and_regions() {
        let (said, _) = berth(&["check", "tests/bad/kind-unknown.yaml", "--format", "sarif"]);
        let sarif: serde_json::Value = serde_json::from_str(&said).unwrap();
        assert_eq!(sarif["runs"][0]["results"][0]["ruleId"], "BTH0016");
        assert_eq!(sarif["runs"][0]["results"][0]["locations"][0]["physicalLocation"]["region"]["startLine"], 7);
    }

    #[test]
    fn the_schema_is_json_and_knows_every_field_that_the_library_uses() {
        let (said, code) = berth(&["schema"]);
        let schema: serde_json::Value = serde_json::from_str(&said).unwrap();
        assert_eq!(code, 0);
        let substrate = &schema["properties"]["substrates"]["items"];
        assert_eq!(substrate["additionalProperties"], false);
        assert_eq!(substrate["properties"]["cost"]["properties"]["regime"]["enum"][0], "reserved");
        assert_eq!(schema["properties"]["classes"]["items"]["properties"]["match"]["$anchor"], "predicate");
        assert_eq!(said.matches(r#""$anchor""#).count(), 1);
    }

    /// What another implementation of JSON Schema says of documents: one line each, empty if there is nothing to say.
    fn said_by_an_editor(documents: &[serde_json::Value]) -> Vec<String> {
        const CHECK: &str = r#"
const [home, schema, documents] = process.argv.slice(1);
const read = (file) => JSON.parse(require("fs").readFileSync(file));
const Ajv = require(`${home}/node_modules/ajv/dist/2020`).default;
const valid = new Ajv({ strict: false }).compile(read(schema));
for (const document of read(documents)) {
  valid(document);
  console.log((valid.errors || []).map((e) => `${e.instancePath} ${e.message}`).join("; "));
}
"#;
        let tools = concat!(env!("CARGO_MANIFEST_DIR"), "/.ci/tools");
        let found = Command::new(tools).arg("istio-models").output().unwrap();
        assert!(found.status.success(), "{}", String::from_utf8_lossy(&found.stderr));
        let home = String::from_utf8(found.stdout).unwrap();
        let dir = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("schema");
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("schema.json"), berth(&["schema"]).0).unwrap();
        fs::write(dir.join("documents.json"), serde_json::to_vec(documents).unwrap()).unwrap();
        let mut node = Command::new("node");
        let said = node
            .args(["-e", CHECK, home.trim()])
            .arg(dir.join("schema.json"))
            .arg(dir.join("documents.json"))
            .output()
            .unwrap();
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        String::from_utf8(said.stdout).unwrap().lines().map(String::from).collect()
    }

    #[test]
    fn an_editor_is_content_with_the_library_and_not_with_what_is_wrong() {
        let library: Vec<serde_json::Value> = super::policies()
            .iter()
            .map(|(_, text)| {
                let node = berth::policy::yaml::parse(text).unwrap().node;
                serde_json::from_str(&berth::policy::canonical::canonical(&node)).unwrap()
            })
            .collect();
        assert_eq!(said_by_an_editor(&library), vec![""; library.len()]);
        // The second substrate is like the first, which has to have everything.
        let wrong = |change: &dyn Fn(&mut serde_json::Value)| {
            let mut document = library.iter().find(|d| d["policy"]["name"] == "starter").unwrap().clone();
            assert!(document["substrates"][1]["like"].is_string());
            change(&mut document);
            document
        };
        let documents = [
            wrong(&|d| drop(d["substrates"][0].as_object_mut().unwrap().remove("kind"))),
            wrong(&|d| drop(d["substrates"][0]["location"].as_object_mut().unwrap().remove("zone"))),
            wrong(&|d| drop(d["substrates"][1].as_object_mut().unwrap().remove("like"))),
            wrong(&|d| d["substrates"][1]["speed"] = "fast".into()),
            wrong(&|d| d["classes"][0]["deadline_ms"] = (-1).into()),
            wrong(&|d| d["policy"]["name"] = "No Name".into()),
        ];
        let said = said_by_an_editor(&documents);
        let named = [
            "'kind'",
            "'zone'",
            "'like'",
            "additional properties",
            "/classes/0/deadline_ms",
            "/policy/name must match",
        ];
        for (said, named) in said.iter().zip(named) {
            assert!(said.contains(named), "{named}: {said}");
        }
        assert_eq!(said.len(), named.len());
    }

    #[test]
    fn a_field_is_explained_with_its_type_default_and_what_is_below_it() {
        let (said, _) = berth(&["schema", "classes.attempts"]);
        assert!(said.contains("`most` (whole number from 1 to 3): Attempts in all. Default: `3`."), "{said}");
    }
}

#[test]
fn a_policy_that_went_through_a_protobuf_struct_has_the_same_digest_and_says_the_same() {
    use berth::policy::tree::{Node, Value};
    /// As a Struct prints: fields in an order of its own, every number a double.
    fn through(node: &Node) -> String {
        match &node.value {
            Value::Number(number) if number.fract() == 0.0 => format!("{number:.1}"),
            Value::Number(number) => format!("{number:e}"),
            Value::List(items) => format!("[{}]", items.iter().map(through).collect::<Vec<_>>().join(",")),
            Value::Map(entries) => {
                let field = |e: &berth::policy::tree::Entry| format!("{:?}:{}", e.key, through(&e.node));
                format!("{{{}}}", entries.iter().rev().map(field).collect::<Vec<_>>().join(","))
            }
            _ => berth::policy::canonical::canonical(node),
        }
    }
    for (name, text) in policies() {
        let json = through(&berth::policy::yaml::parse(&text).unwrap().node);
        let (direct, through) = (read_yaml(&text).unwrap(), read_json(json.as_bytes()).unwrap());
        assert_eq!(direct.digest, through.digest, "{name}");
        assert!(direct.document == through.document, "{name}");
    }
}

#[test]
fn every_warning_is_raised_by_what_it_warns_of() {
    let starter = fs::read_to_string(root("policies/starter.yaml")).unwrap();
    let eu = "permit: {jurisdictions: [EU, US]}";
    let cases: [(&str, &str, &str); 12] = [
        ("BTH0201", "    tier: critical\n", "    tier: critical\n    needs: [embeddings]\n"),
        ("BTH0202", eu, "permit: {jurisdictions: [EU]}"),
        (
            "BTH0203",
            "match: {path_prefix: /v1/chat}",
            "match: {all: []}\n    tier: critical\n    home: [gpu-de, gpu-fr]\n    deadline_ms: 9000\n  - name: second\n    match: {path_prefix: /v1/chat}",
        ),
        ("BTH0204", "home: [gpu-de, gpu-fr]", "home: [gpu-de, gpu-fr, provider-us]"),
        ("BTH0205", "zone: par-1", "zone: par-1, failure_domain: fra-1"),
        (
            "BTH0206",
            "    deadline_ms: 8000",
            "    deadline_ms: 8000\n    worth: {answer_usd: 0, second_usd: 0, failure_usd: 0}",
        ),
        ("BTH0207", eu, "permit: {jurisdictions: [EU, US]}\n    forbid: {accounts: [trial]}"),
        ("BTH0208", "  - name: everyone\n", "  - name: everyone\n    applies_to: {classes: [other]}\n"),
        ("BTH0209", eu, "permit: {jurisdictions: [EU, US], kinds: [provider]}"),
        ("BTH0212", "    deadline_ms: 8000", "    deadline_ms: 8000\n    attempts: {hedge: true}"),
        (
            "BTH0213",
            "  - name: eu-customers\n",
            "  - name: secret\n    applies_to: {data: [secret]}\n    permit: {jurisdictions: [US]}\n  - name: eu-customers\n",
        ),
        ("BTH0009", "[AT, BE", "[NO, BE"),
    ];
    for (code, from, to) in cases {
        assert!(starter.contains(from), "{from}");
        let mut text = starter.replacen(from, to, 1);
        if matches!(code, "BTH0202" | "BTH0204") {
            text = text.replace(eu, "permit: {jurisdictions: [EU]}");
        }
        if code == "BTH0208" {
            text = text.replace("applies_to: {tenants: [acme]}", "applies_to: {tenants: [acme], classes: [other]}");
        }
        let warnings = read_yaml(&text).unwrap_or_else(|e| panic!("{code}: {e:?}")).warnings;
        let raised = warnings.iter().find(|w| w.code == code);
        assert!(raised.is_some_and(|w| w.at.is_some() && !w.is_error()), "{code}: {warnings:?}");
    }
}

/// What is kept for whom, and why it would stand empty.
#[test]
fn a_reserve_that_its_tenant_cannot_use_is_warned_of_where_it_stands() {
    let starter = fs::read_to_string(root("policies/starter.yaml")).unwrap();
    let told = |at: &str, capacity: &str, more: &str| {
        let (before, after) = starter.split_once(at).unwrap();
        let start = after.find("{concurrency").unwrap();
        let end = start + after[start..].find('\n').unwrap();
        let text = format!("{before}{at}{}{{concurrency: 64, {capacity}}}{}{more}", &after[..start], &after[end..]);
        let warnings = read_yaml(&text).unwrap_or_else(|e| panic!("{capacity}: {e:?}")).warnings;
        let own = warnings.into_iter().filter(|w| w.code == "BTH0216").map(|w| {
            assert!(w.at.is_some() && !w.is_error());
            format!("{}: {}", w.path, w.expected)
        });
        own.collect::<Vec<_>>()
    };
    let (germany, provider) = ("name: gpu-de", "name: provider-us");
    let budget = "budgets:\n  - {tenant: initech, most_usd: 5}\n";
    for (at, capacity, more, expected) in [
        (germany, "keep_for_tenant: {acme: 0.25}", "", None),
        (germany, "keep_for_tenant: {acme: 0.25}, tenant_share: {acme: 0.25}", "", None),
        (
            germany,
            "keep_for_tenant: {acme: 0.25}, tenant_share: {acme: 0.2}",
            "",
            Some("substrates[0].capacity.keep_for_tenant.acme: no more than its `tenant_share`"),
        ),
        (
            germany,
            "keep_for_tenant: {acne: 0.25}",
            "",
            Some(
                "substrates[0].capacity.keep_for_tenant.acne: a tenant that an envelope, a class or a budget names; did you mean `acme`?",
            ),
        ),
        // Another one that the policy knows, for whom the envelope of everybody speaks.
        (germany, "keep_for_tenant: {initech: 0.25}", budget, None),
        (
            provider,
            "keep_for_tenant: {acme: 0.25}",
            "",
            Some("substrates[2].capacity.keep_for_tenant.acme: a tenant that `eu-customers` lets onto this substrate"),
        ),
    ] {
        // The second is like the first, and keeps what it keeps.
        let mut told = told(at, capacity, more);
        told.retain(|said| !said.starts_with("substrates[1]"));
        assert_eq!(told, Vec::from_iter(expected), "{capacity}");
    }
    // No envelope at all lets initech onto it.
    let nobody = starter.replace("  - name: everyone\n", "  - name: everyone\n    applies_to: {tenants: [acme]}\n");
    let nobody = nobody.replace("{concurrency: 500}", "{concurrency: 500, keep_for_tenant: {initech: 0.1}}") + budget;
    let said = read_yaml(&nobody).unwrap().warnings;
    let said = said.iter().find(|w| w.code == "BTH0216").map(|w| w.expected.as_str());
    assert_eq!(said, Some("a tenant that an envelope lets onto this substrate"));
}

#[test]
fn a_worth_that_weighs_what_is_the_same_everywhere_is_told_where_it_was_written() {
    let starter = fs::read_to_string(root("policies/starter.yaml")).unwrap();
    let blind = "prior_failure: 0\nadaptive: {risk: false}\n";
    let strict = "selection: {margin: 0, margin_per_second: 0, affinity: 0}\n";
    let told = |worth: &str, settings: &str, quality: &str| {
        let class = format!("    deadline_ms: 8000\n    worth: {worth}");
        let text = starter.replacen("    deadline_ms: 8000", &class, 1).replacen("quality: 0.7", quality, 1) + settings;
        let warnings = read_yaml(&text).unwrap_or_else(|e| panic!("{e:?}")).warnings;
        warnings.iter().map(|w| format!("{} {}", w.code, w.path)).collect::<Vec<_>>()
    };
    let [failure, answer] = ["failure_usd", "answer_usd"].map(|term| format!("BTH0206 classes[0].worth.{term}"));
    for (worth, settings, quality, expected) in [
        ("{failure_usd: 1}", blind, "quality: 0.7", Some(&failure)),
        ("{answer_usd: 0, second_usd: 0, failure_usd: 1}", blind, "quality: 0.7", Some(&failure)),
        // Measured failures count; the prior widens the margin; it was not written; it was written away.
        ("{failure_usd: 1}", "prior_failure: 0\n", "quality: 0.7", None),
        ("{failure_usd: 1}", "adaptive: {risk: false}\n", "quality: 0.7", None),
        ("{second_usd: 1}", blind, "quality: 0.7", None),
        ("{failure_usd: 0}", blind, "quality: 0.7", None),
        ("{answer_usd: 1}", strict, "quality: 0.7", Some(&answer)),
        // One is better; an answer's worth says who is an equal, and what a session's place is worth.
        ("{answer_usd: 1}", strict, "quality: 0.8", None),
        ("{answer_usd: 1}", "selection: {margin: 0, margin_per_second: 0}\n", "quality: 0.7", None),
        ("{answer_usd: 1}", "selection: {margin_per_second: 0, affinity: 0}\n", "quality: 0.7", None),
        ("{answer_usd: 1}", "", "quality: 0.7", None),
    ] {
        let told = told(worth, settings, quality);
        assert_eq!(told.iter().collect::<Vec<_>>(), Vec::from_iter(expected), "{worth} {settings}");
    }
}

/// A policy of one substrate in each of four countries, with these classes and envelopes.
fn four_countries(classes: &str, envelopes: &str) -> String {
    let first = "  - name: in-de\n    kind: gpu\n    location: {jurisdiction: DE, region: eu, zone: de-1}\n    account: main\n    capabilities: {models: {m: {quality: 0.7}}, context_tokens: 32768}\n    cost: {regime: reserved, input_usd_per_mtok: 0.1, output_usd_per_mtok: 0.3}\n    capacity: {concurrency: 64}\n";
    let more: String = [("fr", "FR"), ("ie", "IE"), ("us", "US")]
        .map(|(name, country)| {
            format!("  - {{name: in-{name}, like: in-de, location: {{jurisdiction: {country}, region: r-{name}, zone: {name}-1}}}}\n")
        })
        .concat();
    format!(
        "berth: 1\npolicy: {{name: four, version: 1, owner: us}}\nsubstrates:\n{first}{more}classes:\n{classes}default_class: other\nenvelopes:\n{envelopes}"
    )
}

/// Classes by their conditions, and the default.
fn classes(conditions: &[(&str, &str)]) -> String {
    let class = |(name, matches): &(&str, &str)| {
        format!("  - {{name: {name}, match: {matches}, home: [in-de], deadline_ms: 9000}}\n")
    };
    let classes: String = conditions.iter().map(class).collect();
    classes + "  - {name: other, home: [in-de], deadline_ms: 9000}\n"
}

/// What is said of envelopes that leave nothing together.
fn nothing_together(text: &str) -> Vec<String> {
    let warnings = read_yaml(text).unwrap_or_else(|e| panic!("{e:?}")).warnings;
    let together = warnings.iter().filter(|w| w.code == "BTH0213");
    together.map(|w| format!("{}: {w}", w.at.unwrap())).collect()
}

#[test]
fn envelopes_that_leave_nothing_only_together_are_told_with_what_each_leaves() {
    let chat = classes(&[("chat", "{path_prefix: /v1/chat}")]);
    let text = four_countries(
        &chat,
        "  - {name: acme, applies_to: {tenants: [acme, globex]}, permit: {jurisdictions: [DE, IE]}}\n  - {name: personal, applies_to: {data: [personal]}, permit: {jurisdictions: [FR]}}\n",
    );
    let at = text.lines().position(|line| line.contains("name: personal")).unwrap() + 1;
    assert_eq!(
        nothing_together(&text),
        [format!(
            "{at}:5: BTH0213 nothing-together at envelopes[1]: found `acme with personal`, expected a substrate that both permit and that can run `chat`, `other`: `acme` leaves in-de (DE), in-ie (IE), `personal` leaves in-fr (FR)"
        )]
    );
}

#[test]
fn nothing_is_said_of_envelopes_that_no_request_brings_together() {
    let all = classes(&[("chat", "{path_prefix: /v1/chat}")]);
    let of = |condition: &str| classes(&[("chat", condition)]);
    let (acme, personal) = ("tenants: [acme]", "data: [personal]");
    for (what, classes, first, second, told) in [
        ("a tenant and a data class", all.clone(), acme, personal, true),
        ("anybody and a tenant", all.clone(), "", acme, true),
        ("lists that share a tenant", all.clone(), "tenants: [acme, b]", "tenants: [b, c]", true),
        ("two tenants", all.clone(), acme, "tenants: [globex]", false),
        ("two data classes", all.clone(), "data: [special], tenants: [a]", "data: [personal]", false),
        ("two regions", all.clone(), "regions: [a]", "regions: [b]", false),
        ("two classes", all.clone(), "classes: [chat]", "classes: [other]", false),
        ("a class of another tenant", of("{tenant: globex}"), "tenants: [acme], classes: [chat]", personal, false),
        ("a class of that tenant", of("{tenant: acme}"), "tenants: [acme], classes: [chat]", personal, true),
        ("a class of all but it", of("{not: {tenant: acme}}"), "tenants: [acme], classes: [chat]", personal, false),
        ("a class of all but another", of("{not: {tenant: b}}"), "tenants: [acme], classes: [chat]", personal, true),
        (
            "a class of any of others",
            of("{any: [{tenant: b}, {all: [{tenant: c}, {path_prefix: /}]}]}"),
            "tenants: [acme], classes: [chat]",
            personal,
            false,
        ),
        (
            "a class after one that takes the tenant",
            all.replace(
                "  - {name: chat",
                "  - {name: first, match: {tenant: acme}, home: [in-de], deadline_ms: 9000}\n  - {name: chat",
            ),
            "tenants: [acme], classes: [chat, other]",
            personal,
            false,
        ),
        (
            "a class after one that takes one of two tenants",
            all.replace(
                "  - {name: chat",
                "  - {name: first, match: {tenant: acme}, home: [in-de], deadline_ms: 9000}\n  - {name: chat",
            ),
            "tenants: [acme, globex], classes: [chat, other]",
            personal,
            true,
        ),
        ("a class named by a hint", of("{any: []}"), "tenants: [acme], classes: [chat]", personal, true),
    ] {
        let of = |name, asks, country| {
            format!("  - {{name: {name}, applies_to: {{{asks}}}, permit: {{jurisdictions: [{country}]}}}}\n")
        };
        let found = nothing_together(&four_countries(&classes, &(of("one", first, "DE") + &of("two", second, "FR"))));
        assert_eq!(found.len(), usize::from(told), "{what}: {found:?}");
    }
}

#[test]
fn what_one_envelope_leaves_empty_by_itself_is_told_once() {
    let chat = classes(&[]).replace("deadline_ms: 9000", "deadline_ms: 9000, needs: [embeddings]");
    let envelopes = "  - {name: one, permit: {jurisdictions: [DE]}}\n  - {name: two, permit: {jurisdictions: [FR]}}\n";
    let text = four_countries(&chat, envelopes);
    assert_eq!(nothing_together(&text), Vec::<String>::new());
    assert_eq!(read_yaml(&text).unwrap().warnings.iter().filter(|w| w.code == "BTH0201").count(), 2);
    // Three of which every two share a country: not looked for, and the page says so.
    let three = ["DE, FR", "FR, IE", "IE, DE"].iter().enumerate();
    let three =
        three.map(|(i, c)| format!("  - {{name: e{i}, permit: {{jurisdictions: [{c}]}}}}\n")).collect::<String>();
    assert_eq!(nothing_together(&four_countries(&classes(&[]), &three)), Vec::<String>::new());
}

#[test]
fn a_thousand_pairs_are_counted_and_sixteen_are_told() {
    let of = |kind: &str, i: usize, country: &str| {
        format!("  - {{name: {kind}-{i}, applies_to: {{{kind}: [v{i}]}}, permit: {{jurisdictions: [{country}]}}}}\n")
    };
    let envelopes: String = (0..32).map(|i| of("tenants", i, "DE") + &of("data", i, "FR")).collect();
    let many: Vec<String> = (0..63).map(|i| format!("c{i}")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|name| (name.as_str(), "{path_prefix: /v1}")).collect();
    let told = nothing_together(&four_countries(&classes(&many), &envelopes));
    assert_eq!(told.len(), 17);
    assert!(told.iter().any(|t| t.contains("found `1008 more pairs`")), "{told:#?}");
    assert!(told.iter().any(|t| t.contains("`c0`, `c1`, `c2`, `c3` and 60 more")), "{told:#?}");
}

#[test]
fn check_says_where_each_class_may_run_and_where_nothing_of_it_may() {
    let text = four_countries(
        &classes(&[("chat", "{path_prefix: /v1/chat}")]),
        "  - {name: anybody, permit: {jurisdictions: [DE, FR, US]}}\n  - {name: chats, applies_to: {classes: [chat]}, permit: {jurisdictions: [DE]}}\n  - {name: acme, applies_to: {tenants: [acme]}, permit: {jurisdictions: [DE, IE]}}\n",
    );
    let document =
        read_yaml(&text.replace("substrates:\n", "jurisdictions: {EU: [DE, FR, IE]}\nsubstrates:\n")).unwrap().document;
    let said: Vec<String> = berth::policy::lint::reach(&document)
        .iter()
        .map(|r| format!("{}: {} / {}", r.class, r.within.join(" "), r.nowhere.join(" ")))
        .collect();
    assert_eq!(said, ["chat: DE EU / FR IE US", "other: DE EU FR US / IE"]);
    // Without an envelope for everybody, whatever one permits.
    let some = text.replace("{name: anybody,", "{name: anybody, applies_to: {data: [open]},").replace(
        "{name: chats, applies_to: {classes: [chat]}",
        "{name: chats, applies_to: {classes: [chat], data: [closed]}",
    );
    let reach = berth::policy::lint::reach(&read_yaml(&some).unwrap().document);
    assert_eq!(reach[0].within, ["DE", "FR", "IE", "US"]);
}

#[test]
fn a_template_gives_what_is_not_written_and_nothing_of_its_own() {
    let starter = read_yaml(&fs::read_to_string(root("policies/starter.yaml")).unwrap()).unwrap().document;
    let (de, fr) = (&starter.substrates[0], &starter.substrates[1]);
    assert_eq!((fr.kind, &fr.capabilities, &fr.capacity), (de.kind, &de.capabilities, &de.capacity));
    assert_eq!((fr.name.as_str(), fr.cluster.as_str()), ("gpu-fr", "gpu-fr"));
    assert_eq!(fr.location.zone.as_str(), "par-1");
    assert_eq!((de.cost.input_pusd_per_token, fr.cost.input_pusd_per_token), (100_000, 300_000));
}

#[test]
fn templates_cannot_make_a_small_document_large() {
    let labels: String = (0..20_000).map(|i| format!("\"k{i}\":\"{i}\",")).collect();
    let likes: String = (0..3_000).map(|i| format!(",{{\"name\":\"s{i}\",\"like\":\"base\"}}")).collect();
    let text = format!(
        "{{\"berth\":1,\"substrates\":[{{\"name\":\"base\",\"labels\":{{{}}}}}{likes}]}}",
        labels.trim_end_matches(',')
    );
    let errors = read_json(text.as_bytes()).unwrap_err();
    assert!(errors.iter().any(|e| e.code == "BTH0001" && e.expected.contains("16 MiB")));
}

#[test]
fn a_policy_over_4_mib_is_refused_with_the_limit_named() {
    let errors = read_json(&vec![b' '; 4 * 1024 * 1024 + 1]).unwrap_err();
    assert!(errors[0].expected.contains("4 MiB"));
    let errors = read_yaml(&" ".repeat(4 * 1024 * 1024 + 1)).unwrap_err();
    assert!(errors[0].expected.contains("4 MiB"));
}
