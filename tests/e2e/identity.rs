//! Writers that are known by their certificate: the telemetry listener speaks TLS and demands one. A second Envoy
//! listener for each client plays the sidecar that shows it.

use crate::desk::{listener, next, queue, telemetry_with};
use crate::support::bootstrap::Bootstrap;
use crate::support::client::{Ask, BOTH};
use crate::support::envoy::{Envoy, workdir};
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Stdio};

pub const TLS: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3";

fn openssl(dir: &Path, arguments: &[&str]) {
    let made = Command::new("openssl").args(arguments).current_dir(dir).stdin(Stdio::null()).output();
    let made = made.unwrap_or_else(|e| panic!("certificates are made with openssl: {e}"));
    assert!(made.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&made.stderr));
}

/// A certificate for this alternative name and its key, by an authority of that name or by itself.
pub fn certificate(dir: &Path, name: &str, known_as: Option<&str>, by: Option<&str>) {
    let (key, pem) = (format!("{name}.key"), format!("{name}.pem"));
    let subject = format!("/CN={name}");
    let mut arguments: Vec<String> =
        ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
            .map(String::from)
            .into();
    arguments.extend(["-days", "2", "-subj", &subject, "-keyout", &key, "-out", &pem].map(String::from));
    if let Some(known_as) = known_as {
        arguments.extend(["-addext".into(), format!("subjectAltName={known_as}")]);
    }
    if let Some(by) = by {
        arguments.extend(["-CA".into(), format!("{by}.pem"), "-CAkey".into(), format!("{by}.key")]);
    }
    openssl(dir, &arguments.iter().map(String::as_str).collect::<Vec<_>>());
}

pub fn shown(name: &str) -> Value {
    json!([{"certificate_chain": {"filename": format!("{name}.pem")}, "private_key": {"filename": format!("{name}.key")}}])
}

/// A cluster that leads to the telemetry listener and shows a certificate, or none.
fn as_client(name: &str, certificate: Option<&str>) -> Value {
    let mut common = json!({});
    if let Some(certificate) = certificate {
        common["tls_certificates"] = shown(certificate);
    }
    json!({"name": name, "type": "STATIC", "connect_timeout": "1s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [
            {"endpoint": {"address": {"pipe": {"path": "telemetry.sock"}}}}]}]},
        "transport_socket": {"name": "tls", "typed_config": {"@type": format!("{TLS}.UpstreamTlsContext"), "common_tls_context": common}}})
}

#[tokio::test]
async fn a_writer_may_be_known_by_the_certificate_that_it_shows() {
    let dir = workdir();
    certificate(&dir, "authority", None, None);
    certificate(&dir, "impostor", None, None);
    certificate(&dir, "server", None, Some("authority"));
    certificate(&dir, "agent", Some("URI:spiffe://mesh/agent"), Some("authority"));
    certificate(&dir, "stranger", Some("URI:spiffe://mesh/stranger"), Some("authority"));
    certificate(&dir, "forged", Some("URI:spiffe://mesh/agent"), Some("impostor"));

    let mut desk = listener();
    desk["writers"] = json!([{"name": "agent", "san": "spiffe://mesh/agent", "reports": ["metal-fr"]}]);
    let mut bootstrap = Bootstrap::default().telemetry(telemetry_with(desk)).build();
    let resources = &mut bootstrap["static_resources"];
    let clients =
        [("agent", Some("agent")), ("stranger", Some("stranger")), ("forged", Some("forged")), ("nobody", None)];
    resources["clusters"] = clients.iter().map(|(name, shows)| as_client(name, *shows)).collect();
    let listeners = resources["listeners"].as_array_mut().unwrap();
    let ingress = listeners[0].clone();
    for (name, _) in clients {
        let mut sidecar = ingress.clone();
        sidecar["name"] = name.into();
        let hcm = &mut sidecar["filter_chains"][0]["filters"][0]["typed_config"];
        hcm["route_config"]["virtual_hosts"][0]["routes"] =
            json!([{"match": {"prefix": "/"}, "route": {"cluster": name}}]);
        hcm.as_object_mut().unwrap().remove("access_log");
        listeners.push(sidecar);
    }
    let telemetry = listeners.iter_mut().find(|l| l["name"] == "telemetry").unwrap();
    telemetry["address"] = json!({"pipe": {"path": "telemetry.sock"}});
    telemetry["filter_chains"][0]["transport_socket"] = json!({"name": "tls", "typed_config": {
        "@type": format!("{TLS}.DownstreamTlsContext"), "require_client_certificate": true,
        "common_tls_context": {"tls_certificates": shown("server"), "validation_context": {"trusted_ca": {"filename": "authority.pem"}}}}});

    let envoy = Envoy::start_in(dir, &bootstrap).await;
    for http in BOTH {
        for (client, substrate, status) in [
            ("agent", "metal-fr", 200),
            ("agent", "onprem-de", 403),
            ("agent", "mars", 404),
            ("stranger", "metal-fr", 401),
            // These do not get as far as the filter.
            ("forged", "metal-fr", 503),
            ("nobody", "metal-fr", 503),
        ] {
            let path = format!("/substrates/{substrate}");
            let seen = Ask::put(envoy.listener(client), &path, queue(next(), 1)).over(http).send().await.unwrap();
            assert_eq!(seen.status, status, "{client} of {substrate}: {}", seen.text());
        }
    }
    envoy.await_stat("wasmcustom.berth.telemetry.reported", |n| n == 2).await;
}
