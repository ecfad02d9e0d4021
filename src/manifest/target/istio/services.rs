//! What the mesh has to know of the clusters that it makes itself.

use super::super::Subject;
use super::metadata;
use crate::manifest::deployment::Istio;
use crate::manifest::envoy::cluster::Endpoint;
use crate::manifest::envoy::route::Way;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// How Istio names the clusters that it makes itself: `outbound|PORT|SUBSET|HOST`.
pub(super) struct Service<'a> {
    port: u16,
    host: &'a str,
}

pub(super) fn service(cluster: &str) -> Option<Service<'_>> {
    let mut parts = cluster.split('|');
    let (direction, port, subset, host) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let whole = direction == "outbound" && subset.is_empty() && !host.is_empty() && parts.next().is_none();
    Some(Service { port: port.parse().ok()?, host }).filter(|_| whole)
}

/// What the mesh has to know of the clusters that it makes itself.
///
/// # Errors
/// What it cannot be told of one.
pub(super) fn services(subject: &Subject<'_>, istio: &Istio) -> Result<Vec<Value>, String> {
    let endpoints = subject.endpoints(&[]);
    let mut hosts: Vec<(&str, BTreeMap<u16, &Endpoint>)> = Vec::new();
    for (cluster, endpoint) in &endpoints {
        let Some(Service { port, host }) = told(cluster, endpoint)? else { continue };
        match hosts.iter_mut().find(|(known, _)| *known == host) {
            Some((_, ports)) => drop(ports.insert(port, endpoint)),
            None => hosts.push((host, BTreeMap::from([(port, endpoint)]))),
        }
    }
    apart(subject)?;
    let mut found = Vec::new();
    for (host, ports) in hosts {
        // What ends like this is a service of the cluster, which knows its hosts itself.
        if !host.ends_with(".local") {
            found.push(entry(host, &ports, istio)?);
        }
        found.push(rule(host, &ports, istio));
    }
    Ok(found)
}

/// The service of a substrate's cluster, if the mesh makes it.
fn told<'a>(cluster: &'a str, endpoint: &Endpoint) -> Result<Option<Service<'a>>, String> {
    let found = service(cluster);
    if found.is_none() && cluster.contains('|') {
        return Err(format!(
            "substrates: found the cluster `{cluster}`, expected a name without `|`, or one that the mesh gives: `outbound|PORT||HOST`, without a subset"
        ));
    }
    let own = [
        ("an `authority`", endpoint.authority.is_some()),
        ("a `path_prefix`", endpoint.path_prefix.is_some()),
        ("a `credential`", endpoint.credential.is_some()),
        ("`next_hop`", endpoint.next_hop),
    ];
    if let (Some(_), Some((what, _))) = (&found, own.iter().find(|(_, given)| *given)) {
        return Err(format!(
            "substrates: found {what} for `{cluster}`, which the mesh makes, and which others use who are not placed: expected none, or a cluster of another name"
        ));
    }
    Ok(found)
}

/// A request's headers outlive an attempt. Clusters of ours end what is theirs; the mesh's do not, and are not ours to change:
/// nobody is tried there after a substrate that was shown a key, a path or a name.
fn apart(subject: &Subject<'_>) -> Result<(), String> {
    let (mesh, ours): (Vec<&str>, Vec<&str>) =
        subject.clusters().into_iter().partition(|cluster| service(cluster).is_some());
    let shadow = subject.deployment.placement.get("mode").is_some_and(|mode| mode == "shadow");
    match (mesh.first(), ours.first()) {
        (Some(mesh), Some(ours)) if subject.deployment.way != Way::Simple && !shadow => Err(format!(
            "substrates: found `{mesh}`, which the mesh makes, beside `{ours}`, which is ours: what one attempt is shown, the next one would be shown there. Expected all of one kind, or `attach: simple`"
        )),
        _ => Ok(()),
    }
}

fn entry(host: &str, ports: &BTreeMap<u16, &Endpoint>, istio: &Istio) -> Result<Value, String> {
    let name = |port: &u16| format!("p-{port}");
    let mut addresses: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    let mut listed = Vec::new();
    for (port, endpoint) in ports {
        // TLS is the destination rule's: here it is what is inside of it that counts.
        let protocol = if endpoint.http2 { "HTTP2" } else { "HTTP" };
        listed.push(json!({"number": port, "name": name(port), "protocol": protocol}));
        for (address, at) in &endpoint.hosts {
            addresses.entry(address).or_default().insert(name(port), json!(at));
        }
    }
    // Where an endpoint does not say which port, the mesh takes the service's.
    if let Some((address, _)) = addresses.iter().find(|(_, known)| known.len() < ports.len()) {
        return Err(format!(
            "substrates: found `{address}` for some ports of `{host}`, expected the same hosts for all: the mesh would send the others there too"
        ));
    }
    let endpoints: Vec<Value> =
        addresses.into_iter().map(|(address, ports)| json!({"address": address, "ports": ports})).collect();
    Ok(json!({
        "apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry", "metadata": metadata(&host.replace('.', "-"), istio),
        "spec": {"hosts": [host], "location": "MESH_EXTERNAL", "resolution": "DNS", "ports": listed, "endpoints": endpoints},
    }))
}

/// One rule a host: the mesh takes no second one.
fn rule(host: &str, ports: &BTreeMap<u16, &Endpoint>, istio: &Istio) -> Value {
    let mut settings: Vec<Value> = ports.iter().map(|(port, endpoint)| settings(*port, endpoint)).collect();
    let policy = match settings.as_mut_slice() {
        [Value::Object(one)] => {
            one.remove("port");
            Value::Object(one.clone())
        }
        _ => json!({"portLevelSettings": settings}),
    };
    json!({
        "apiVersion": "networking.istio.io/v1", "kind": "DestinationRule", "metadata": metadata(&host.replace('.', "-"), istio),
        "spec": {"host": host, "trafficPolicy": policy},
    })
}

fn settings(port: u16, endpoint: &Endpoint) -> Value {
    let limit = endpoint.limit();
    let mut policy = json!({
        "port": {"number": port},
        "loadBalancer": {"simple": "LEAST_REQUEST", "localityLbSetting": {"enabled": false}},
        "connectionPool": {
            "tcp": {"maxConnections": limit},
            "http": {
                "http1MaxPendingRequests": limit, "http2MaxRequests": limit,
                "h2UpgradePolicy": if endpoint.http2 { "UPGRADE" } else { "DEFAULT" },
            },
        },
    });
    if let (Some(ms), Some(pool)) =
        (endpoint.connect_ms, policy.pointer_mut("/connectionPool/tcp").and_then(Value::as_object_mut))
    {
        pool.insert("connectTimeout".into(), json!(format!("{ms}ms")));
    }
    if let (Some(tls), Value::Object(policy)) = (&endpoint.tls, &mut policy) {
        let mut settings =
            json!({"mode": "SIMPLE", "sni": tls.sni, "caCertificates": tls.trusted_ca, "subjectAltNames": [tls.sni]});
        if let (Some((certificate, key)), Value::Object(settings)) = (&tls.own, &mut settings) {
            settings.insert("mode".into(), json!("MUTUAL"));
            settings.insert("clientCertificate".into(), json!(certificate));
            settings.insert("privateKey".into(), json!(key));
        }
        policy.insert("tls".into(), settings);
    }
    policy
}

#[cfg(test)]
mod tests {
    use super::{Endpoint, settings};
    use serde_json::json;

    #[test]
    fn a_connection_s_time_stands_beside_the_pool_s_bound() {
        let endpoint = Endpoint { concurrency: 4_000, connect_ms: Some(1_500), ..Endpoint::default() };
        let rendered = settings(443, &endpoint);
        assert_eq!(rendered["connectionPool"]["tcp"], json!({"maxConnections": 8_000, "connectTimeout": "1500ms"}));
    }
}
