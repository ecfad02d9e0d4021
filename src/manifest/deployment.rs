//! The deployment file: what a policy does not say because it differs from proxy to proxy, where hosts are, how they
//! are spoken to, which keys they are shown, what the plugin is told besides the policy.

mod forms;
mod place;
mod read;
pub mod roles;

pub use place::{Gateway, Istio, Kubernetes, Named, Place};
pub use read::{deployment, read};

use super::envoy::cluster::Endpoint;
use super::envoy::route::Way;
use serde_json::{Map, Value};

/// The deployment file, as it was read.
#[derive(Clone, Debug)]
pub struct Deployment {
    /// The policy's file, from where this one is.
    pub policy: String,
    /// Where the module is.
    pub module: Module,
    /// The oldest release of Envoy that has to take it.
    pub envoy: (u32, u32),
    /// How plans reach the router.
    pub way: Way,
    /// Where requests come in.
    pub listen: Listen,
    /// Where the proxy's own interface is.
    pub admin: (String, u16),
    /// Where the telemetry role answers.
    pub desk: (String, u16),
    /// The folder of the proxy's files, where some are discovered.
    pub config_dir: String,
    /// The substrate for requests that nobody placed.
    pub otherwise: Option<String>,
    /// How much of a request's body is kept for another attempt.
    pub keep_bytes: u32,
    /// How requests are written down.
    pub log: Log,
    /// Where spans go.
    pub tracing: Option<Tracing>,
    /// Plugin configuration of the placement role, besides its policy.
    pub placement: Map<String, Value>,
    /// That of the telemetry role; without it there is none.
    pub telemetry: Option<Map<String, Value>>,
    /// Whether the telemetry role looks at every attempt from inside the clusters.
    pub observe: bool,
    /// Whether it measures their times there as histograms.
    pub histograms: bool,
    /// Other clusters that the telemetry role asks.
    pub helpers: Vec<(String, Endpoint)>,
    /// How each substrate is reached, by its name in the policy.
    pub substrates: Vec<(String, Endpoint)>,
    /// Where in a Kubernetes cluster.
    pub kubernetes: Option<Kubernetes>,
    /// Where in an Istio mesh.
    pub istio: Option<Istio>,
    /// The gateway of Envoy Gateway.
    pub gateway: Option<Gateway>,
}

/// Where the module is, by each way to get it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Module {
    /// A file beside the proxy.
    pub file: Option<String>,
    /// Over HTTP.
    pub url: Option<String>,
    /// As an image.
    pub image: Option<String>,
    /// The digest of its bytes.
    pub sha256: Option<String>,
}

/// Where spans go, over HTTP as OpenTelemetry has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tracing {
    /// The collector's cluster, one of the helpers.
    pub cluster: String,
    /// The collector's path.
    pub path: String,
    /// The service that spans are of.
    pub service: String,
    /// What is asked of models here, such as `chat`.
    pub operation: Option<String>,
}

/// Where requests come in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listen {
    /// The address.
    pub address: String,
    /// The port.
    pub port: u16,
    /// Certificate and key, as files.
    pub own: Option<(String, String)>,
    /// The file with the authorities that may sign for clients, which then must have a certificate.
    pub client_ca: Option<String>,
    /// Whether requests may become sockets.
    pub websocket: bool,
    /// How long a request may take to come whole, in milliseconds, unless its answer begins before.
    pub request_ms: Option<u32>,
}

/// How requests are written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Log {
    /// A JSON object a line.
    Json,
    /// Text.
    Text,
    /// Not at all.
    None,
}

impl Log {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Json, Self::Text, Self::None];

    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Text => "text",
            Self::None => "none",
        }
    }
}

impl Way {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Simple, Self::Full, Self::Lanes];

    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Simple => "simple",
            Self::Full => "full",
            Self::Lanes => "lanes",
        }
    }
}
