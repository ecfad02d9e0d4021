//! How a request ends, or goes on: what the proxy sees of an attempt, whether the caller asks again, what is paid.

use super::ledger::Answered;
use super::measure::End;
use super::random::mix;
use super::world::{Attempt, Happening, World};
use crate::health::{Beginning, Ending, Meaning};

/// Bytes of a token of an answer.
const BYTES_PER_TOKEN: i128 = 4;

/// How an attempt ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outcome {
    pub(super) status: u16,
    pub(super) retry_after_s: Option<u32>,
    /// By time, not by an answer.
    pub(super) late: bool,
}

impl World<'_> {
    /// The proxy sees how an attempt failed, and goes on if it may.
    pub(super) fn answer(&mut self, attempt: &Attempt, outcome: Outcome) {
        let (arrival, at, now_ms) = (&attempt.arrival, attempt.substrate, self.now_ms());
        let Outcome { status, retry_after_s, .. } = outcome;
        if status == 0 {
            self.router.ended(arrival, at, &Ending::Broken, now_ms);
        } else {
            let meaning = Meaning::of(status, retry_after_s.is_some());
            self.router.answered(
                arrival,
                at,
                &Beginning { meaning, first_byte_us: None, said: &[], retry_after_s },
                now_ms,
            );
            self.router.ended(arrival, at, &Ending::Abandoned, now_ms);
        }
        let Some(request) = self.requests.get_mut(attempt.request) else { return };
        request.late |= outcome.late;
        let class = self.document.classes.get(request.class);
        // Refused connections, 429 and 503 were never begun; what was begun may be begun again only where it says so.
        let untouched = matches!(outcome.status, 429 | 503) || (outcome.status == 0 && attempt.course.is_none());
        let untouched = untouched && !outcome.late;
        if untouched || class.is_some_and(|c| c.attempts.repeatable) {
            self.onwards(attempt.request);
        } else {
            self.over(attempt.request, if outcome.late { End::Late } else { End::Failed }, None);
        }
    }

    /// A request was not answered: the caller tries again, or gives up.
    pub(super) fn over(&mut self, at: usize, end: End, wait_ms: Option<u64>) {
        let clients = self.scenario.clients;
        let Some(request) = self.requests.get_mut(at) else { return };
        if request.retries >= clients.retries {
            self.close(at, end, Answered::default());
            return;
        }
        request.retries += 1;
        let backoff = clients.backoff_ms << (request.retries - 1).min(16);
        // Between half and one and a half of it.
        let luck = mix(request.arrival.id ^ u64::from(request.retries)) % 1_000;
        let wait = wait_ms.filter(|_| clients.patient).unwrap_or(backoff * (500 + luck) / 1_000);
        self.later(self.now_us + wait * 1_000, Happening::Retry(at));
    }

    pub(super) fn close(&mut self, at: usize, end: End, answered: Answered) {
        let Some(request) = self.requests.get(at).copied() else { return };
        let Some(class) = self.document.classes.get(request.class) else { return };
        let model = self.scenario.load.mix.get(request.arrival.mix).and_then(|m| m.model.as_deref());
        let offers = self.document.substrates.get(answered.substrate).map(|s| s.capabilities.models.as_slice());
        let offer = offers.into_iter().flatten().find(|o| model.is_none_or(|m| m == o.model));
        let answered = Answered { quality_ppm: offer.map_or(0, |o| o.quality_ppm), ..answered };
        self.measures.ended(&request.arrival, (request.class, class), end, answered);
        self.idle_requests.push(at);
    }

    pub(super) fn free(&mut self, id: usize) {
        if let Some(attempt) = self.attempts.get_mut(id) {
            attempt.alive = false;
            attempt.life = attempt.life.wrapping_add(1);
            self.idle_attempts.push(id);
        }
    }

    pub(super) fn pay(&mut self, attempt: &Attempt, output: u64) {
        let Some(s) = self.document.substrates.get(attempt.substrate) else { return };
        let price = self.servers.get(attempt.substrate).map_or(1_000_000, |s| i128::from(s.price_ppm));
        let (input, output) = (i128::from(attempt.arrival.input), i128::from(output));
        let cost = &s.cost;
        let listed = i128::from(cost.input_pusd_per_token) * input + i128::from(cost.output_pusd_per_token) * output;
        let more = i128::from(cost.energy_pusd_per_token + cost.licence_pusd_per_token) * (input + output);
        let request = i128::from(cost.request_uusd) * 1_000_000;
        let mix = self.scenario.load.mix.get(attempt.arrival.mix);
        let region = mix.and_then(|m| m.region.as_deref());
        let to = |e: &&crate::model::substrate::Egress| e.to_region.as_ref().map(|r| r.as_str()) == region;
        let egress = cost.egress.iter().find(to).or(cost.egress.iter().find(|e| e.to_region.is_none()));
        let zone = mix.and_then(|m| m.zone.as_deref());
        let links = self.document.settings.links.iter();
        let link = links.filter(|l| zone == Some(l.from.as_str()) && l.to == s.location.zone).map(|l| l.pusd_per_byte);
        let per_byte = egress.map_or(0, |e| e.pusd_per_byte) + link.sum::<i64>();
        let paid = listed * price / 1_000_000 + more + request;
        self.measures.paid(&attempt.arrival, paid, i128::from(per_byte) * output * BYTES_PER_TOKEN);
    }
}
