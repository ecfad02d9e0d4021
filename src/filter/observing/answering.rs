//! How an attempt is answered: by the headers of its answer, and by what follows them where these say nothing yet. A gRPC
//! server may send its headers before it knows what will come of the call; then its first message or its trailers say it.

use super::{Answered, Attempt, Observing};
use crate::filter::{Headers, Host, MapKind};
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
            attempt.open = Some(answer);
        } else {
            self.begins(host, attempt, &answer, now_ns);
        }
    }

    /// Something came behind headers that said nothing yet.
    #[inline(never)]
    pub fn on_message<H: Host>(&mut self, host: &H, attempt: &mut Attempt) {
        if let Some(answer) = attempt.open.take() {
            self.begins(host, attempt, &answer, host.now_ns());
        }
    }

    /// Its trailers have come: what came of a gRPC answer stands there.
    #[inline(never)]
    pub fn on_trailers<H: Host>(&mut self, host: &H, attempt: &mut Attempt) {
        attempt.on_part(0, true);
        if attempt.owes() {
            let trailers = host.headers(MapKind::ResponseTrailers).ok();
            self.closes(host, attempt, trailers.as_ref());
        }
    }

    /// A gRPC answer is over, with trailers or without. Where the proxy did not hand them over it is what it was.
    pub(super) fn closes<H: Host>(&mut self, host: &H, attempt: &mut Attempt, trailers: Option<&Headers>) {
        let Some(at) = attempt.at else { return };
        let now_ns = host.now_ns();
        let close = |answer: &mut Answer| {
            if let Some(trailers) = trailers {
                answer.close(trailers.iter(), now_ns / 1_000_000);
            }
        };
        if let Some(mut answer) = attempt.open.take() {
            close(&mut answer);
            self.begins(host, attempt, &answer, now_ns);
        } else if let Some(it) = &mut attempt.answered {
            let mut end = answer::read([(&b":status"[..], &b"200"[..])].into_iter(), 0);
            close(&mut end);
            let meaning = end.meaning();
            // How long bad work took is not how long work takes.
            it.meaning = meaning;
            let told = Beginning { meaning, first_byte_us: None, said: &end.said, retry_after_s: end.retry_after_s };
            self.member.with(|reporter| reporter.observer.turned(at, &told, now_ns / 1_000_000));
            self.counters.dropped(host, &end.dropped);
            if matches!(meaning, Meaning::Failed | Meaning::Overloaded) {
                self.counters.answered(host, meaning);
            }
        }
        if let Some(it) = &mut attempt.answered {
            it.owes = false;
        }
    }

    pub(super) fn begins<H: Host>(&mut self, host: &H, attempt: &mut Attempt, answer: &Answer, now_ns: u64) {
        let Some(at) = attempt.at else { return };
        let first_byte_us = now_ns.saturating_sub(attempt.begun_ns) / 1_000;
        let meaning = answer.meaning();
        let (output_tokens, owes, switched) = (answer.output_tokens, answer.is_open(), answer.is_switch());
        attempt.answered = Some(Answered { meaning, first_byte_us, output_tokens, owes, switched });
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
