//! `simulate`: as many simulations as asked, on all cores.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for a terminal")]

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::Parser;
use tradewind_simulation::{Coverage, Failure, Safeguards, simulate};

/// Simulates Tradewind from seeds, and stops at the first invariant that does not hold unless told to go on.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many seeds.
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// This seed only.
    #[arg(long)]
    seed: Option<u64>,
    /// Takes a safeguard away, to see what happens.
    #[arg(long, value_parser = clap::builder::PossibleValuesParser::new(Safeguards::NAMES))]
    without: Option<String>,
    /// Goes on after a failure, and lists all seeds that fail.
    #[arg(long)]
    keep_going: bool,
    /// Prints the whole trace of a failure, not only its end.
    #[arg(long)]
    whole_trace: bool,
    /// Threads; as many as there are cores if not given.
    #[arg(long)]
    threads: Option<usize>,
}

/// Seeds that are left, and what came of the others.
struct Run {
    next: AtomicU64,
    end: u64,
    coverage: Mutex<Coverage>,
    failures: Mutex<Vec<Failure>>,
    keep_going: bool,
    safeguards: Safeguards,
}

impl Run {
    fn work(&self) {
        let mut covered = Coverage::default();
        loop {
            let seed = self.next.fetch_add(1, Ordering::Relaxed);
            if seed >= self.end {
                break;
            }
            match simulate(seed, self.safeguards) {
                Ok(coverage) => covered.add(&coverage),
                Err(failure) => {
                    if !self.keep_going {
                        self.next.store(self.end, Ordering::Relaxed);
                    }
                    self.failures.lock().unwrap_or_else(PoisonError::into_inner).push(*failure);
                }
            }
        }
        self.coverage.lock().unwrap_or_else(PoisonError::into_inner).add(&covered);
    }

    fn report_progress(&self, first: u64) {
        let done = self.next.load(Ordering::Relaxed).min(self.end) - first;
        eprint!("\r{done} of {} seeds", self.end - first);
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let (first, count) = arguments.seed.map_or((arguments.first, arguments.seeds), |seed| (seed, 1));
    let threads = arguments.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let run = Run {
        next: AtomicU64::new(first),
        end: first.saturating_add(count),
        coverage: Mutex::default(),
        failures: Mutex::default(),
        keep_going: arguments.keep_going,
        safeguards: arguments.without.as_deref().map_or_else(Safeguards::default, Safeguards::without),
    };
    let started = Instant::now();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(|| run.work())).collect();
        while !workers.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            std::thread::sleep(Duration::from_millis(200));
            run.report_progress(first);
        }
    });
    eprintln!();
    let failures = run.failures.into_inner().unwrap_or_else(PoisonError::into_inner);
    if arguments.keep_going {
        failures.iter().for_each(|failure| println!("seed {}: {}", failure.seed, failure.violation));
    }
    if let Some(failure) = failures.first() {
        if arguments.whole_trace {
            failure.trace.iter().for_each(|line| println!("{line}"));
        }
        println!("{failure}");
        return ExitCode::FAILURE;
    }
    println!("{}", run.coverage.into_inner().unwrap_or_else(PoisonError::into_inner));
    println!("{count} seeds from {first} passed in {:.1} s", started.elapsed().as_secs_f64());
    ExitCode::SUCCESS
}
