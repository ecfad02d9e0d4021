//! The policy as its authors meet it: whole documents, whole answers.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

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
    same_as_golden(&root("policies/README.md"), &berth::policy::reference::reference());
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
        policy::{json, narrow::narrow, permits},
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
}
