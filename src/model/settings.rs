//! The numbers that tune a policy: thresholds, selection, shedding, budgets, freshness, rollout. Defaults live in
//! `policy`, documented with their field; here is only their shape.

use super::{Kind, Name, Predicate, Signal, Substrate, WHOLE_PPM};

/// When a substrate of some kind is too full for new work. `None`: this signal does not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Thresholds {
    /// Requests waiting, at most.
    pub queue_depth: Option<u32>,
    /// The same as a share of the substrate's concurrency; the larger of both holds.
    pub queue_share_ppm: Option<u32>,
    /// Memory in use: from here on it is demoted.
    pub memory_soft_ppm: Option<u32>,
    /// Memory in use: from here on it is refused.
    pub memory_hard_ppm: Option<u32>,
    /// Processors in use, at most. Only admission asks: it does not turn at one sample, and these jump.
    pub cpu_ppm: Option<u32>,
    /// Accelerators in use, at most; the same.
    pub accelerator_ppm: Option<u32>,
    /// Interconnect saturation, at most.
    pub interconnect_ppm: Option<u32>,
    /// Rack congestion, at most.
    pub rack_ppm: Option<u32>,
    /// East-west load, at most.
    pub east_west_ppm: Option<u32>,
    /// Power headroom, at least.
    pub power_headroom_ppm: Option<u32>,
    /// Cooling headroom, at least.
    pub cooling_headroom_ppm: Option<u32>,
    /// Uplink quality, at least.
    pub link_ppm: Option<u32>,
    /// Requests left before the provider's limit, at least.
    pub rate_remaining: Option<u32>,
    /// Failure rate, at most.
    pub failure_ppm: Option<u32>,
}

impl Thresholds {
    /// What admission looks at, with the bound of each: at least where more is better, or else at most.
    #[must_use]
    pub const fn bounds(&self) -> [(Signal, Option<u32>); 11] {
        [
            (Signal::QueueDepth, self.queue_depth),
            (Signal::CpuUse, self.cpu_ppm),
            (Signal::AcceleratorUse, self.accelerator_ppm),
            (Signal::MemoryPressure, self.memory_hard_ppm),
            (Signal::Interconnect, self.interconnect_ppm),
            (Signal::RackCongestion, self.rack_ppm),
            (Signal::EastWest, self.east_west_ppm),
            (Signal::PowerHeadroom, self.power_headroom_ppm),
            (Signal::CoolingHeadroom, self.cooling_headroom_ppm),
            (Signal::Link, self.link_ppm),
            (Signal::RateRemaining, self.rate_remaining),
        ]
    }

    /// For a substrate of such a size: `queue_depth` is what holds, and no share is left.
    #[must_use]
    pub fn sized(self, concurrency: u32) -> Self {
        let share = self.queue_share_ppm.map(|ppm| u64::from(concurrency) * u64::from(ppm) / 1_000_000);
        let share = share.map(|n| u32::try_from(n).unwrap_or(u32::MAX));
        Self { queue_depth: self.queue_depth.max(share), queue_share_ppm: None, ..self }
    }
}

/// How one is chosen among those that stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Selection {
    /// Candidates within this share of the best utility's worth are equals.
    pub margin_ppm: u32,
    /// How much the margin widens per second of snapshot age.
    pub margin_per_second_ppm: u32,
    /// The most that a substrate's share may grow per interval.
    pub max_shift_ppm: u32,
    /// The bonus of the substrate where the session already is, as a share of the answer's worth.
    pub affinity_ppm: u32,
    /// How long a new or recovered substrate ramps.
    pub ramp_ms: u32,
    /// Its share at the start of the ramp.
    pub ramp_floor_ppm: u32,
    /// Below this share of standing candidates, overload is ignored rather than piled onto the rest.
    pub panic_ppm: u32,
    /// The next attempt must have at least this share of its expected time left.
    pub finish_factor_ppm: u32,
    /// How many attempts the plan holds, at most (1 to 3).
    pub plan: u8,
}

/// How admission gives way under load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shedding {
    /// Where shedding begins, by tier order batch, standard, critical.
    pub from_ppm: [u32; 3],
    /// The most that is shed, by the same order.
    pub most_ppm: [u32; 3],
    /// The hint to callers.
    pub retry_after_s: u32,
}

/// When a signal is old.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ages {
    /// Uncertain from here on.
    pub soft_ms: u64,
    /// Unknown from here on.
    pub hard_ms: u64,
}

impl Ages {
    /// What a reading of this age is worth.
    #[must_use]
    pub const fn freshness(&self, age_ms: u64) -> super::Freshness {
        match age_ms {
            age if age >= self.hard_ms => super::Freshness::Stale,
            age if age > self.soft_ms => super::Freshness::Uncertain,
            _ => super::Freshness::Live,
        }
    }
}

/// Circuits and admission, for the telemetry role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breaking {
    /// Failures in a row that open.
    pub consecutive: u32,
    /// Failure share that opens.
    pub failure_ppm: u32,
    /// Only once this many answers were seen in the window.
    pub least: u32,
    /// The window.
    pub window_ms: u32,
    /// The first time open.
    pub open_ms: u32,
    /// The longest time open.
    pub open_most_ms: u32,
    /// Jitter on every cool-down.
    pub jitter_ppm: u32,
    /// Probes when half open.
    pub probes: u8,
    /// Admission: closes above.
    pub enter_ppm: u32,
    /// Admission: opens below.
    pub exit_ppm: u32,
    /// Bad samples until it closes.
    pub bad_samples: u8,
    /// Good samples until it opens.
    pub good_samples: u8,
    /// The least time in a state.
    pub dwell_ms: u32,
    /// The least time closed.
    pub hold_down_ms: u32,
}

/// What a tenant may spend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    /// The tenant, as the fact names it.
    pub tenant: String,
    /// Over this window.
    pub window_s: u32,
    /// At most this much, in the whole fleet.
    pub most_uusd: i64,
    /// This proxy's part of it.
    pub fleet_share_ppm: u32,
}

impl Budget {
    /// What this proxy may spend of it in a window.
    #[must_use]
    pub fn here_uusd(&self) -> i64 {
        let here = i128::from(self.most_uusd.max(0)) * i128::from(self.fleet_share_ppm) / i128::from(WHOLE_PPM);
        i64::try_from(here).unwrap_or(i64::MAX)
    }

    /// How much of that is used once so much is spent, in parts per million: over the whole where workers spent at the
    /// same time, and the whole where there is nothing to spend.
    #[must_use]
    pub fn used_ppm(&self, spent_uusd: i64) -> u64 {
        let (spent, here) = (i128::from(spent_uusd.max(0)), i128::from(self.here_uusd()));
        let used = (spent * i128::from(WHOLE_PPM)).checked_div(here).unwrap_or(i128::from(WHOLE_PPM));
        u64::try_from(used).unwrap_or(u64::MAX)
    }
}

/// The cost of a path between two zones, and its ceiling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The caller's zone.
    pub from: Name,
    /// The substrate's zone.
    pub to: Name,
    /// Time added.
    pub latency_us: i64,
    /// Price per byte.
    pub pusd_per_byte: i64,
    /// Interconnect saturation above which it is not used.
    pub ceiling_ppm: u32,
}

/// Terms that adapt to measurements, each with its switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Adaptive {
    /// Measured latency replaces the declared one.
    pub latency: bool,
    /// Measured prices replace the declared ones.
    pub cost: bool,
    /// Measured failure rates count as risk.
    pub risk: bool,
    /// Shares follow headroom.
    pub shares: bool,
}

/// An approval that a caller may hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    /// What the approval fact says.
    pub token: String,
    /// The borders it opens.
    pub borders: super::Borders,
    /// Valid until then (Unix time).
    pub until_ms: u64,
}

/// Which share of traffic a candidate policy gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rollout {
    /// The share of traffic.
    pub share_ppm: u32,
    /// Only these requests.
    pub only: Predicate,
    /// And only those of one of these classes; without a list, of all.
    pub classes: Option<Vec<Name>>,
}

/// All settings of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// By [`Kind`] order.
    pub thresholds: [Thresholds; Kind::ALL.len()],
    /// How one is chosen.
    pub selection: Selection,
    /// How admission gives way.
    pub shedding: Shedding,
    /// When a signal is old.
    pub ages: Ages,
    /// Circuits and admission.
    pub breaking: Breaking,
    /// Capacity kept free everywhere.
    pub headroom_ppm: u32,
    /// Prior failure probability of a substrate nobody has measured.
    pub prior_failure_ppm: u32,
    /// Input bytes that make a token, in the estimate.
    pub bytes_per_token: u32,
    /// Tenant budgets.
    pub budgets: Vec<Budget>,
    /// Paths between zones.
    pub links: Vec<Link>,
    /// Switches of what adapts.
    pub adaptive: Adaptive,
    /// Approvals.
    pub approvals: Vec<Approval>,
    /// The share of a candidate policy.
    pub rollout: Option<Rollout>,
}

impl Settings {
    /// When a substrate is too full for new work: by its kind, and by its size.
    #[must_use]
    pub fn thresholds_of(&self, substrate: &Substrate) -> Thresholds {
        let of_kind = self.thresholds.get(substrate.kind as usize).copied().unwrap_or_default();
        of_kind.sized(substrate.capacity.concurrency)
    }
}
