//! Simulation: what routing costs that looks at one thing only, and what the core does at scales that no test machine has.
//!
//! A discrete-event simulation, deterministic to the byte: [`arrivals`] ask, a [`router`] places them with the *same*
//! [`crate::place`] and [`crate::health`] as the filter, [`server`]s do the work with the physics of their kind, `faults`
//! befall them, [`law`] judges every attempt a second time, and [`measure`] counts. Time is in microseconds; no clock, no
//! floats, no order that depends on hashing.

pub mod arrivals;
mod bills;
mod bounds;
mod build;
mod close;
pub mod event;
pub mod experiment;
mod faults;
pub mod figures;
mod flow;
pub mod goals;
pub mod held;
pub mod law;
pub mod ledger;
pub mod measure;
mod pace;
mod pairs;
mod panel;
pub mod random;
pub mod read;
pub mod report;
pub mod router;
pub mod scenario;
pub mod server;
mod why;
mod world;

pub use build::Build;
pub use figures::Figures;
pub use read::read;
pub use scenario::Scenario;
pub use world::START_MS;

use crate::model::Document;
use arrivals::Line;
use router::Router;
use world::{Happening, World};

/// Runs a scenario with one router. `scale_ppm` makes the load larger or smaller; `progress` is told now and then how far
/// simulated time has come, in millionths.
#[must_use]
pub fn run(
    scenario: &Scenario,
    document: &Document,
    router: Box<dyn Router>,
    trace: &[Line],
    scale_ppm: u64,
    progress: &mut dyn FnMut(u64),
) -> Figures {
    let mut world = World::new(scenario, document, router, trace, scale_ppm);
    world.start();
    let mut told = 0;
    while let Some(what) = world.pop() {
        match what {
            Happening::Arrive => world.arrive(),
            Happening::Retry(at) => world.retry(at),
            Happening::Reach(id, life) => world.reach(id, life),
            Happening::Head(id, life) => world.head(id, life),
            Happening::End(id, life) => world.end(id, life),
            Happening::Timeout(id, life) => world.timeout(id, life),
            Happening::Sample(proxy) => world.sample(proxy),
            Happening::Take(proxy) => world.take(proxy),
            Happening::Fault(at, turn) => world.fault(at, turn),
            Happening::Prove => world.prove(),
            Happening::Meter => world.meter(),
        }
        let done = (world.now_us * 1_000 / scenario.duration_ms.max(1)).min(1_000_000);
        if done >= told + 10_000 {
            told = done;
            progress(done);
        }
    }
    let found = world.router.found().into_iter().map(|(at_ms, at)| (at_ms.saturating_sub(START_MS), at));
    let mut found: Vec<_> = found.collect();
    found.sort_unstable();
    Figures { found, ..world.measures.figures(scenario) }
}
