//! What this VM placed since the snapshot and is probably still under way. A count of placements alone would only grow
//! while no snapshot comes, until every substrate looked full; and requests shorter than the snapshot's period would
//! count as if they all ran at once.

/// A thousandth of a request: what is left of one after some of its time has passed.
const WHOLE: i64 = 1_000;
/// How much a new expectation changes the mean, as a part.
const PART: i64 = 8;

/// The estimate, by position, be it of a substrate or of a tenant at one: requests leave at the rate at which those placed are expected to end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Underway {
    rows: Vec<Row>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Row {
    load: i64,
    mean_us: i64,
}

impl Underway {
    /// Counts a request that was placed and is expected to take so long. `placed` has the new estimate.
    pub fn begin(&mut self, at: usize, expected_us: i64, placed: &mut Vec<u32>) {
        if self.rows.len() <= at {
            self.rows.resize(at + 1, Row::default());
        }
        if placed.len() < self.rows.len() {
            placed.resize(self.rows.len(), 0);
        }
        if let (Some(row), Some(cell)) = (self.rows.get_mut(at), placed.get_mut(at)) {
            let expected_us = expected_us.max(1);
            row.mean_us = if row.mean_us == 0 { expected_us } else { row.mean_us + (expected_us - row.mean_us) / PART };
            row.load = row.load.saturating_add(WHOLE);
            *cell = row.requests();
        }
    }

    /// Lets time pass.
    pub fn elapse(&mut self, us: i64, placed: &mut [u32]) {
        for (row, cell) in self.rows.iter_mut().zip(placed) {
            if row.load > 0 {
                let mean_us = row.mean_us.max(1);
                let gone = i128::from(row.load) * i128::from(us.clamp(0, mean_us)) / i128::from(mean_us);
                // At least a thousandth goes, or the last of it would stay for ever.
                row.load = row.load.saturating_sub(i64::try_from(gone).unwrap_or(i64::MAX).max(1)).max(0);
                *cell = row.requests();
            }
        }
    }

    /// Begins anew: a snapshot that was just taken has counted them all.
    pub fn clear(&mut self, placed: &mut [u32]) {
        self.rows.iter_mut().for_each(|row| row.load = 0);
        placed.fill(0);
    }
}

impl Row {
    /// Rounded up: a request that has begun counts until it is surely over.
    fn requests(self) -> u32 {
        u32::try_from((self.load + WHOLE - 1) / WHOLE).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::Underway;

    #[test]
    fn requests_that_are_shorter_than_the_wait_for_a_snapshot_do_not_pile_up() {
        let (mut underway, mut placed) = (Underway::default(), Vec::new());
        // A hundred a second of fifty milliseconds each: five at once, on average.
        for _ in 0..1_000 {
            underway.begin(1, 50_000, &mut placed);
            underway.elapse(10_000, &mut placed);
        }
        assert!((4..=6).contains(&placed[1]), "{placed:?}");
    }

    #[test]
    fn long_requests_count_until_a_snapshot_has_them() {
        let (mut underway, mut placed) = (Underway::default(), Vec::new());
        for _ in 0..100 {
            underway.begin(0, 60_000_000, &mut placed);
            underway.elapse(1_000, &mut placed);
        }
        assert_eq!(placed, [100]);
        underway.clear(&mut placed);
        assert_eq!(placed, [0]);
        underway.begin(0, 60_000_000, &mut placed);
        assert_eq!(placed, [1], "nothing is left of those before");
    }

    #[test]
    fn the_last_one_ends_too() {
        let (mut underway, mut placed) = (Underway::default(), Vec::new());
        underway.begin(0, 1_000_000, &mut placed);
        for _ in 0..10_000 {
            underway.elapse(10_000, &mut placed);
        }
        assert_eq!(placed, [0]);
    }

    #[test]
    fn the_load_falls_by_the_part_of_the_mean_that_has_passed_and_by_a_thousandth_at_least() {
        let load = |steps: &[i64]| {
            let (mut underway, mut placed) = (Underway::default(), Vec::new());
            underway.begin(0, 1_000_000, &mut placed);
            steps.iter().for_each(|us| underway.elapse(*us, &mut placed));
            underway.rows[0].load
        };
        assert_eq!([load(&[]), load(&[250_000]), load(&[1_000_000]), load(&[9_000_000])], [1_000, 750, 0, 0]);
        // The shortest there is.
        let (mut underway, mut placed) = (Underway::default(), Vec::new());
        underway.begin(0, 1, &mut placed);
        underway.elapse(1, &mut placed);
        assert_eq!(placed, [0]);
        assert_eq!([load(&[0]), load(&[10]), load(&[-5]), load(&[0, 0])], [999, 999, 999, 998]);
    }

    #[test]
    fn an_expectation_moves_the_mean_by_an_eighth() {
        let mut underway = Underway::default();
        let mut placed = Vec::new();
        underway.begin(2, 800, &mut placed);
        underway.begin(2, 1_600, &mut placed);
        assert_eq!((underway.rows[2].mean_us, underway.rows[2].load), (900, 2_000));
        underway.begin(2, 0, &mut placed);
        assert_eq!(underway.rows[2].mean_us, 900 - 112);
        assert_eq!(placed, [0, 0, 3]);
    }

    #[test]
    fn a_thousandth_is_still_a_request_and_what_takes_no_time_takes_a_microsecond() {
        let after = |expected_us: &[i64], steps: usize, us: i64| {
            let (mut underway, mut placed) = (Underway::default(), Vec::new());
            expected_us.iter().for_each(|expected| underway.begin(0, *expected, &mut placed));
            (0..steps).for_each(|_| underway.elapse(us, &mut placed));
            (underway.rows[0].mean_us, underway.rows[0].load, placed[0])
        };
        // Where no time passes a thousandth goes each time, however short they are.
        assert_eq!(after(&[100], 1, 0), (100, 999, 1));
        assert_eq!(after(&[100], 999, 0), (100, 1, 1));
        assert_eq!(after(&[100], 1_000, 0), (100, 0, 0));
        assert_eq!(after(&[0, 8_001], 0, 0), (1_001, 2_000, 2));
    }
}
