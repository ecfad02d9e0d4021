//! Reads the deployment file: one walk, from which validation and its reference come.

use super::forms::{Address, Hosted, PathPrefix, Release, Sha256, plain};
use super::roles;
use super::{Deployment, Gateway, Istio, Kubernetes, Listen, Log, Module, Named, Place, Tracing};
use crate::manifest::envoy::cluster::{Credential, Endpoint, Tls};
use crate::manifest::envoy::route::Way;
use crate::manifest::plugin::{LANES, PLANS};
use crate::policy::{
    InvalidPolicy, codes,
    forms::{Flag, Header, Named as NameForm, Text, Word, whole},
    raw::document::Version,
    reading,
    source::{Source, must_to},
    tree::Node,
    yaml,
};
use serde_json::{Map, Value};

/// Reads a deployment file; what is wrong with it is said all at once.
///
/// # Errors
/// Every mistake with its place.
pub fn read(text: &str) -> Result<Deployment, Vec<InvalidPolicy>> {
    let parsed = yaml::parse(text)?;
    let (mut read, mut found) = reading::read(&parsed.node, "", deployment);
    if let Some(read) = &mut read {
        read.placement = fields(&parsed.node, "placement").unwrap_or_default();
        read.telemetry = fields(&parsed.node, "telemetry");
    }
    // Proxies read what is rendered as YAML 1.1 too: what means two things there is no warning here.
    found.extend(parsed.warnings);
    read.filter(|_| found.is_empty()).ok_or(found)
}

fn fields(file: &Node, name: &str) -> Option<Map<String, Value>> {
    match plain(&file.get(name)?.value) {
        Value::Object(fields) => Some(fields),
        _ => None,
    }
}

/// The whole file.
pub fn deployment<S: Source>(s: &mut S) -> Option<Deployment> {
    s.required("berth", "The version of the schema.", Version);
    let policy = s.required("policy", "The policy's file, from where this one is.", Text(1024));
    let module = s.section("module", "Where the module is; each target says which of these it needs.", module);
    let envoy = s.or("envoy", "The oldest release of Envoy that has to take it, as `'1.39'`.", Release, (1, 40));
    let way = s.or(
        "attach",
        "How plans reach the router: `full` needs Envoy 1.39, `lanes` 1.37; `simple` does with less.",
        Word(&Way::ALL, Way::as_str),
        Way::Full,
    );
    if way == Way::Full && envoy < PLANS {
        s.wrong("attach", codes::CONTRADICTION, "`lanes` or `simple`: before Envoy 1.39 a route cannot look a plan up");
    }
    if way == Way::Lanes && envoy < LANES {
        s.wrong("attach", codes::CONTRADICTION, "`simple`: before Envoy 1.37 there are no composite clusters");
    }
    let listen = s.section_or_empty("listen", "Where requests come in.", listen);
    let admin = s.or("admin", "Where the proxy's own interface is.", Address, (String::from("127.0.0.1"), 9901));
    let desk = s.or("desk", "Where the telemetry role answers.", Address, (String::from("127.0.0.1"), 9902));
    let config_dir = s.or(
        "config_dir",
        "The folder of the proxy's files, for those that it watches.",
        Text(1024),
        String::from("/etc/envoy"),
    );
    let otherwise = s.optional(
        "otherwise",
        "The substrate for requests that nobody placed, while the filter reloads or is switched off; without it they are refused. Choose one that no border forbids.",
        NameForm,
    );
    let keep_bytes =
        s.or("keep_bytes", "How much of a request's body is kept for another attempt.", whole(0, 1 << 30), 1 << 20);
    let log = s.or(
        "access_log",
        "How requests are written down, to standard output.",
        Word(&Log::ALL, Log::as_str),
        Log::Json,
    );
    s.section_if(
        "placement",
        "Plugin configuration of the placement role; `role`, `policy` and `attach` are filled in.",
        roles::placement,
    );
    let telemetry = s.section_if(
        "telemetry",
        "Plugin configuration of the telemetry role; without it nothing is pulled or published.",
        roles::telemetry,
    );
    let observe =
        s.or("observe", "Whether the telemetry role looks at every attempt from inside the clusters.", Flag, true);
    let histograms = s.or(
        "histograms",
        "Whether it measures their times there, by cluster and size of the request, as histograms.",
        Flag,
        false,
    );
    if histograms && !(observe && telemetry.is_some()) {
        s.wrong("histograms", codes::CONTRADICTION, "`telemetry` and `observe`, which measures");
    }
    let helpers = s.section_map(
        "helpers",
        "Other clusters that the telemetry role asks, such as a Prometheus.",
        Text(256),
        endpoint,
    );
    let substrates = s.section_map("substrates", "How each substrate of the policy is reached.", NameForm, endpoint);
    let tracing = s.section_if(
        "tracing",
        "Where spans go, which carry the decision; for an Envoy of its own. A mesh names its tracer itself.",
        tracing,
    );
    if tracing.as_ref().is_some_and(|tracing| !helpers.iter().any(|(name, _)| *name == tracing.cluster)) {
        s.wrong("tracing", codes::UNKNOWN_TARGET, "a cluster that is one of the `helpers`");
    }
    let kubernetes = s.section_if("kubernetes", "Where in a Kubernetes cluster, for `kustomize`.", kubernetes);
    let istio = s.section_if("istio", "Where in a mesh, for `istio`.", istio);
    let gateway = s.section_if("gateway", "The Gateway that is attached to, for `envoy-gateway`.", gateway);
    Some(Deployment {
        policy: policy?,
        module: module?,
        envoy,
        way,
        listen: listen?,
        admin,
        desk,
        config_dir,
        otherwise: otherwise.map(|name| name.to_string()),
        keep_bytes,
        log,
        tracing,
        // Kept as they were written: [`read`] fills them in.
        placement: Map::new(),
        telemetry: telemetry.map(|()| Map::new()),
        observe,
        histograms,
        helpers,
        substrates: substrates.into_iter().map(|(name, endpoint)| (name.to_string(), endpoint)).collect(),
        kubernetes,
        istio,
        gateway,
    })
}

fn module<S: Source>(s: &mut S) -> Option<Module> {
    let file = s.optional("file", "A file beside the proxy.", Text(1024));
    let url = s.optional("url", "Over HTTP, for proxies that fetch it.", Text(1024));
    let image = s.optional("image", "An image: `oci://…`.", Text(1024));
    let sha256 = s.optional("sha256", "The digest, in hexadecimal: of the module's bytes, or of the image where that is fetched and its name has none.", Sha256);
    if url.is_some() && sha256.is_none() {
        s.wrong("sha256", codes::MISSING_FIELD, "the digest of the module: what comes over the network is checked");
    }
    Some(Module { file, url, image, sha256 })
}

fn tracing<S: Source>(s: &mut S) -> Option<Tracing> {
    let cluster = s.required("cluster", "The collector, one of the `helpers`.", Text(256));
    let path = s.or("path", "Where it takes traces.", PathPrefix, String::from("/v1/traces"));
    let service = s.or("service", "The service that spans are of.", Text(256), String::from("berth"));
    let operation = s.optional("operation", "What is asked of models here, as `chat`.", Text(64));
    Some(Tracing { cluster: cluster?, path, service, operation })
}

fn listen<S: Source>(s: &mut S) -> Option<Listen> {
    let (address, port) = s.or("at", "Address and port.", Address, (String::from("0.0.0.0"), 8080));
    let certificate = s.optional("certificate", "The file with its certificate; with it, TLS is spoken.", Text(1024));
    let key = s.optional("key", "The file with the certificate's key.", Text(1024));
    let client_ca = s.optional(
        "client_ca",
        "The file with the authorities that may sign for clients, which then must have a certificate.",
        Text(1024),
    );
    if certificate.is_some() != key.is_some() {
        s.wrong("certificate", codes::CONTRADICTION, "certificate and key together");
    }
    if client_ca.is_some() && certificate.is_none() {
        s.wrong("client_ca", codes::CONTRADICTION, "a certificate of our own beside it");
    }
    let websocket = s.or("websocket", "Whether requests may become sockets (WebSocket), for an Envoy of its own; refused with 403 where they may not. Only substrates that serve them should be permitted to those who ask.", Flag, false);
    let request_ms = s.optional("request_ms", "How long a request may take to come whole, in milliseconds, unless its answer begins before; then it is answered 408. For an Envoy of its own. A deadline counts from a request's end, so without this one that never ends is only bounded by five minutes in which nothing moves.", whole(1, 86_400_000));
    Some(Listen { address, port, own: certificate.zip(key), client_ca, websocket, request_ms })
}

fn endpoint<S: Source>(s: &mut S) -> Option<Endpoint> {
    let hosts = s.list("hosts", "Hosts with their ports: `metal.example:8443`.", Address, must_to(256));
    let http2 = s.or("http2", "Whether HTTP/2 is spoken to it.", Flag, false);
    let authority = s.optional(
        "authority",
        "The host that it is asked for; without it the host's own name, and at an address what the client asked for.",
        Text(255),
    );
    let path_prefix = s.optional("path_prefix", "What its paths begin with, before the client's path.", PathPrefix);
    let tls = s.section_if("tls", "TLS to it.", tls);
    let credential = s.section_if("credential", "The key that it is shown; no other substrate sees it.", credential);
    let next_hop = s.or(
        "next_hop",
        "Whether it is a proxy with Berth in it, which is told what is left of time and attempts.",
        Flag,
        false,
    );
    let connect_ms = s.optional(
        "connect_ms",
        "How long a connection to it may take, in milliseconds. Without it a second, and to a substrate no more than the least part of its deadline that an attempt of any class has which may run there, and no less than it is declared to take, 50, or 100 with TLS.",
        whole(10, 60_000),
    );
    let hosts = hosts?;
    let by_name = hosts.iter().any(|(host, _)| host.parse::<std::net::IpAddr>().is_err());
    Some(Endpoint {
        by_name,
        hosts,
        http2,
        authority,
        path_prefix,
        tls,
        credential,
        next_hop,
        connect_ms,
        ..Endpoint::default()
    })
}

fn tls<S: Source>(s: &mut S) -> Option<Tls> {
    let sni = s.required("sni", "The name that it must have.", Text(255));
    let trusted_ca = s.required("ca", "The file with the authorities that may sign for it.", Text(1024));
    let certificate = s.optional("certificate", "The file with our own certificate.", Text(1024));
    let key = s.optional("key", "The file with its key.", Text(1024));
    if certificate.is_some() != key.is_some() {
        s.wrong("certificate", codes::CONTRADICTION, "certificate and key together");
    }
    Some(Tls { sni: sni?, trusted_ca: trusted_ca?, own: certificate.zip(key) })
}

fn credential<S: Source>(s: &mut S) -> Option<Credential> {
    let header = s.or("header", "The header that carries it.", Header, String::from("authorization"));
    let sds_file = s.required("sds_file", "The watched file with the secret, as a discovery resource.", Text(1024));
    let secret = s.required("secret", "The secret's name in it.", Text(255));
    Some(Credential { header, sds_file: sds_file?, secret: secret? })
}

fn kubernetes<S: Source>(s: &mut S) -> Option<Kubernetes> {
    let namespace = s.required("namespace", "The namespace of everything that is rendered.", NameForm);
    let envoy_image = s.required("envoy_image", "The image of the proxy.", Text(512));
    let replicas = s.or("replicas", "How many proxies.", whole(1, 10_000), 2);
    let secrets = s.map(
        "secrets",
        "Folders with keys and certificates, and the Secrets that are mounted there; `/etc/ssl/certs` is the image's own.",
        (Text(1024), Text(253)),
    );
    Some(Kubernetes { namespace: namespace?.to_string(), envoy_image: envoy_image?, replicas, secrets })
}

fn istio<S: Source>(s: &mut S) -> Option<Istio> {
    let namespace = s.required("namespace", "The namespace of everything that is rendered.", NameForm);
    let place = s.required("place", "On which proxies.", Word(&Place::ALL, Place::as_str));
    let selector = s.map("selector", "The labels of their workloads.", (Text(63), Text(63)));
    let host = s.optional(
        "host",
        "The virtual host whose requests are placed, as `host:port`; without it, all of the proxy's.",
        Hosted,
    );
    let target =
        s.optional("target", "The Gateway API object that is attached to; waypoints honour nothing else.", NameForm);
    let discovered = s.or(
        "discovered",
        "Whether the agent fetches the module and checks its digest (two patches instead of one).",
        Flag,
        false,
    );
    if place == Some(Place::Waypoint) && target.is_none() {
        s.wrong("target", codes::MISSING_FIELD, "the waypoint's name");
    }
    Some(Istio {
        namespace: namespace?.to_string(),
        place: place?,
        selector,
        host,
        target: target.map(|name| name.to_string()),
        discovered,
    })
}

fn gateway<S: Source>(s: &mut S) -> Option<Gateway> {
    let name = s.required("name", "Its name.", NameForm);
    let namespace = s.required("namespace", "Its namespace.", NameForm);
    let listener = s.or("listener", "Its listener whose requests are placed.", Text(63), String::from("http"));
    Some(Gateway { at: Named { name: name?.to_string(), namespace: namespace?.to_string() }, listener })
}
