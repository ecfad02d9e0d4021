//! Where in a cluster or mesh things are attached.

/// An object by name and namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
}

/// A gateway of Envoy Gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// The Gateway object.
    pub at: Named,
    /// Its listener that is patched.
    pub listener: String,
}

/// A Kubernetes cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kubernetes {
    /// The namespace of everything that is rendered.
    pub namespace: String,
    /// The image of the proxy.
    pub envoy_image: String,
    /// How many proxies.
    pub replicas: u32,
    /// Folders, and the Secrets that are mounted there.
    pub secrets: Vec<(String, String)>,
}

/// A mesh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Istio {
    /// The namespace of everything that is rendered.
    pub namespace: String,
    /// On which proxies.
    pub place: Place,
    /// The labels of their workloads.
    pub selector: Vec<(String, String)>,
    /// The host whose requests are placed, and its port: together they are the virtual host's name.
    pub host: Option<(String, u16)>,
    /// The name of a Gateway API object that is attached to (waypoints: that is all they honour).
    pub target: Option<String>,
    /// Whether the listeners are patched to ask for their extension by discovery, so that the agent fetches the
    /// module and checks its digest.
    pub discovered: bool,
}

/// On which proxies of a mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Beside the applications, for what they send.
    Sidecar,
    /// A gateway.
    Gateway,
    /// A waypoint of ambient mode.
    Waypoint,
}

impl Place {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Sidecar, Self::Gateway, Self::Waypoint];

    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sidecar => "sidecar",
            Self::Gateway => "gateway",
            Self::Waypoint => "waypoint",
        }
    }

    /// How a patch names it.
    #[must_use]
    pub const fn context(self) -> &'static str {
        match self {
            Self::Sidecar => "SIDECAR_OUTBOUND",
            Self::Gateway => "GATEWAY",
            Self::Waypoint => "WAYPOINT",
        }
    }
}
