//! The router that cannot be built: it knows the true state of everything at every moment, keeps the law and never starts
//! what cannot be finished in time. What is compared with it is compared with the ideal.

use super::{Answer, Ask, Router, Stop, Words, per_try_ms};
use crate::health::{Beginning, Ending};
use crate::simulate::arrivals::Arrival;
use crate::simulate::server::Server;

/// The ideal.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ideal;

impl Ideal {
    fn best(ask: &Ask, servers: &[Server]) -> Option<Stop> {
        let stream = ask.facts.streaming.is_some_and(|f| f.value);
        let (input, output) = (ask.arrival.input, ask.arrival.output);
        let standing = (0..).zip(servers).filter(|(at, server)| {
            let place = usize::from(*at);
            let lawful = ask.rulings.get(place).zip(ask.substrates.get(place)).is_some_and(|(ruling, declared)| {
                let age_ms = ask.now_ms.saturating_sub(server.proved_ms);
                let here = server.country == declared.location.jurisdiction;
                ruling.permitted && ruling.proof_ms.is_none_or(|most| here && age_ms <= most)
            });
            lawful && ask.able(place) && server.takes(ask.now_us) && !ask.tried.contains(at)
        });
        let limit = (u64::from(ask.class.deadline_ms) * 1_000).saturating_sub(ask.waited_us);
        // Failing costs the caller its time: so much of it as answers fail.
        let rated = standing.map(|(at, server): (u16, &Server)| {
            let us = server.outlook_us(input, output, stream);
            (us + limit * server.errors_ppm / 1_000_000, us, at)
        });
        let (_, _, at) = rated.filter(|(_, us, _)| *us <= limit).min()?;
        Some(Stop { substrate: at, per_try_ms: per_try_ms(ask.class) })
    }
}

impl Router for Ideal {
    fn ask(&mut self, ask: &Ask, servers: &[Server]) -> Answer {
        match Self::best(ask, servers) {
            Some(stop) => Answer::Go { stops: [Some(stop), None, None], whole: false },
            None => Answer::Refused { why: "late", wait_ms: Some(1_000) },
        }
    }

    fn again(&mut self, ask: &Ask, servers: &[Server]) -> Option<Stop> {
        Self::best(ask, servers)
    }

    fn began(&mut self, _: &Arrival, _: u16) {}
    fn answered(&mut self, _: &Arrival, _: usize, _: &Beginning<'_>, _: u64) {}
    fn ended(&mut self, _: &Arrival, _: usize, _: &Ending, _: u64) {}
    fn hear(&mut self, _: usize, _: &Words, _: u64) {}
}
