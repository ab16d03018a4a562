//! Pauses between tries that fail.

use std::time::Duration;

use rand::RngExt;

/// The pause after a first failure; each further one is twice as long.
const FIRST: Duration = Duration::from_millis(500);

/// The longest pause.
const LONGEST: Duration = Duration::from_secs(30);

/// Pauses that grow with every failure in a row, each up to a half longer by chance, so that many processes do not come back
/// at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub struct BackOff {
    failures: u32,
}

impl BackOff {
    /// Whether the last try failed.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.failures > 0
    }

    /// Counts a failure, and says how long to wait.
    pub fn failed(&mut self) -> Duration {
        let pause = FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures += 1;
        pause.mul_f64(rand::rng().random_range(1.0..1.5))
    }

    /// Notes a success. Returns whether it ends a row of failures.
    pub fn succeeded(&mut self) -> bool {
        std::mem::take(&mut self.failures) > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_begin_anew_after_a_success() {
        let mut back_off = BackOff::default();
        let pauses: Vec<Duration> = (0..40).map(|_| back_off.failed()).collect();
        assert!(pauses[0] >= FIRST && pauses[0] < FIRST * 2, "{pauses:?}");
        assert!(pauses[1] >= FIRST * 2 && pauses[2] >= FIRST * 4, "{pauses:?}");
        assert!(pauses.iter().all(|pause| *pause <= LONGEST * 3 / 2) && pauses[39] >= LONGEST, "{pauses:?}");
        assert!(back_off.succeeded() && !back_off.succeeded() && !back_off.is_failing());
        assert!(back_off.failed() < FIRST * 2);
    }
}
