//! Images of the module as folders, in the two formats that meshes and gateways accept: a container image with one file,
//! for each platform, so that nodes mount it too; and an artifact of two layers, the module and what kind it is. No
//! registry and no clock take part: the same module gives the same bytes.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;

/// A file of an image, by its path in the image's folder.
pub type File = (String, Vec<u8>);

/// Which format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A container image that holds `plugin.wasm`.
    Container,
    /// An artifact of WebAssembly.
    Artifact,
}

/// The name by which both formats' readers know the module.
const PLUGIN: &str = "plugin.wasm";

/// The platforms of the container image. The file is the same on all; but a node takes only an image of its own platform.
const PLATFORMS: [&str; 2] = ["amd64", "arm64"];

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const ARTIFACT_CONFIG: &str = "application/vnd.module.wasm.config.v1+json";

/// The image's folder.
#[must_use]
pub fn layout(module: &[u8], version: &str, format: Format) -> Vec<File> {
    let mut files = Files(vec![(String::from("oci-layout"), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec())]);
    let entry = match format {
        Format::Container => container(&mut files, module, version),
        Format::Artifact => artifact(&mut files, module, version),
    };
    let entry = with(entry, "annotations", json!({"org.opencontainers.image.ref.name": version}));
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]});
    files.0.push((String::from("index.json"), index.to_string().into_bytes()));
    files.0
}

/// The digest by which a registry knows the image: that of its manifest or index, the last blob written.
#[must_use]
pub fn digest(image: &[File]) -> String {
    image.iter().rev().find(|(path, _)| path.starts_with("blobs/")).map_or_else(String::new, |(_, bytes)| hex(bytes))
}

/// The files so far.
struct Files(Vec<File>);

impl Files {
    /// Adds a blob; gives what describes it.
    fn blob(&mut self, media: &str, bytes: Vec<u8>) -> Value {
        let digest = hex(&bytes);
        let descriptor = json!({"mediaType": media, "digest": format!("sha256:{digest}"), "size": bytes.len()});
        self.0.push((format!("blobs/sha256/{digest}"), bytes));
        descriptor
    }

    fn manifest(&mut self, version: &str, config: &Value, layers: &[Value]) -> Value {
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers,
            "annotations": annotations(version)});
        self.blob(MANIFEST, manifest.to_string().into_bytes())
    }
}

fn container(files: &mut Files, module: &[u8], version: &str) -> Value {
    let tar = archive(PLUGIN, module);
    let layer = files.blob("application/vnd.oci.image.layer.v1.tar+gzip", gzip(&tar));
    let history = json!([{"created": EPOCH, "created_by": format!("COPY {PLUGIN} /")}]);
    let manifests = PLATFORMS.map(|architecture| {
        let config = json!({"created": EPOCH, "architecture": architecture, "os": "linux", "config": {},
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", hex(&tar))]}, "history": history});
        let config = files.blob("application/vnd.oci.image.config.v1+json", config.to_string().into_bytes());
        let manifest = files.manifest(version, &config, std::slice::from_ref(&layer));
        with(manifest, "platform", json!({"architecture": architecture, "os": "linux"}))
    });
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests,
        "annotations": annotations(version)});
    files.blob(INDEX, index.to_string().into_bytes())
}

/// Its readers want two layers, in any order, and take the module by its type.
fn artifact(files: &mut Files, module: &[u8], version: &str) -> Value {
    let kind = json!({"type": "envoy_proxy", "abiVersions": ["v0.2.1"], "config": {"rootIds": []}});
    let kind = files.blob(ARTIFACT_CONFIG, kind.to_string().into_bytes());
    let title = |layer, name| with(layer, "annotations", json!({"org.opencontainers.image.title": name}));
    let module = files.blob("application/vnd.module.wasm.content.layer.v1+wasm", module.to_vec());
    let layers = [title(kind.clone(), "runtime-config.json"), title(module, PLUGIN)];
    files.manifest(version, &kind, &layers)
}

fn annotations(version: &str) -> Value {
    json!({"org.opencontainers.image.title": "berth", "org.opencontainers.image.version": version,
        "org.opencontainers.image.licenses": "Apache-2.0"})
}

fn with(mut object: Value, key: &str, value: Value) -> Value {
    if let Value::Object(fields) = &mut object {
        fields.insert(key.into(), value);
    }
    object
}

/// When everything was made, as far as an image says.
const EPOCH: &str = "1970-01-01T00:00:00Z";

/// The digest of bytes, in hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// An archive (ustar) of one file that everybody may read.
fn archive(name: &str, content: &[u8]) -> Vec<u8> {
    let mut head = Vec::with_capacity(512);
    let mut field = |text: String, width: usize| {
        let mut bytes = text.into_bytes();
        bytes.resize(width, 0);
        head.extend(bytes);
    };
    field(name.to_owned(), 100);
    for (octal, width) in [(0o644, 8), (0, 8), (0, 8)] {
        field(format!("{octal:07o}"), width);
    }
    field(format!("{:011o}", content.len()), 12);
    field(format!("{:011o}", 0), 12);
    // The sum counts itself as spaces.
    field(" ".repeat(8), 8);
    field(String::from("0"), 1);
    field(String::new(), 100);
    field(String::from("ustar"), 6);
    field(String::from("00"), 2);
    field(String::new(), 64);
    for _ in 0..2 {
        field(format!("{:07o}", 0), 8);
    }
    field(String::new(), 167);
    let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
    let sum = format!("{sum:06o}\0 ");
    let mut out: Vec<u8> = head.iter().enumerate().map(|(i, byte)| sum_at(i, &sum).unwrap_or(*byte)).collect();
    out.extend_from_slice(content);
    // Whole blocks, then two empty ones.
    out.resize(out.len().next_multiple_of(512) + 1024, 0);
    out
}

const SUM: usize = 148;

fn sum_at(i: usize, sum: &str) -> Option<u8> {
    sum.as_bytes().get(i.checked_sub(SUM)?).copied()
}

/// The format without its compression: stored blocks. Modules hardly shrink, and every machine makes the same bytes.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let mut blocks = bytes.chunks(0xffff).peekable();
    while let Some(block) = blocks.next() {
        let size = u16::try_from(block.len()).unwrap_or(u16::MAX);
        out.push(u8::from(blocks.peek().is_none()));
        out.extend(size.to_le_bytes());
        out.extend((!size).to_le_bytes());
        out.extend_from_slice(block);
    }
    out.extend(crc32fast::hash(bytes).to_le_bytes());
    out.extend(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
    out
}
