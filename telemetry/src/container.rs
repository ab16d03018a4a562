//! How busy the container is: by its control group where it has limits, else by the machine, which is what a Fargate task has
//! for itself.

use std::fs;
use std::time::Instant;

/// Percent of what there is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Load {
    pub(crate) cpu: f64,
    pub(crate) memory: f64,
}

/// Looks at the container from time to time.
#[derive(Debug)]
pub(crate) struct Meter {
    last: Option<(Instant, CpuTime)>,
}

/// Processor time used by the container and what it might have used, in seconds since it began.
#[derive(Debug, Clone, Copy, PartialEq)]
enum CpuTime {
    /// Of a control group: what it used, and how many processors it may use.
    Group { used: f64, processors: f64 },
    /// Of the machine: what was used and what there was, over all processors.
    Machine { used: f64, available: f64 },
}

impl Meter {
    /// Begins to look.
    pub(crate) fn new() -> Self {
        Self { last: cpu_time().map(|time| (Instant::now(), time)) }
    }

    /// The load since the last look; none where the system does not tell.
    pub(crate) fn load(&mut self) -> Option<Load> {
        let now = (Instant::now(), cpu_time()?);
        let last = self.last.replace(now)?;
        let cpu = used_between(last.1, now.1, now.0.duration_since(last.0).as_secs_f64())?;
        Some(Load { cpu: percent(cpu), memory: percent(memory()?) })
    }
}

fn percent(share: f64) -> f64 {
    (share * 100.0).clamp(0.0, 100.0)
}

/// The share that was used.
fn used_between(before: CpuTime, after: CpuTime, seconds: f64) -> Option<f64> {
    let (used, available) = match (before, after) {
        (CpuTime::Group { used: before, .. }, CpuTime::Group { used, processors }) => {
            (used - before, processors * seconds)
        }
        (CpuTime::Machine { used: before, available: available_before }, CpuTime::Machine { used, available }) => {
            (used - before, available - available_before)
        }
        // A limit came or went.
        _ => return None,
    };
    (available > 0.0).then(|| used / available)
}

fn cpu_time() -> Option<CpuTime> {
    let limit = fs::read_to_string("/sys/fs/cgroup/cpu.max").ok().and_then(|text| processors(&text));
    let used = fs::read_to_string("/sys/fs/cgroup/cpu.stat").ok().and_then(|text| group_usage(&text));
    match (limit, used) {
        (Some(processors), Some(used)) => Some(CpuTime::Group { used, processors }),
        _ => machine_time(&fs::read_to_string("/proc/stat").ok()?),
    }
}

/// `cpu.max`: microseconds of processor time in a period, or `max`.
fn processors(text: &str) -> Option<f64> {
    let (quota, period) = text.trim().split_once(' ')?;
    let (quota, period): (f64, f64) = (quota.parse().ok()?, period.parse().ok()?);
    (period > 0.0).then(|| quota / period)
}

/// `usage_usec` of `cpu.stat`.
fn group_usage(text: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix("usage_usec "))?;
    Some(line.trim().parse::<f64>().ok()? / 1e6)
}

/// The first line of `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, steal.
fn machine_time(text: &str) -> Option<CpuTime> {
    let line = text.lines().next()?.strip_prefix("cpu ")?;
    let times: Vec<f64> = line.split_whitespace().take(8).map(str::parse).collect::<Result<_, _>>().ok()?;
    let available: f64 = times.iter().sum();
    let idle: f64 = times.get(3..5)?.iter().sum();
    Some(CpuTime::Machine { used: available - idle, available })
}

/// The share of memory in use.
fn memory() -> Option<f64> {
    let limit = fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|text| text.trim().parse().ok());
    let used = fs::read_to_string("/sys/fs/cgroup/memory.current").ok().and_then(|text| text.trim().parse().ok());
    let of_group: (Option<f64>, Option<f64>) = (used, limit);
    match of_group {
        (Some(used), Some(limit)) if limit > 0.0 => Some(used / limit),
        _ => machine_memory(&fs::read_to_string("/proc/meminfo").ok()?),
    }
}

/// `/proc/meminfo`: what is not available is in use.
fn machine_memory(text: &str) -> Option<f64> {
    let kilobytes = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim_start_matches(':').split_whitespace().next()?.parse::<f64>().ok()
    };
    let (all, available) = (kilobytes("MemTotal")?, kilobytes("MemAvailable")?);
    (all > 0.0).then(|| 1.0 - available / all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_files_are_read() {
        assert_eq!(processors("150000 100000\n"), Some(1.5));
        assert_eq!(processors("max 100000\n"), None);
        assert_eq!(group_usage("usage_usec 2500000\nuser_usec 1\n"), Some(2.5));
        let machine = machine_time("cpu  10 0 10 70 10 0 0 0 5 0\ncpu0 1 2 3 4\n");
        assert_eq!(machine, Some(CpuTime::Machine { used: 20.0, available: 100.0 }));
        assert_eq!(machine_memory("MemTotal: 400 kB\nMemFree: 1 kB\nMemAvailable: 100 kB\n"), Some(0.75));
    }

    #[test]
    fn the_load_is_a_share_of_what_there_was() {
        let group = |used| CpuTime::Group { used, processors: 2.0 };
        assert_eq!(used_between(group(1.0), group(6.0), 5.0), Some(0.5));
        let machine = |used, available| CpuTime::Machine { used, available };
        assert_eq!(used_between(machine(1.0, 10.0), machine(2.0, 20.0), 5.0), Some(0.1));
        assert_eq!(used_between(group(1.0), machine(2.0, 20.0), 5.0), None);
    }

    #[test]
    fn this_machine_has_a_load() {
        let mut meter = Meter::new();
        std::thread::sleep(std::time::Duration::from_millis(50));
        let load = meter.load().expect("Linux tells");
        assert!(load.memory > 0.0 && load.memory < 100.0, "{load:?}");
    }
}
