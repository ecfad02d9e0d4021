//! `berth snapshot`, as a person uses it.

use crate::codec::sample;
use berth::health::{codec, json};
use berth::model::Snapshot;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn berth(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_berth")).arg("snapshot").args(args).output().unwrap()
}

fn file(name: &str, bytes: &[u8]) -> String {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, bytes).unwrap();
    path.to_str().unwrap().to_string()
}

fn is_golden(name: &str, text: &[u8]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/snapshot").join(name);
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    assert_eq!(String::from_utf8_lossy(text), std::fs::read_to_string(path).unwrap());
}

#[test]
fn a_snapshot_is_printed_for_people() {
    let seen = berth(&[&file("printed.bin", &codec::encode(&sample()))]);
    assert_eq!(seen.status.code(), Some(0));
    is_golden("snapshot.txt", &seen.stdout);
}

#[test]
fn bytes_become_json_and_json_becomes_the_same_bytes() {
    let bytes = codec::encode(&sample());
    let as_json = berth(&[&file("there.bin", &bytes), "--format", "json"]).stdout;
    is_golden("snapshot.json", &as_json);
    assert_eq!(json::read(&as_json), Ok(sample()));
    let back = file("back.bin", b"");
    let seen = berth(&[&file("back.json", &as_json), "--format", "bytes", "--output", &back]);
    assert_eq!(seen.status.code(), Some(0));
    assert_eq!(std::fs::read(back).unwrap(), bytes);
}

#[test]
fn what_stands_beside_a_snapshot_is_printed_and_kept_and_only_bytes_leave_it_out() {
    let mut shown: Value = serde_json::from_str(&json::write(&sample())).unwrap();
    let at_ms = sample().at_ms;
    shown["rollout"] = json!({"rollout": "current", "generation": 2, "at_ms": at_ms - 9,
        "recalled": {"candidate": "9f2c41ab", "at_ms": at_ms - 7, "why": "class=chat failure_ppm=300000 current=0"}});
    let as_shown = file("beside.json", shown.to_string().as_bytes());
    let text = String::from_utf8(berth(&[&as_shown]).stdout).unwrap();
    let line = "rollout current, thrown 2 times, last 9 ms ago; candidate 9f2c41ab was called back 7 ms ago: \
                class=chat failure_ppm=300000 current=0\n";
    assert!(text.contains(line), "{text}");
    let again: Value = serde_json::from_slice(&berth(&[&as_shown, "--format", "json"]).stdout).unwrap();
    assert_eq!(again, shown);
    let seen = berth(&[&as_shown, "--format", "bytes"]);
    assert_eq!(seen.stdout, codec::encode(&sample()));
    assert!(String::from_utf8_lossy(&seen.stderr).contains("`rollout` is left out"));
    shown["rollout"]["recalled"]["when"] = json!(1);
    let seen = berth(&[&file("beside.json", shown.to_string().as_bytes())]);
    assert_eq!(seen.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&seen.stderr).contains("unknown field `when`"));
}

#[test]
fn what_is_no_snapshot_is_refused_with_the_reason() {
    let mut damaged = codec::encode(&sample());
    *damaged.last_mut().unwrap() ^= 1;
    let text = json::write(&sample());
    let changed = |change: &dyn Fn(&mut Snapshot)| {
        let mut snapshot = sample();
        change(&mut snapshot);
        snapshot
    };
    let twice = changed(&|snapshot| snapshot.substrates[1].name = snapshot.substrates[0].name.clone());
    let late = changed(&|snapshot| snapshot.substrates[0].since_ms = Some(u64::MAX));
    let whole = changed(&|snapshot| snapshot.substrates[0].share_ppm = 4_000_000);
    let nameless = changed(&|snapshot| snapshot.substrates[0].name.clear());
    let cases: [(Vec<u8>, &str); 12] = [
        (codec::encode(&twice), "twice, expected each once"),
        (json::write(&twice).into_bytes(), "twice, expected each once"),
        (json::write(&late).into_bytes(), "a day after the snapshot's own"),
        (codec::encode(&whole), "share_ppm: found 4000000, expected 0 to 1000000"),
        (json::write(&nameless).into_bytes(), "found ``, expected the name of a substrate"),
        (damaged, "the checksum does not match"),
        (b"hello".to_vec(), "do not begin as a snapshot"),
        (codec::encode(&sample())[..20].to_vec(), "end before they are complete"),
        (text.replace("queue_depth", "wombats").into_bytes(), "`wombats` is no signal"),
        (text.replace("\"value\": 7", "\"value\": -7").into_bytes(), "queue_depth: found -7, expected 0 to"),
        (text.replace("\"FR\"", "\"Atlantis\"").into_bytes(), "found `Atlantis`"),
        (text.replace("epoch", "epock").into_bytes(), "unknown field `epock`"),
    ];
    for (at, (bytes, why)) in cases.iter().enumerate() {
        let seen = berth(&[&file(&format!("bad-{at}"), bytes)]);
        let said = String::from_utf8_lossy(&seen.stderr).into_owned();
        assert_eq!(seen.status.code(), Some(1), "{said}");
        assert!(said.contains(why), "{said} does not say {why}");
    }
    assert_eq!(berth(&["/does/not/exist"]).status.code(), Some(2));
}
