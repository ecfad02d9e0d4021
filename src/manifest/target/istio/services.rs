//! What the mesh has to know of the clusters that it makes itself.

use super::super::Subject;
use super::metadata;
use crate::manifest::deployment::Istio;
use serde_json::{Value, json};

/// How Istio names the clusters that it makes itself: `outbound|PORT|SUBSET|HOST`.
pub(super) struct Service<'a> {
    port: u16,
    host: &'a str,
}

pub(super) fn service(cluster: &str) -> Option<Service<'_>> {
    let mut parts = cluster.split('|');
    let (direction, port) = (parts.next()?, parts.next()?);
    let (_, host) = (parts.next()?, parts.next()?);
    Some(Service { port: port.parse().ok()?, host }).filter(|_| direction == "outbound")
}

/// What the mesh has to know of the clusters that it makes itself.
pub(super) fn services(subject: &Subject<'_>, istio: &Istio) -> Result<Vec<Value>, String> {
    let mut found = Vec::new();
    for (cluster, endpoint) in subject.endpoints(&[]) {
        let Some(service) = service(cluster) else { continue };
        let name = service.host.replace('.', "-");
        if !service.host.ends_with(".local") {
            // TLS is the destination rule's: here it is what is inside of it that counts.
            let protocol = if endpoint.http2 { "HTTP2" } else { "HTTP" };
            found.push(json!({
                "apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry", "metadata": metadata(&name, istio),
                "spec": {"hosts": [service.host], "location": "MESH_EXTERNAL", "resolution": "DNS",
                    "ports": [{"number": service.port, "name": format!("p-{}", service.port), "protocol": protocol}],
                    "endpoints": endpoint.hosts.iter().map(|(host, port)| json!({"address": host, "ports": {format!("p-{}", service.port): port}})).collect::<Vec<_>>()},
            }));
        }
        let mut policy = json!({
            "loadBalancer": {"simple": "LEAST_REQUEST", "localityLbSetting": {"enabled": false}},
            "connectionPool": {"http": {"h2UpgradePolicy": if endpoint.http2 { "UPGRADE" } else { "DEFAULT" }}},
        });
        if let (Some(tls), Value::Object(policy)) = (&endpoint.tls, &mut policy) {
            let settings = json!({"mode": "SIMPLE", "sni": tls.sni, "caCertificates": tls.trusted_ca, "subjectAltNames": [tls.sni]});
            policy.insert("tls".into(), settings);
        }
        found.push(json!({
            "apiVersion": "networking.istio.io/v1", "kind": "DestinationRule", "metadata": metadata(&name, istio),
            "spec": {"host": service.host, "trafficPolicy": policy},
        }));
    }
    Ok(found)
}
