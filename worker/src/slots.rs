//! How many attempts a worker runs at once.
//!
//! Source: `[celery] worker_autoscale` and `worker_concurrency` of Airflow's Celery provider, and `celery/worker/autoscale.py`.

use std::time::{Duration, Instant};

use tradewind_airflow::config::{Config, ConfigError, Origin};
use tradewind_airflow::environment_class::EnvironmentClass;

/// A slot that was not needed for so long is given up, as in Celery (`AUTOSCALE_KEEPALIVE`).
const KEEPALIVE: Duration = Duration::from_secs(30);

/// Between how many slots a worker has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotBounds {
    /// Fewest.
    pub min: usize,
    /// Most; at least one.
    pub max: usize,
}

impl SlotBounds {
    /// Always as many.
    #[must_use]
    pub fn fixed(slots: usize) -> Self {
        Self { min: slots, max: slots }
    }

    /// As configured: `[celery] worker_autoscale`, else `worker_concurrency`, else `[tradewind] worker_slots`, as far as they
    /// are set; else as many as the `environment_class` is made for.
    ///
    /// # Errors
    /// When one of them makes no sense.
    pub fn from_config(config: &Config) -> Result<Self, ConfigError> {
        if let Some(text) = config.optional("celery", "worker_autoscale")? {
            let expected = "two whole numbers, the most slots and the fewest, such as 16,12";
            return Self::parse(text).ok_or_else(|| config.invalid("celery", "worker_autoscale", expected));
        }
        let is_set = |section, key| Ok(config.value(section, key)?.origin != Origin::Default);
        let key = if is_set("celery", "worker_concurrency")? {
            ("celery", "worker_concurrency")
        } else {
            ("tradewind", "worker_slots")
        };
        if let ("tradewind", false, Some(class)) =
            (key.0, is_set(key.0, key.1)?, EnvironmentClass::from_config(config)?)
        {
            return Ok(Self { min: 0, max: class.tasks_per_worker });
        }
        let slots = usize::try_from(config.int(key.0, key.1)?).ok().filter(|slots| *slots > 0);
        slots.map(Self::fixed).ok_or_else(|| config.invalid(key.0, key.1, "a whole number of at least 1"))
    }

    /// Reads `max,min`, in either order, as Celery does; `max` alone has no slots at least.
    fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split(',').map(|number| number.trim().parse::<usize>().ok());
        let (first, second) = (numbers.next()??, numbers.next().unwrap_or(Some(0))?);
        let bounds = Self { min: first.min(second), max: first.max(second) };
        (numbers.next().is_none() && bounds.max > 0).then_some(bounds)
    }
}

/// The slots of a worker: more when all are taken, fewer when they have not been needed for a while, and never fewer than are
/// taken.
#[derive(Debug)]
pub(crate) struct Slots {
    bounds: SlotBounds,
    count: usize,
    /// When so many were last needed.
    needed_at: Instant,
}

impl Slots {
    pub(crate) fn new(bounds: SlotBounds, now: Instant) -> Self {
        Self { bounds, count: bounds.min.max(1), needed_at: now }
    }

    /// Takes note of how many are taken, and returns how many there are now.
    pub(crate) fn adapt(&mut self, taken: usize, now: Instant) -> usize {
        if taken >= self.count {
            self.needed_at = now;
            // Twice as many each time: a burst soon has all there are.
            let grown = taken.saturating_mul(2).clamp(self.bounds.min.max(1), self.bounds.max).max(taken);
            if grown != self.count {
                tracing::info!(slots = grown, taken, "more slots");
            }
            self.count = grown;
        } else if now.duration_since(self.needed_at) >= KEEPALIVE {
            self.needed_at = now;
            let shrunk = taken.max(self.bounds.min).max(1);
            if shrunk != self.count {
                tracing::info!(slots = shrunk, taken, "fewer slots");
            }
            self.count = shrunk;
        }
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn celerys_form_is_understood() {
        let bounds = |min, max| Some(SlotBounds { min, max });
        for (text, expected) in [
            ("16,12", bounds(12, 16)),
            ("5,0", bounds(0, 5)),
            (" 20 , 20 ", bounds(20, 20)),
            ("4,10", bounds(4, 10)),
            ("8", bounds(0, 8)),
            ("0,0", None),
            ("1,2,3", None),
            ("many,0", None),
            ("", None),
        ] {
            assert_eq!(SlotBounds::parse(text), expected, "{text:?}");
        }
    }

    #[test]
    fn slots_grow_when_all_are_taken_and_shrink_when_they_are_not_needed_for_long() {
        let start = Instant::now();
        let mut slots = Slots::new(SlotBounds { min: 2, max: 10 }, start);
        let at = |seconds| start + Duration::from_secs(seconds);
        let steps = [
            (0, 0, 2),
            (1, 2, 4),
            (2, 4, 8),
            (3, 8, 10),
            (4, 10, 10),
            (20, 3, 10),
            (33, 3, 10),
            (34, 3, 3),
            (35, 3, 6),
            (65, 0, 2),
            (100, 0, 2),
        ];
        for (second, taken, expected) in steps {
            assert_eq!(slots.adapt(taken, at(second)), expected, "{taken} taken after {second} s");
        }
    }

    #[test]
    fn a_worker_has_a_slot_also_where_none_is_the_fewest_and_none_beyond_the_most() {
        let now = Instant::now();
        let mut slots = Slots::new(SlotBounds { min: 0, max: 1 }, now);
        assert_eq!((slots.adapt(0, now), slots.adapt(1, now)), (1, 1));
        let mut fixed = Slots::new(SlotBounds::fixed(4), now);
        assert_eq!((fixed.adapt(0, now), fixed.adapt(4, now), fixed.adapt(1, now + KEEPALIVE)), (4, 4, 4));
    }
}
