//! The images of the module: every digest holds, both formats give the module back, and other people's tools agree.

#![cfg(not(target_family = "wasm"))]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

use berth::manifest::oci::{File, Format, digest, hex, layout};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

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
