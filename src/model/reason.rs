//! Why a candidate was rejected: a closed list of codes, each of exactly one dimension.

/// What can bind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Dimension {
    /// Cannot run it.
    Workload = 0,
    /// The envelope does not permit it.
    Governance = 1,
    /// Not now.
    Availability = 2,
    /// Over budget.
    Cost = 3,
    /// Another law.
    Sovereignty = 4,
}

impl Dimension {
    /// All dimensions, in the order of their discriminants.
    pub const ALL: [Self; 5] = [Self::Workload, Self::Governance, Self::Availability, Self::Cost, Self::Sovereignty];

    /// Which is named first when several bind together.
    pub const PRECEDENCE: [Self; 5] =
        [Self::Sovereignty, Self::Governance, Self::Workload, Self::Availability, Self::Cost];

    /// The word used in records and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Workload => "workload",
            Self::Governance => "governance",
            Self::Availability => "availability",
            Self::Cost => "cost",
            Self::Sovereignty => "sovereignty",
        }
    }
}

/// The set of dimensions that reject a candidate; empty while it stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Dimensions(pub u8);

impl Dimensions {
    /// The mask of one dimension.
    #[must_use]
    pub const fn of(dimension: Dimension) -> Self {
        Self(1 << dimension as u8)
    }

    /// Whether nothing rejects.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether `dimension` rejects.
    #[must_use]
    pub const fn contains(self, dimension: Dimension) -> bool {
        self.0 & (1 << dimension as u8) != 0
    }

    /// How many dimensions reject.
    #[must_use]
    pub const fn len(self) -> u32 {
        self.0.count_ones()
    }

    /// The one dimension that rejects, if it is exactly one.
    #[must_use]
    pub fn only(self) -> Option<Dimension> {
        if self.len() == 1 { Dimension::ALL.into_iter().find(|&d| self.contains(d)) } else { None }
    }

    /// The first by [`Dimension::PRECEDENCE`].
    #[must_use]
    pub fn first(self) -> Option<Dimension> {
        Dimension::PRECEDENCE.into_iter().find(|&d| self.contains(d))
    }
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal in $dimension:ident;)+) => {
        /// The stable code of a rejection. `needed` and `has` of a [`Reason`] are explained with each.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Code { $($(#[doc = $doc])+ $name,)+ }

        impl Code {
            /// All codes, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The code as records and metrics name it, without its dimension.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// The dimension it belongs to.
            #[must_use]
            pub const fn dimension(self) -> Dimension {
                match self { $(Self::$name => Dimension::$dimension,)+ }
            }

            /// What it means, as documented.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc,)+),)+ }
            }
        }
    };
}

codes! {
    /// The model is not served there.
    Model = "model" in Workload;
    /// Input and output tokens together exceed the context there (needed, has: tokens).
    Context = "context" in Workload;
    /// A feature is missing there (needed, has: feature bits).
    Feature = "feature" in Workload;
    /// The quality there is below the class's floor (needed, has: ppm).
    Quality = "quality" in Workload;
    /// A synchronous class does not go to a substrate built for throughput.
    Throughput = "throughput" in Workload;
    /// Even unloaded one attempt cannot answer within its time (needed, has: microseconds).
    Slow = "slow" in Workload;

    /// A header of the request that is asked about says two different things.
    Contradicted = "contradicted" in Governance;
    /// No envelope speaks for this request.
    NoEnvelope = "no-envelope" in Governance;
    /// An envelope permits other kinds only (needed: the envelope's position).
    Kind = "kind" in Governance;
    /// An envelope permits other accounts only, or forbids this one (needed: the envelope's position).
    Account = "account" in Governance;
    /// An envelope permits other regions only, or forbids this one (needed: the envelope's position).
    Region = "region" in Governance;
    /// An envelope permits other cost regimes only, or forbids this one (needed: the envelope's position).
    Regime = "regime" in Governance;
    /// An envelope names other substrates, or forbids this one (needed: the envelope's position).
    Substrate = "substrate" in Governance;
    /// It lies behind a zone, region, account or regime border that an envelope does not let it cross
    /// (needed, has: border bits).
    Spillover = "spillover" in Governance;
    /// It would be permitted with an approval that the request does not hold (needed, has: border bits).
    NeedsApproval = "needs-approval" in Governance;
    /// An envelope asks for fresher health than there is (needed, has: milliseconds of age).
    Unverified = "unverified" in Governance;

    /// Its circuit is open (needed: when it may be probed).
    CircuitOpen = "circuit-open" in Availability;
    /// The proxy has no such cluster, or no host of it that can be used.
    NoHost = "no-host" in Availability;
    /// Its queue is too deep (needed, has: requests).
    QueueFull = "queue-full" in Availability;
    /// Its memory is too full (needed, has: ppm).
    MemoryFull = "memory-full" in Availability;
    /// Its fabric, rack or path is congested (needed, has: ppm).
    Congested = "congested" in Availability;
    /// Its power or cooling headroom is too small (needed, has: ppm).
    Power = "power" in Availability;
    /// Its uplink is down or poor (needed, has: ppm).
    Link = "link" in Availability;
    /// The provider's rate limit is nearly used up (needed, has: requests or tokens).
    RateLimited = "rate-limited" in Availability;
    /// It asked to be left alone until later (needed, has: milliseconds).
    RetryAfter = "retry-after" in Availability;
    /// What is left is kept for a higher tier, for another tenant, or kept free (needed, has: requests in flight).
    Headroom = "headroom" in Availability;
    /// The context room left is too small now (needed, has: tokens).
    ContextRoom = "context-room" in Availability;
    /// It fails too often (needed, has: ppm).
    Failing = "failing" in Availability;
    /// As it is now one attempt cannot answer within its time (needed, has: microseconds).
    Deadline = "deadline" in Availability;
    /// It does not admit new work at present.
    Admission = "admission" in Availability;
    /// The tenant has its share of this substrate already (needed, has: ppm).
    TenantShare = "tenant-share" in Availability;
    /// Shed on purpose under load, lower tiers first (needed, has: ppm).
    Shed = "shed" in Availability;

    /// The request would cost more than its class allows (needed, has: micro-dollars).
    RequestCost = "request-cost" in Cost;
    /// The tenant's budget is used up (needed, has: micro-dollars).
    TenantBudget = "tenant-budget" in Cost;
    /// Burst capacity waits until prepaid capacity is used (needed, has: ppm).
    ReservedFirst = "reserved-first" in Cost;
    /// Burst capacity has reached its ceiling (needed, has: ppm).
    BurstCeiling = "burst-ceiling" in Cost;

    /// It stands in a country that an envelope does not permit, or forbids (needed: the envelope's position).
    Jurisdiction = "jurisdiction" in Sovereignty;
    /// A law that an envelope does not permit reaches it (needed: the envelope's position).
    SubjectTo = "subject-to" in Sovereignty;
    /// It lies behind a jurisdiction border that an envelope does not let it cross.
    BorderJurisdiction = "border" in Sovereignty;
    /// A path leads out of it, and the class or an envelope asks for an air gap.
    AirGap = "air-gap" in Sovereignty;
    /// Its attestation is missing, too old or names another country (needed, has: milliseconds of age).
    Attestation = "attestation" in Sovereignty;
    /// The request's data must stay elsewhere.
    Residency = "residency" in Sovereignty;
}

/// One rejection with the numbers that made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The code.
    pub code: Code,
    /// What would have been needed.
    pub needed: i64,
    /// What there was.
    pub has: i64,
}
