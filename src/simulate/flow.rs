//! The life of a request: asked, attempted, answered; or refused, failed, too late, and perhaps asked again.

use super::arrivals::Arrival;
use super::close::Outcome;
use super::ledger::Answered;
use super::measure::End;
use super::router::{Answer, Stop};
use super::server::Reception;
use super::world::{Attempt, Happening, Request, World, class_of, facts};
use crate::health::{Beginning, Ending, Meaning};
use crate::model::Signal;

impl World<'_> {
    pub(super) fn arrive(&mut self) {
        let Some(arrival) = self.next.take() else { return };
        self.next = self.arrivals.next();
        if let Some(next) = self.next {
            self.later(next.at_us, Happening::Arrive);
        }
        let (Some(kind), Some(headers)) = (self.scenario.load.mix.get(arrival.mix), self.headers.get(arrival.mix))
        else {
            return;
        };
        let class = class_of(self.document, &facts(kind, headers, arrival.input));
        self.measures.arrived(&arrival, class);
        let request = Request { arrival, class, asked_us: self.now_us, first_us: self.now_us, ..Request::default() };
        let at = self.idle_requests.pop().unwrap_or(self.requests.len());
        if at == self.requests.len() {
            self.requests.push(request);
        } else if let Some(slot) = self.requests.get_mut(at) {
            *slot = request;
        }
        self.dispatch(at);
    }

    /// A caller asks again. The proxy cannot know that it is not the first time: the deadline that it keeps begins anew, as
    /// the time-out of most clients does, which counts for one try. Whether the answer is in time is judged from the first.
    pub(super) fn retry(&mut self, at: usize) {
        let now_us = self.now_us;
        if let Some(request) = self.requests.get_mut(at) {
            (request.asked_us, request.attempts, request.late) = (now_us, 0, false);
            (request.stops, request.whole) = ([None; 3], false);
        }
        self.dispatch(at);
    }

    fn dispatch(&mut self, at: usize) {
        let Some(request) = self.requests.get(at).copied() else { return };
        match self.asked(&request, |router, ask, servers| router.ask(ask, servers)) {
            Some(Answer::Go { stops, whole }) => {
                if let Some(request) = self.requests.get_mut(at) {
                    (request.stops, request.whole) = (stops, whole);
                }
                self.onwards(at);
            }
            Some(Answer::Refused { why, wait_ms }) => {
                self.measures.refused(&request.arrival, why);
                self.over(at, End::Refused, wait_ms);
            }
            None => self.over(at, End::Failed, None),
        }
    }

    /// The next attempt of a request, if there is one.
    pub(super) fn onwards(&mut self, at: usize) {
        let Some(request) = self.requests.get(at).copied() else { return };
        let Some(class) = self.document.classes.get(request.class) else { return };
        let planned = request.stops.get(request.attempts).copied().flatten();
        let more = request.attempts < usize::from(class.attempts.most.clamp(1, 3));
        let in_time = self.now_us < request.asked_us + u64::from(class.deadline_ms) * 1_000;
        let stop = match planned {
            _ if !more || !in_time => None,
            Some(stop) => Some(stop),
            None if request.whole => None,
            None => self.asked(&request, |router, ask, servers| router.again(ask, servers)).flatten(),
        };
        match stop {
            Some(stop) => self.send(at, stop),
            None => self.over(at, if request.late || !in_time { End::Late } else { End::Failed }, None),
        }
    }

    fn send(&mut self, at: usize, stop: Stop) {
        let Some(request) = self.requests.get_mut(at) else { return };
        let first = request.attempts == 0;
        if let Some(slot) = request.tried.get_mut(request.attempts) {
            *slot = stop.substrate;
        }
        request.attempts += 1;
        let request = *request;
        let substrate = usize::from(stop.substrate);
        let ruling = self.rulings(&request).get(substrate).copied().unwrap_or_default();
        self.measures.sent(&request.arrival, substrate, ruling, first, self.now_us);
        self.router.began(&request.arrival, stop.substrate);
        let id = self.idle_attempts.pop().unwrap_or(self.attempts.len());
        let life = self.attempts.get(id).map_or(0, |a| a.life);
        let attempt = Attempt {
            life,
            request: at,
            arrival: request.arrival,
            substrate,
            began_us: self.now_us,
            alive: true,
            ..Attempt::default()
        };
        match self.attempts.get_mut(id) {
            Some(slot) => *slot = attempt,
            None => self.attempts.push(attempt),
        }
        self.later(self.now_us + self.path_us(request.arrival.mix, substrate), Happening::Reach(id, life));
        let deadline = request.asked_us + self.deadline_us(&request);
        let limit = deadline.min(self.now_us.saturating_add(u64::from(stop.per_try_ms) * 1_000));
        self.later(limit, Happening::Timeout(id, life));
    }

    fn deadline_us(&self, request: &Request) -> u64 {
        self.document.classes.get(request.class).map_or(0, |c| u64::from(c.deadline_ms) * 1_000)
    }

    pub(super) fn streams(&self, arrival: &Arrival) -> bool {
        self.scenario.load.mix.get(arrival.mix).is_some_and(|m| m.streaming)
    }

    pub(super) fn live(&self, id: usize, life: u32) -> Option<Attempt> {
        self.attempts.get(id).copied().filter(|a| a.alive && a.life == life)
    }

    pub(super) fn reach(&mut self, id: usize, life: u32) {
        let Some(attempt) = self.live(id, life) else { return };
        let Some(server) = self.servers.get_mut(attempt.substrate) else { return };
        let work = Self::work(id, &attempt);
        let failed = |status, retry_after_s| Outcome { status, retry_after_s, late: false };
        let reception = server.receive(work, self.now_us);
        // A connection that is refused hands nothing over.
        if reception != Reception::Refused {
            self.judge(&attempt);
        }
        match reception {
            Reception::Taken => {
                let now_us = self.now_us;
                self.attempts.get_mut(id).into_iter().for_each(|a| (a.held, a.reached_us) = (true, now_us));
                self.pump(attempt.substrate);
            }
            Reception::Refused => self.fail(id, failed(0, None)),
            Reception::Fails => self.fail(id, failed(500, None)),
            Reception::Overloaded(hint) => self.fail(id, failed(429, hint)),
        }
    }

    /// Whether what was handed over is where it may be, at this moment.
    fn judge(&mut self, attempt: &Attempt) {
        let Some(request) = self.requests.get(attempt.request).copied() else { return };
        let ruling = self.rulings(&request).get(attempt.substrate).copied().unwrap_or_default();
        let proved = self.proved(ruling, attempt.substrate);
        self.measures.judged(&attempt.arrival, ruling.permitted, proved);
    }

    pub(super) fn end(&mut self, id: usize, life: u32) {
        // Of one whose pace has changed, only the last word counts.
        let now_us = self.now_us;
        let due = |a: &Attempt| a.course.is_some_and(|c| c.end_us == now_us);
        let Some(attempt) = self.live(id, life).filter(due) else { return };
        let arrival = attempt.arrival;
        self.servers.get_mut(attempt.substrate).into_iter().for_each(|s| s.end(arrival.input, arrival.output));
        self.pay(&attempt, u64::from(arrival.output));
        self.free(id);
        if !attempt.orphan {
            self.succeed(&attempt);
        }
        self.pump(attempt.substrate);
    }

    /// The proxy sees a good answer begin.
    pub(super) fn begun(&mut self, attempt: &Attempt) {
        let remaining = self.servers.get_mut(attempt.substrate).and_then(|s| s.remaining(self.now_us));
        let said: Vec<(Signal, i64)> = remaining.into_iter().map(|left| (Signal::RateRemaining, left)).collect();
        let head = Beginning {
            meaning: Meaning::Good,
            first_byte_us: attempt.course.map(|c| c.first_us - attempt.began_us),
            said: &said,
            retry_after_s: None,
        };
        self.router.answered(&attempt.arrival, attempt.substrate, &head, self.now_ms());
    }

    fn succeed(&mut self, attempt: &Attempt) {
        let (arrival, began) = (attempt.arrival, attempt.began_us);
        let first_us = attempt.course.map_or(self.now_us, |c| c.first_us);
        if !attempt.headed {
            self.begun(attempt);
        }
        let ending = Ending::Whole {
            meaning: Meaning::Good,
            first_byte_us: Some(first_us - began),
            total_us: self.now_us - began,
            bytes: u64::from(arrival.output) * 4,
            output_tokens: Some(arrival.output),
        };
        self.router.ended(&arrival, attempt.substrate, &ending, self.now_ms());
        let Some(request) = self.requests.get(attempt.request).copied() else { return };
        let answered = if self.streams(&arrival) { first_us } else { self.now_us };
        let latency_us = answered - request.first_us;
        let end = if latency_us <= self.deadline_us(&request) { End::Good } else { End::Late };
        let whole_us = self.now_us - request.first_us;
        let answered = Answered { latency_us, whole_us, substrate: attempt.substrate, quality_ppm: 0 };
        self.close(attempt.request, end, answered);
    }

    pub(super) fn timeout(&mut self, id: usize, life: u32) {
        let Some(attempt) = self.live(id, life).filter(|a| !a.orphan) else { return };
        let Some(request) = self.requests.get(attempt.request).copied() else { return };
        let deadline = request.asked_us + self.deadline_us(&request);
        let begun = attempt.course.is_some_and(|c| c.first_us <= self.now_us);
        if begun && self.streams(&attempt.arrival) {
            return;
        }
        if begun && self.now_us < deadline {
            self.later(deadline, Happening::Timeout(id, life));
            return;
        }
        self.abandon(id);
        let outcome = Outcome { status: 0, retry_after_s: None, late: true };
        self.answer(&attempt, outcome);
    }

    /// Nobody waits for an attempt any more. Most servers notice; some work on.
    fn abandon(&mut self, id: usize) {
        let Some(attempt) = self.attempts.get_mut(id) else { return };
        let copy = *attempt;
        let Some(server) = self.servers.get_mut(copy.substrate) else { return };
        if copy.held && server.finishes() {
            attempt.orphan = true;
            return;
        }
        if let Some(course) = copy.course {
            server.end(copy.arrival.input, copy.arrival.output);
            let whole = course.end_us.saturating_sub(course.first_us).max(1);
            let part = self.now_us.saturating_sub(course.first_us).min(whole);
            self.pay(&copy, u64::from(copy.arrival.output) * part / whole);
        } else {
            server.waiting.retain(|w| w.attempt != id);
        }
        self.free(id);
        self.pump(copy.substrate);
    }

    /// An attempt fails without the substrate holding it any more.
    fn fail(&mut self, id: usize, outcome: Outcome) {
        let Some(attempt) = self.attempts.get(id).copied() else { return };
        self.free(id);
        self.answer(&attempt, outcome);
    }

    /// Whatever a substrate held is lost.
    pub(super) fn lose(&mut self, substrate: usize) {
        if let Some(server) = self.servers.get_mut(substrate) {
            server.waiting.clear();
        }
        let held = |a: &Attempt| a.alive && a.held && a.substrate == substrate;
        let lost: Vec<usize> = (0..).zip(&self.attempts).filter(|(_, a)| held(a)).map(|(id, _)| id).collect();
        for id in lost {
            let Some(attempt) = self.attempts.get(id).copied() else { continue };
            if attempt.course.is_some() {
                let (input, output) = (attempt.arrival.input, attempt.arrival.output);
                self.servers.get_mut(substrate).into_iter().for_each(|s| s.end(input, output));
            }
            self.free(id);
            if !attempt.orphan {
                self.answer(&attempt, Outcome { status: 0, retry_after_s: None, late: false });
            }
        }
    }
}
