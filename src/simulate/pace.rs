//! When work begins, when its answer begins, and what becomes of what runs while its substrate becomes slower or faster.

use super::world::{Attempt, Happening, World};

impl World<'_> {
    /// Begins whatever fits now.
    pub(super) fn pump(&mut self, substrate: usize) {
        let now_us = self.now_us;
        while let Some((work, course)) = self.servers.get_mut(substrate).and_then(|s| s.begin(now_us)) {
            let Some(attempt) = self.attempts.get_mut(work.attempt) else { continue };
            attempt.course = Some(course);
            let (arrival, waited_us) = (attempt.arrival, now_us.saturating_sub(attempt.reached_us));
            self.measures.waited(&arrival, waited_us);
            self.expect(work.attempt);
        }
    }

    /// Waits for the head of a stream that has not come yet, and for its end.
    fn expect(&mut self, id: usize) {
        let Some(Attempt { life, arrival, course: Some(course), .. }) = self.attempts.get(id).copied() else { return };
        if self.streams(&arrival) && course.first_us >= self.now_us {
            self.later(course.first_us, Happening::Head(id, life));
        }
        self.later(course.end_us, Happening::End(id, life));
    }

    /// What runs goes on at another speed: what is left of it takes so much longer, or shorter.
    pub(super) fn repace(&mut self, substrate: usize, before_ppm: u64, after_ppm: u64) {
        if before_ppm == after_ppm {
            return;
        }
        let now_us = self.now_us;
        let moved = |at_us: u64| at_us.min(now_us) + at_us.saturating_sub(now_us) * after_ppm / before_ppm.max(1);
        for id in 0..self.attempts.len() {
            let Some(attempt) = self.attempts.get_mut(id).filter(|a| a.alive && a.substrate == substrate) else {
                continue;
            };
            let Some(course) = &mut attempt.course else { continue };
            (course.first_us, course.end_us) = (moved(course.first_us), moved(course.end_us));
            self.expect(id);
        }
    }

    /// The head of an answer is there: its stream begins.
    pub(super) fn head(&mut self, id: usize, life: u32) {
        let now_us = self.now_us;
        let due = |a: &Attempt| !(a.orphan || a.headed) && a.course.is_some_and(|c| c.first_us == now_us);
        if let Some(attempt) = self.live(id, life).filter(due) {
            self.attempts.get_mut(id).into_iter().for_each(|a| a.headed = true);
            self.begun(&attempt);
        }
    }
}
