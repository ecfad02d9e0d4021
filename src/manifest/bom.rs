//! What a module is made of, as a CycloneDX document: every crate that is linked into it, with version, licence and the
//! digest by which the lock file knows it; and what made the module of them, as its bytes depend on that too. Made of
//! what Cargo says of the build.

use serde_json::{Value, json};
use std::collections::BTreeSet;

/// The document, of `cargo metadata` for the module's target, of `Cargo.lock`, and of what made the module: a line for
/// each tool, its name and its version.
///
/// # Errors
/// What Cargo did not say.
pub fn of(metadata: &Value, lock: &str, made_with: &str) -> Result<Value, String> {
    let root =
        metadata.pointer("/resolve/root").and_then(Value::as_str).ok_or("cargo metadata: found no root package")?;
    let linked = linked(metadata, root);
    let packages = metadata.get("packages").and_then(Value::as_array).ok_or("cargo metadata: found no packages")?;
    let id = |package: &Value| package.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
    let subject = packages.iter().find(|package| id(package) == root).ok_or("cargo metadata: found no root package")?;
    let mut components: Vec<Value> = packages
        .iter()
        .filter(|package| id(package) != root && linked.contains(id(package).as_str()))
        .map(|package| component(package, lock))
        .collect();
    components.sort_by_key(|component| component.get("purl").map(ToString::to_string));
    Ok(json!({
        "bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
        "metadata": {"component": {
            "type": "application", "name": text(subject, "name"), "version": text(subject, "version"),
            "licenses": [{"expression": text(subject, "license")}],
        }, "tools": {"components": tools(made_with)?}},
        "components": components,
    }))
}

fn tools(made_with: &str) -> Result<Vec<Value>, String> {
    let tool = |line: &str| {
        let (name, version) =
            line.split_once(' ').ok_or_else(|| format!("`{line}`: expected a tool and its version"))?;
        Ok(json!({"type": "application", "name": name, "version": version}))
    };
    made_with.lines().map(str::trim).filter(|line| !line.is_empty()).map(tool).collect()
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// The packages that are linked: what the root needs, and what that needs, without what only builds or tests need.
fn linked<'a>(metadata: &'a Value, root: &'a str) -> BTreeSet<&'a str> {
    let nodes = metadata.pointer("/resolve/nodes").and_then(Value::as_array);
    let node = |id: &str| nodes?.iter().find(|node| text(node, "id") == id);
    let (mut found, mut rest) = (BTreeSet::new(), vec![root]);
    while let Some(id) = rest.pop() {
        if !found.insert(id) {
            continue;
        }
        let dependencies = node(id).and_then(|node| node.get("deps")?.as_array()).into_iter().flatten();
        let normal = |dependency: &&Value| {
            let kinds = dependency.get("dep_kinds").and_then(Value::as_array).into_iter().flatten();
            kinds.into_iter().any(|kind| kind.get("kind").is_none_or(Value::is_null))
        };
        rest.extend(dependencies.filter(normal).map(|dependency| text(dependency, "pkg")));
    }
    found
}

fn component(package: &Value, lock: &str) -> Value {
    let (name, version) = (text(package, "name"), text(package, "version"));
    let mut component = json!({
        "type": "library", "name": name, "version": version, "purl": format!("pkg:cargo/{name}@{version}"),
        "licenses": [{"expression": text(package, "license")}],
    });
    let entry = format!("name = \"{name}\"\nversion = \"{version}\"\n");
    let digest = lock
        .split("[[package]]\n")
        .find(|package| package.starts_with(&entry))
        .and_then(|package| package.lines().find_map(|line| line.strip_prefix("checksum = \"")?.strip_suffix('"')));
    if let (Some(digest), Value::Object(component)) = (digest, &mut component) {
        component.insert("hashes".into(), json!([{"alg": "SHA-256", "content": digest}]));
    }
    component
}
