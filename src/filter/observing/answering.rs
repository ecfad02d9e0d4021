//! How an attempt is answered: by the headers of its answer, and by what follows them where these say nothing yet. A gRPC
//! server may send its headers before it knows what will come of the call; then its first message or its trailers say it.

use super::{Answered, Attempt, Observing};
use crate::filter::{Host, MapKind};
use crate::health::answer::{self, Answer};
use crate::health::{Beginning, Meaning};

impl Observing {
    /// The headers of its answer are there.
    pub fn on_answer<H: Host>(&mut self, host: &H, attempt: &mut Attempt) {
        let (Some(_), None, None) = (attempt.at, attempt.answered, &attempt.open) else { return };
        let Ok(headers) = host.headers(MapKind::ResponseHeaders) else { return };
        let now_ns = host.now_ns();
        let answer = answer::read(headers.iter(), now_ns / 1_000_000);
        if answer.is_open() {
            // Whoever fails at once says so behind these headers: they are no good answer yet.
            attempt.open = Some((answer, now_ns));
        } else {
            self.begins(host, attempt, &answer, now_ns);
        }
    }

    /// Something came behind headers that said nothing yet.
    #[inline(never)]
    pub fn on_message<H: Host>(&mut self, host: &H, attempt: &mut Attempt) {
        if let Some((answer, _)) = attempt.open.take() {
            self.begins(host, attempt, &answer, host.now_ns());
        }
    }

    /// Its trailers have come: what came of a gRPC answer stands there, or with its headers where it is over with them.
    #[inline(never)]
    pub fn on_trailers<H: Host>(&mut self, host: &H, attempt: &mut Attempt) {
        attempt.on_part(0, true);
        let began = attempt.answered.filter(|it| it.is_grpc && it.meaning == Meaning::Good);
        let (Some(at), true) = (attempt.at, began.is_some() || attempt.is_open()) else { return };
        let trailers = host.headers(MapKind::ResponseTrailers).unwrap_or_default();
        let now_ns = host.now_ns();
        if let Some((mut answer, came_ns)) = attempt.open.take() {
            answer.close(trailers.iter(), now_ns / 1_000_000);
            return self.begins(host, attempt, &answer, came_ns);
        }
        let mut end = answer::read([(&b":status"[..], &b"200"[..])].into_iter(), 0);
        end.close(trailers.iter(), now_ns / 1_000_000);
        let meaning = end.meaning();
        self.member.with(|reporter| reporter.observer.turned(at, meaning, &end.said, now_ns / 1_000_000));
        self.counters.dropped(host, &end.dropped);
        if let Some(it) = &mut attempt.answered {
            // How long bad work took is not how long work takes.
            it.meaning = meaning;
        }
        if matches!(meaning, Meaning::Failed | Meaning::Overloaded) {
            self.counters.answered(host, meaning);
        }
    }

    pub(super) fn begins<H: Host>(&mut self, host: &H, attempt: &mut Attempt, answer: &Answer, now_ns: u64) {
        let Some(at) = attempt.at else { return };
        let first_byte_us = now_ns.saturating_sub(attempt.begun_ns) / 1_000;
        let meaning = answer.meaning();
        let (output_tokens, is_grpc, switched) = (answer.output_tokens, answer.is_grpc(), answer.is_switch());
        attempt.answered = Some(Answered { meaning, first_byte_us, output_tokens, is_grpc, switched });
        if switched {
            self.member.with(|reporter| reporter.observer.switched(at));
        }
        let beginning = Beginning {
            meaning,
            first_byte_us: Some(first_byte_us),
            said: &answer.said,
            retry_after_s: answer.retry_after_s,
        };
        self.member.with(|reporter| reporter.observer.answered(at, &beginning, now_ns / 1_000_000));
        self.fell.answered(host, &self.member, (at, &attempt.before), (answer.status, meaning), now_ns);
        self.counters.answered(host, meaning);
        self.counters.dropped(host, &answer.dropped);
    }
}
