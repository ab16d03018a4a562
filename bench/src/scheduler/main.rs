//! `make bench-scheduler`: what the scheduler alone can do, with no Python in the loop.
//!
//! A real `tradewind scheduler` works on a real Postgres; this program stands in for the web server, which triggers runs,
//! and for the workers, which claim attempts and report that they succeeded. See `bench/README.md` for what the figures mean.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a report is what this program is for")]

mod deployment;
mod latency;
mod many_dags;
mod queueing;
mod report;

use std::path::PathBuf;

use clap::Parser;

use deployment::Deployment;
use report::{Goal, Report};

/// Measure the scheduler.
#[derive(Debug, Parser)]
struct Arguments {
    /// The program to measure.
    #[arg(long, default_value = "target/dist/tradewind")]
    binary: PathBuf,
    /// Task instances of the run that is queued at once, and of the one that stands in its way.
    #[arg(long, default_value_t = 10_000)]
    task_instances: usize,
    /// Successes a second while the way from a success to its successor's message is timed.
    #[arg(long, default_value_t = 100)]
    rate: u32,
    /// Successes that are timed.
    #[arg(long, default_value_t = 2_000)]
    successes: usize,
    /// Dags with a schedule of their own, each with one run that is due.
    #[arg(long, default_value_t = 1_000)]
    dags: usize,
    /// Fail when a goal is missed.
    #[arg(long)]
    gate: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let deployment = Deployment::start(&arguments.binary).await?;
    let mut report = Report::default();
    report.memory("at rest", &deployment)?;

    let free = queueing::measure(&deployment, "free", arguments.task_instances).await?;
    report.rate("scheduled → queued", free.queued_per_second, Goal::AtLeast(5_000.0));
    report.rate("trigger → queued", free.overall_per_second, Goal::None);
    report.memory("after a run of many tasks", &deployment)?;

    queueing::block(&deployment, "blocked", arguments.task_instances).await?;
    let beside = queueing::measure(&deployment, "beside", arguments.task_instances).await?;
    report.rate("scheduled → queued, beside blocked ones", beside.queued_per_second, Goal::AtLeast(5_000.0));
    report.rate("trigger → queued, beside blocked ones", beside.overall_per_second, Goal::None);
    report.memory("after a run beside blocked ones", &deployment)?;

    let delays = latency::of_chains(&deployment, arguments.rate, arguments.successes).await?;
    report.delay("success → successor's message, median", delays.median, Goal::AtMost(5.0));
    report.delay("success → successor's message, 99th percentile", delays.p99, Goal::AtMost(25.0));
    report.memory("after chains", &deployment)?;

    let wide =
        latency::of_a_wide_run(&deployment, arguments.rate, arguments.successes, arguments.task_instances).await?;
    report.delay("the same within a run of many tasks, median", wide.median, Goal::None);
    report.delay("the same within a run of many tasks, 99th percentile", wide.p99, Goal::None);
    report.memory("after a run of many tasks, few at once", &deployment)?;

    let seconds = many_dags::measure(&deployment, arguments.dags).await?;
    report.rate("runs made, run and ended, of many Dags", arguments.dags as f64 / seconds, Goal::None);
    report.memory("after many Dags", &deployment)?;

    deployment.stop().await?;
    println!("{report}");
    anyhow::ensure!(!arguments.gate || report.holds(), "a goal is missed");
    Ok(())
}
