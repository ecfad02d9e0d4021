//! The images of the module: every digest holds, both formats give the module back, and other people's tools agree.

#![cfg(not(target_family = "wasm"))]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

use berth::manifest::oci::{File, Format, hex, layout};
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

fn manifest(dir: &Path) -> Value {
    let index: Value = serde_json::from_slice(&fs::read(dir.join("index.json")).unwrap()).unwrap();
    serde_json::from_slice(&blob(dir, &index["manifests"][0])).unwrap()
}

fn run(program: &str, arguments: &[&str], dir: &Path) -> Vec<u8> {
    let ran = Command::new(program).args(arguments).current_dir(dir).stdin(Stdio::null()).output().unwrap();
    assert!(ran.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&ran.stderr));
    ran.stdout
}

#[test]
fn a_container_image_holds_the_module_for_gzip_and_tar() {
    let dir = folder("container", &layout(&module(), "1.2.3", Format::Container));
    let manifest = manifest(&dir);
    assert_eq!(manifest["layers"].as_array().unwrap().len(), 1, "readers take the module from the only layer");
    fs::write(dir.join("layer.tar.gz"), blob(&dir, &manifest["layers"][0])).unwrap();
    let tar = run("gzip", &["-dc", "layer.tar.gz"], &dir);
    let config: Value = serde_json::from_slice(&blob(&dir, &manifest["config"])).unwrap();
    assert_eq!(config["rootfs"]["diff_ids"][0], format!("sha256:{}", hex(&tar)));
    assert_eq!(run("tar", &["-tzf", "layer.tar.gz"], &dir), b"plugin.wasm\n");
    assert_eq!(run("tar", &["-xzOf", "layer.tar.gz", "plugin.wasm"], &dir), module());
}

#[test]
fn an_artifact_s_layer_is_the_module() {
    let dir = folder("artifact", &layout(&module(), "1.2.3", Format::Artifact));
    let manifest = manifest(&dir);
    assert_eq!(manifest["config"]["mediaType"], "application/vnd.module.wasm.config.v1+json");
    assert_eq!(manifest["layers"][0]["mediaType"], "application/vnd.module.wasm.content.layer.v1+wasm");
    assert_eq!(blob(&dir, &manifest["layers"][0]), module());
}

#[test]
fn the_same_module_gives_the_same_bytes() {
    for format in [Format::Container, Format::Artifact] {
        assert_eq!(layout(&module(), "1.2.3", format), layout(&module(), "1.2.3", format));
        assert_ne!(layout(&module(), "1.2.3", format), layout(&module()[1..], "1.2.3", format));
    }
}
