//! The images of the module: every digest holds, both formats give the module back, and other people's tools agree. And
//! what `make oci` writes of the built modules: images, checksums, the bill of materials.

#![cfg(not(target_family = "wasm"))]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

use berth::manifest::oci::{File, Format, digest, hex, layout};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

fn module() -> Vec<u8> {
    // Longer than a block of the archive, than a stored block, and odd.
    (0..200_003_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

fn folder(name: &str, files: &[File]) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("image-{name}-{}", std::process::id()));
    for (path, bytes) in files {
        fs::create_dir_all(dir.join(path).parent().unwrap()).unwrap();
        fs::write(dir.join(path), bytes).unwrap();
    }
    dir
}

/// The blob that a descriptor speaks of; its digest and its size hold.
fn blob(dir: &Path, descriptor: &Value) -> Vec<u8> {
    let digest = descriptor["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
    let bytes = fs::read(dir.join("blobs/sha256").join(digest)).unwrap();
    assert_eq!(hex(&bytes), digest);
    assert_eq!(descriptor["size"].as_u64().unwrap(), bytes.len() as u64);
    bytes
}

fn index(dir: &Path) -> Value {
    serde_json::from_slice(&fs::read(dir.join("index.json")).unwrap()).unwrap()
}

/// The manifest that somebody on this platform gets, by the rules of containers: of an index the one of the platform;
/// of a single manifest its configuration must be of the platform.
fn of_platform(dir: &Path, architecture: &str) -> Value {
    let platform = serde_json::json!({"architecture": architecture, "os": "linux"});
    let entry = &index(dir)["manifests"][0];
    assert_eq!(entry["mediaType"], "application/vnd.oci.image.index.v1+json");
    let inner: Value = serde_json::from_slice(&blob(dir, entry)).unwrap();
    let fits: Vec<_> = inner["manifests"].as_array().unwrap().iter().filter(|m| m["platform"] == platform).collect();
    let [one] = fits[..] else { panic!("{architecture}: {inner}") };
    let manifest: Value = serde_json::from_slice(&blob(dir, one)).unwrap();
    let config: Value = serde_json::from_slice(&blob(dir, &manifest["config"])).unwrap();
    assert_eq!((&config["architecture"], &config["os"]), (&platform["architecture"], &platform["os"]));
    manifest
}

fn run(program: &str, arguments: &[&str], dir: &Path) -> Vec<u8> {
    let ran = Command::new(program).args(arguments).current_dir(dir).stdin(Stdio::null()).output().unwrap();
    assert!(ran.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&ran.stderr));
    ran.stdout
}

#[test]
fn a_container_image_holds_the_module_for_gzip_and_tar_on_every_platform() {
    let dir = folder("container", &layout(&module(), "1.2.3", Format::Container));
    for architecture in ["amd64", "arm64"] {
        let manifest = of_platform(&dir, architecture);
        let layers = manifest["layers"].as_array().unwrap();
        assert_eq!(layers.len(), 1, "readers take the module from the only layer");
        assert_eq!(layers[0]["mediaType"], "application/vnd.oci.image.layer.v1.tar+gzip", "and want this type");
        fs::write(dir.join("layer.tar.gz"), blob(&dir, &layers[0])).unwrap();
        let tar = run("gzip", &["-dc", "layer.tar.gz"], &dir);
        let config: Value = serde_json::from_slice(&blob(&dir, &manifest["config"])).unwrap();
        assert_eq!(config["rootfs"]["diff_ids"], serde_json::json!([format!("sha256:{}", hex(&tar))]));
        assert_eq!(run("tar", &["-tzf", "layer.tar.gz"], &dir), b"plugin.wasm\n");
        assert_eq!(run("tar", &["-xzOf", "layer.tar.gz", "plugin.wasm"], &dir), module());
    }
}

#[test]
fn an_artifact_has_two_layers_and_one_is_the_module() {
    const MODULE: &str = "application/vnd.module.wasm.content.layer.v1+wasm";
    const KIND: &str = "application/vnd.module.wasm.config.v1+json";
    let dir = folder("artifact", &layout(&module(), "1.2.3", Format::Artifact));
    let manifest: Value = serde_json::from_slice(&blob(&dir, &index(&dir)["manifests"][0])).unwrap();
    assert_eq!(manifest["config"]["mediaType"], KIND);
    // Meshes refuse an artifact of any other number of layers, and take the first of the module's type.
    let layers = manifest["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 2);
    let of = |kind: &str| {
        let layers: Vec<_> = layers.iter().filter(|layer| layer["mediaType"] == kind).collect();
        assert_eq!(layers.len(), 1, "{kind}");
        blob(&dir, layers[0])
    };
    assert_eq!(of(MODULE), module());
    let kind: Value = serde_json::from_slice(&of(KIND)).unwrap();
    assert_eq!(kind["type"], "envoy_proxy");
}

#[test]
fn the_same_module_gives_the_same_bytes() {
    for format in [Format::Container, Format::Artifact] {
        let image = layout(&module(), "1.2.3", format);
        let index: Value = serde_json::from_slice(&image.last().unwrap().1).unwrap();
        assert_eq!(index["manifests"][0]["digest"], format!("sha256:{}", digest(&image)));
        assert_eq!(layout(&module(), "1.2.3", format), layout(&module(), "1.2.3", format));
        assert_ne!(layout(&module(), "1.2.3", format), layout(&module()[1..], "1.2.3", format));
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What `make oci` writes, of the modules that are there: it is run as it stands, but for building them anew, since other
/// tests read them. Once for all tests, with what it printed.
fn shipped() -> &'static (PathBuf, String) {
    static SHIPPED: OnceLock<(PathBuf, String)> = OnceLock::new();
    SHIPPED.get_or_init(|| {
        let dist = root().join("dist");
        for module in ["berth.wasm", "berth-placement.wasm"] {
            assert!(dist.join(module).is_file(), "there is no dist/{module}: `make wasm` builds it");
        }
        let mut make = Command::new("make");
        // Not those of a make that this test was started by.
        make.args(["-o", "wasm", "oci"]).env_remove("MAKEFLAGS").env_remove("MAKELEVEL").env_remove("MFLAGS");
        let ran = make.current_dir(root()).stdin(Stdio::null()).output().unwrap();
        assert!(ran.status.success(), "make oci: {}", String::from_utf8_lossy(&ran.stderr));
        (dist, String::from_utf8(ran.stdout).unwrap())
    })
}

/// Every descriptor from the index on, and that nothing lies beside what they speak of.
fn walk(dir: &Path) -> usize {
    let layout: Value = serde_json::from_slice(&fs::read(dir.join("oci-layout")).unwrap()).unwrap();
    assert_eq!(layout, serde_json::json!({"imageLayoutVersion": "1.0.0"}));
    let (mut met, mut rest) = (BTreeSet::new(), vec![index(dir)]);
    while let Some(document) = rest.pop() {
        assert_eq!(document["schemaVersion"], 2, "{document}");
        let lists = ["manifests", "layers"].into_iter().filter_map(|list| document[list].as_array());
        for descriptor in lists.flatten().chain(document.get("config")) {
            let kind = descriptor["mediaType"].as_str().unwrap();
            let bytes = blob(dir, descriptor);
            if kind.ends_with(".index.v1+json") || kind.ends_with(".manifest.v1+json") {
                rest.push(serde_json::from_slice(&bytes).unwrap());
            }
            met.insert(descriptor["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap().to_string());
        }
    }
    let there = fs::read_dir(dir.join("blobs/sha256")).unwrap();
    let there: BTreeSet<String> = there.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(met, there, "{}", dir.display());
    there.len()
}

#[test]
fn make_oci_writes_both_images_of_both_modules_and_says_their_digests() {
    let (dist, said) = shipped();
    for name in ["berth", "berth-placement"] {
        let built = fs::read(dist.join(format!("{name}.wasm"))).unwrap();
        for format in ["container", "artifact"] {
            let dir = dist.join("oci").join(name).join(format);
            assert!(walk(&dir) >= 3, "{}", dir.display());
            let top = &index(&dir)["manifests"][0];
            let line = format!("dist/oci/{name}/{format}  {}", top["digest"].as_str().unwrap());
            assert!(said.lines().any(|l| l == line), "{line} is not in\n{said}");
        }
        let container = dist.join("oci").join(name).join("container");
        let layer = blob(&container, &of_platform(&container, "amd64")["layers"][0]);
        let unpack = folder(&format!("shipped-{name}"), &[(String::from("layer.tar.gz"), layer)]);
        assert!(
            run("tar", &["-xzOf", "layer.tar.gz", "plugin.wasm"], &unpack) == built,
            "{name} is not what was built"
        );
        let artifact = dist.join("oci").join(name).join("artifact");
        let manifest: Value = serde_json::from_slice(&blob(&artifact, &index(&artifact)["manifests"][0])).unwrap();
        let layers = manifest["layers"].as_array().unwrap().iter();
        assert!(layers.map(|layer| blob(&artifact, layer)).any(|bytes| bytes == built), "{name}");
    }
}

#[test]
fn the_checksums_hold_and_notice_a_changed_byte() {
    const FILES: [&str; 3] = ["berth.wasm", "berth-placement.wasm", "berth.cdx.json"];
    let (dist, _) = shipped();
    let sums = fs::read_to_string(dist.join("SHA256SUMS")).unwrap();
    assert_eq!(sums.lines().map(|line| line.split("  ").last().unwrap()).collect::<Vec<_>>(), FILES);
    let here = |change: &str| {
        let read = |name: &str| (String::from(name), fs::read(dist.join(name)).unwrap());
        let mut files: Vec<File> = ["SHA256SUMS"].into_iter().chain(FILES).map(read).collect();
        if let Some((_, bytes)) = files.iter_mut().find(|(name, _)| name == change) {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
        }
        let dir = folder(&format!("sums-{change}"), &files);
        let checked = Command::new("sha256sum").args(["-c", "SHA256SUMS"]).current_dir(dir).output().unwrap();
        checked.status.success()
    };
    assert!(here("nothing"));
    assert_eq!(FILES.map(here), [false; 3]);
}

/// The crates that Cargo links for the module, by name and version, as its own tree shows them.
fn tree(more: &[&str]) -> BTreeSet<(String, String)> {
    let arguments =
        ["tree", "--locked", "--target", "wasm32-wasip1", "-e", "normal", "--prefix", "none", "--no-dedupe"];
    let listed = run(env!("CARGO"), &[&arguments, more].concat(), root());
    let listed = String::from_utf8(listed).unwrap();
    let mut all = BTreeSet::new();
    for mut line in listed.lines().map(|line| line.split(' ')) {
        let (name, version) = (line.next().unwrap(), line.next().unwrap());
        all.insert((name.to_string(), version.strip_prefix('v').unwrap().to_string()));
    }
    all.retain(|(name, _)| name != "berth");
    all
}

/// What the lock file says of each: the digest of what was downloaded.
fn locked() -> BTreeMap<(String, String), String> {
    let text = fs::read_to_string(root().join("Cargo.lock")).unwrap();
    let field = |package: &str, name: &str| {
        let value = package.lines().find_map(|line| line.strip_prefix(&format!("{name} = \"")));
        value.map(|value| value.trim_end_matches('"').to_string())
    };
    let packages = text.split("[[package]]").skip(1);
    packages.filter_map(|p| Some(((field(p, "name")?, field(p, "version")?), field(p, "checksum")?))).collect()
}

#[test]
fn the_bill_of_materials_has_every_crate_of_the_module_with_its_digest_and_no_other() {
    let (dist, _) = shipped();
    let bom: Value = serde_json::from_slice(&fs::read(dist.join("berth.cdx.json")).unwrap()).unwrap();
    assert_eq!(
        (&bom["bomFormat"], &bom["specVersion"], &bom["version"]),
        (&"CycloneDX".into(), &"1.5".into(), &1.into())
    );
    let subject = &bom["metadata"]["component"];
    assert_eq!((&subject["name"], &subject["version"]), (&"berth".into(), &env!("CARGO_PKG_VERSION").into()));
    assert_eq!(subject["type"], "application");
    let tools = bom["metadata"]["tools"]["components"].as_array().unwrap();
    let tools: Vec<_> =
        tools.iter().map(|tool| (tool["name"].as_str().unwrap(), tool["version"].as_str().unwrap())).collect();
    let numbered = |version: &str| version.starts_with(|c: char| c.is_ascii_digit());
    assert!(tools.first().is_some_and(|(name, version)| *name == "rustc" && numbered(version)), "{tools:?}");
    assert!(tools.iter().skip(1).all(|(name, version)| *name == "wasm-opt" && numbered(version)), "{tools:?}");
    let (mut told, locked) = (BTreeSet::new(), locked());
    for component in bom["components"].as_array().unwrap() {
        let text =
            |field: &str| component[field].as_str().unwrap_or_else(|| panic!("{field} of {component}")).to_string();
        let key = (text("name"), text("version"));
        assert_eq!((text("type"), text("purl")), ("library".into(), format!("pkg:cargo/{}@{}", key.0, key.1)));
        assert!(component["licenses"][0]["expression"].as_str().is_some_and(|said| !said.is_empty()), "{component}");
        let digest = component["hashes"][0]["content"].as_str().map(String::from);
        assert_eq!(digest, locked.get(&key).cloned(), "{component}");
        assert_eq!(digest.is_none(), key.0 == "berth-cold", "only what lies in this repository has none: {component}");
        if digest.is_some() {
            assert_eq!(component["hashes"][0]["alg"], "SHA-256");
        }
        assert!(told.insert(key), "{component} twice");
    }
    assert_eq!(told, tree(&[]));
    assert!(told.len() > 15 && told.is_superset(&tree(&["--no-default-features"])), "the small module has no other");
}

fn berth(arguments: &[&str], input: &str) -> Output {
    let mut tool = Command::new(env!("CARGO_BIN_EXE_berth"));
    let pipes = tool.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pipes.spawn().unwrap();
    // Whoever does not read it has ended.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// What Cargo says of a package that needs no other.
const ROOT: &str =
    r#"{"resolve": {"root": "a", "nodes": []}, "packages": [{"id": "a", "name": "a", "version": "1.0.0"}]}"#;

#[test]
fn what_cannot_be_packed_or_listed_is_named() {
    for (arguments, input, said) in [
        (&["pack", "no-such.wasm", "-o", "nowhere"][..], "", "no-such.wasm: "),
        (&["bom"][..], "no json", "standard input: found"),
        (&["bom"][..], "{}", "cargo metadata: found no root package"),
        (&["bom", "no-such.lock"][..], "{}", "no-such.lock: "),
        (&["bom", "--made-with", "rustc"][..], ROOT, "`rustc`: expected a tool and its version"),
    ] {
        let ran = berth(arguments, input);
        let error = String::from_utf8(ran.stderr).unwrap();
        assert_eq!((ran.status.code(), error.contains(said)), (Some(2), true), "{arguments:?}: {error}");
        assert!(ran.stdout.is_empty(), "nothing is written that could be taken for a document");
    }
}
