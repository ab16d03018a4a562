//! How busy this process is: of a container, where it is the only one in it, that is how busy the container is.

use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;

/// Looks at this process from time to time.
#[derive(Debug)]
pub struct Meter {
    last: (Instant, Option<Duration>),
}

impl Default for Meter {
    /// Begins to look.
    fn default() -> Self {
        Self { last: (Instant::now(), used()) }
    }
}

impl Meter {
    /// Processor time since the last look, in percent of what the process may use: all processors of the machine, or as many as
    /// its control group and its affinity allow.
    pub fn cpu(&mut self) -> f64 {
        let now = (Instant::now(), used());
        let last = std::mem::replace(&mut self.last, now);
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        match (last.1, now.1) {
            (Some(before), Some(after)) => percent(after.saturating_sub(before), now.0 - last.0, processors),
            _ => 0.0,
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a number of processors")]
fn percent(used: Duration, passed: Duration, processors: usize) -> f64 {
    let available = passed.as_secs_f64() * processors as f64;
    if available > 0.0 { (used.as_secs_f64() / available * 100.0).clamp(0.0, 100.0) } else { 0.0 }
}

/// Processor time of all threads since the process began.
fn used() -> Option<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    Some(duration(usage.user_time()) + duration(usage.system_time()))
}

fn duration(time: TimeVal) -> Duration {
    let microseconds = u64::try_from(time.tv_sec() * 1_000_000 + time.tv_usec()).unwrap_or_default();
    Duration::from_micros(microseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_load_is_a_share_of_all_processors() {
        let second = Duration::from_secs(1);
        assert_eq!(percent(second, second, 2), 50.0);
        assert_eq!(percent(second * 9, second, 2), 100.0);
        assert_eq!(percent(second, Duration::ZERO, 2), 0.0);
    }

    #[test]
    fn a_process_that_computes_has_a_load() {
        let mut meter = Meter::default();
        let begin = Instant::now();
        let mut sum = 0_u64;
        while begin.elapsed() < Duration::from_millis(100) {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(meter.cpu() > 0.0);
    }
}
