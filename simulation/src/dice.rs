//! The one source of chance: everything that a simulation decides follows from its seed.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Dice that fall the same way for the same seed.
#[derive(Debug)]
pub(crate) struct Dice(StdRng);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    /// A number from `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: i64, high: i64) -> i64 {
        self.0.random_range(low..=high)
    }

    /// Whether something happens that happens `times` in a thousand.
    pub(crate) fn per_mille(&mut self, times: i64) -> bool {
        self.between(0, 999) < times
    }

    /// One of several, if there are any.
    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        let last = i64::try_from(from.len()).ok()? - 1;
        (last >= 0)
            .then(|| usize::try_from(self.between(0, last)).unwrap_or(0))
            .and_then(|place| from.get(place).copied())
    }

    /// 32 bytes for another generator.
    pub(crate) fn bytes(&mut self) -> [u8; 32] {
        self.0.random()
    }
}
