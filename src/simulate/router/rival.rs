//! What others do, each as its own documentation says and with what it would have: the same model map, the same telemetry at
//! the same age, its own proxy's requests in flight and latencies at once, and passive health (an outlier is ejected for a
//! time that grows; who answers 429 or 503 rests). What is a matter of taste is a [`Tuning`], searched by grid for the
//! variant behind an allow-list.

use super::scene::Scene;
use super::{Answer, Ask, Router, Stop, Words, per_try_ms};
use crate::health::{Beginning, Ending, Meaning};
use crate::model::Signal;
use crate::simulate::arrivals::Arrival;
use crate::simulate::random::mix;
use crate::simulate::server::Server;

/// By what it chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The least smoothed latency seen from this proxy, of a stream's first byte or of a whole answer; declared where none was
    /// seen.
    Latency,
    /// The least price of this request's tokens, at the prices last heard.
    Cost,
    /// The caller's region, then the rest.
    Region,
    /// The hardware that is declared fastest for this request.
    Sku,
    /// The account of the class's first home, then the rest.
    Account,
    /// One after another.
    RoundRobin,
    /// The fewest in flight from this proxy, of two drawn at random.
    LeastRequest,
    /// The less loaded by what was heard, of two drawn at random.
    TwoChoices,
    /// Zone, region, rest; in each the least loaded of two; overflow by the share that is healthy, and not at its bound.
    Locality,
    /// The most points for a short queue and free memory, as heard.
    Scorers,
}

/// What is a matter of taste.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// Only what stands written as permitted.
    pub listed: bool,
    /// How long an outlier is ejected the first time, and rests who said 429 or 503.
    pub cool_ms: u64,
    /// The rule's own taste: 0, 1 or 2.
    pub taste: u8,
}

impl Tuning {
    /// What is shipped: Envoy's thirty seconds, and the plainest taste.
    pub const SHIPPED: Self = Self { listed: false, cool_ms: 30_000, taste: 0 };
}

/// All tunings of the grid, behind an allow-list.
#[must_use]
pub fn grid() -> Vec<Tuning> {
    let tastes = |cool_ms| (0..3).map(move |taste| Tuning { listed: true, cool_ms, taste });
    [1_000, 5_000, 30_000].into_iter().flat_map(tastes).collect()
}

/// Failures in a row that eject.
const CONSECUTIVE: u32 = 5;

#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// Waiting and running, where it says so.
    pub(super) load: Option<i64>,
    pub(super) memory_ppm: Option<i64>,
    pub(super) price: Option<(i64, i64)>,
    pub(super) in_flight: u32,
    /// Of whole answers, and of the first bytes of streams.
    pub(super) latency_us: [i64; 2],
    pub(super) streak: u32,
    pub(super) ejections: u32,
    pub(super) out_until_ms: u64,
}

#[derive(Clone, Debug, Default)]
pub(super) struct View {
    pub(super) seen: Vec<Seen>,
    pub(super) turn: u64,
}

/// A rival in all proxies.
#[derive(Debug)]
pub struct Rival {
    rule: Rule,
    tuning: Tuning,
    views: Vec<View>,
    fleet: i64,
}

impl Rival {
    /// A fleet of proxies.
    #[must_use]
    pub fn new(rule: Rule, tuning: Tuning, proxies: u32, substrates: usize) -> Self {
        let view = View { seen: vec![Seen::default(); substrates], turn: 0 };
        let views = (0..proxies).map(|at| View { turn: mix(u64::from(at)), ..view.clone() }).collect();
        Self { rule, tuning, views, fleet: i64::from(proxies) }
    }

    fn seen(&mut self, arrival: &Arrival, substrate: usize) -> Option<&mut Seen> {
        self.views.get_mut(arrival.proxy).and_then(|view| view.seen.get_mut(substrate))
    }

    fn choose(&mut self, ask: &Ask) -> Option<u16> {
        let (rule, tuning, fleet) = (self.rule, self.tuning, self.fleet);
        let view = self.views.get_mut(ask.arrival.proxy)?;
        view.turn = view.turn.wrapping_add(1);
        let able = |at: &usize| ask.able(*at) && (!tuning.listed || ask.allowed(*at));
        let all: Vec<usize> = (0..view.seen.len()).filter(able).collect();
        let untried: Vec<usize> =
            all.iter().copied().filter(|at| !ask.tried.iter().any(|t| usize::from(*t) == *at)).collect();
        let pool = if untried.is_empty() { all } else { untried };
        let well = |at: &usize| view.seen.get(*at).is_some_and(|s| s.out_until_ms <= ask.now_ms);
        let healthy: Vec<usize> = pool.iter().copied().filter(well).collect();
        let scene = Scene { ask, view, tuning, fleet, draw: mix(ask.seed ^ ask.tried.len() as u64) };
        // With nobody left, better an outlier than nobody: as in Envoy's panic mode.
        let standing = if healthy.is_empty() { &pool } else { &healthy };
        let chosen = match rule {
            Rule::Locality => scene.locality(&pool, standing),
            _ => scene.pick(rule, standing),
        };
        chosen.and_then(|at| u16::try_from(at).ok())
    }
}

impl Seen {
    fn fails(&mut self, cool_ms: u64, now_ms: u64) {
        self.streak += 1;
        if self.streak >= CONSECUTIVE {
            self.streak = 0;
            self.ejections = (self.ejections + 1).min(10);
            self.out_until_ms = now_ms + cool_ms * u64::from(self.ejections);
        }
    }
}

impl Router for Rival {
    fn ask(&mut self, ask: &Ask, _: &[Server]) -> Answer {
        match self.choose(ask) {
            Some(substrate) => {
                let first = Stop { substrate, per_try_ms: per_try_ms(ask.class) };
                Answer::Go { stops: [Some(first), None, None], whole: false }
            }
            None => Answer::Refused { why: "nobody", wait_ms: None },
        }
    }

    fn again(&mut self, ask: &Ask, _: &[Server]) -> Option<Stop> {
        self.choose(ask).map(|substrate| Stop { substrate, per_try_ms: per_try_ms(ask.class) })
    }

    fn began(&mut self, arrival: &Arrival, substrate: u16) {
        if let Some(seen) = self.views.get_mut(arrival.proxy).and_then(|v| v.seen.get_mut(usize::from(substrate))) {
            seen.in_flight += 1;
        }
    }

    fn answered(&mut self, arrival: &Arrival, substrate: usize, head: &Beginning<'_>, now_ms: u64) {
        let cool_ms = self.tuning.cool_ms;
        let Some(seen) = self.seen(arrival, substrate) else { return };
        match (head.meaning, head.retry_after_s) {
            (Meaning::Good, _) => seen.streak = 0,
            (_, Some(hint)) => seen.out_until_ms = now_ms + u64::from(hint) * 1_000,
            _ => seen.fails(cool_ms, now_ms),
        }
    }

    fn ended(&mut self, arrival: &Arrival, substrate: usize, ending: &Ending, now_ms: u64) {
        let cool_ms = self.tuning.cool_ms;
        let Some(seen) = self.seen(arrival, substrate) else { return };
        seen.in_flight = seen.in_flight.saturating_sub(1);
        match *ending {
            Ending::Whole { total_us, first_byte_us, .. } => {
                for (smoothed, us) in seen.latency_us.iter_mut().zip([Some(total_us), first_byte_us]) {
                    // An eighth of each new sample.
                    let us = us.map_or(*smoothed, |us| i64::try_from(us).unwrap_or(i64::MAX));
                    *smoothed = if *smoothed == 0 { us } else { *smoothed + (us - *smoothed) / 8 };
                }
            }
            Ending::Broken => seen.fails(cool_ms, now_ms),
            Ending::Abandoned => {}
        }
    }

    fn hear(&mut self, proxy: usize, words: &Words, _: u64) {
        let Some(view) = self.views.get_mut(proxy) else { return };
        for (seen, word) in view.seen.iter_mut().zip(&words.words).filter(|(_, word)| word.heard) {
            let of = |signal| word.signals.iter().find(|(s, _)| *s == signal).map(|(_, value)| *value);
            seen.load = of(Signal::QueueDepth).zip(of(Signal::Running)).map(|(queue, running)| queue + running);
            seen.memory_ppm = of(Signal::MemoryPressure);
            seen.price = of(Signal::InputPrice).zip(of(Signal::OutputPrice));
        }
    }
}
