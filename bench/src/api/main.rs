//! `make bench-api`: the REST API and the UI's API beside official Airflow's, on the same database.
//!
//! See `bench/README.md` for what is measured and how to read it.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a report is what this program is for")]

mod fill;
mod load;
mod others;
mod server;
mod shape;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;
use tempfile::TempDir;
use tradewind_metadata::testing::TestDatabase;

use load::Measured;
use server::{Program, Server};
use shape::SHAPES;

/// Dags that requests are about, in turn.
const DAGS_ASKED_FOR: usize = 100;

/// How many times as many requests a second Tradewind has to answer.
const GOAL_RATIO: f64 = 100.0;

/// Milliseconds in which Tradewind has to answer 99 of 100 requests.
const GOAL_P99: f64 = 20.0;

/// Megabytes that Tradewind's server may take.
const GOAL_MEMORY: f64 = 80.0;

/// Measures how many requests a second Tradewind and official Airflow answer.
#[derive(Debug, Parser)]
struct Arguments {
    /// The program `tradewind`.
    #[arg(long, default_value = "target/dist/tradewind")]
    binary: PathBuf,
    /// The virtual environment with official Airflow.
    #[arg(long, default_value = ".venv")]
    venv: PathBuf,
    #[command(flatten)]
    size: Size,
    /// Seconds for each kind of request.
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Only kinds of requests whose name holds this.
    #[arg(long, default_value = "")]
    only: String,
    /// Commits that others make a second meanwhile: no answer is used for longer than nothing changes.
    #[arg(long, default_value_t = 0)]
    commits: u32,
    /// Leave official Airflow out.
    #[arg(long)]
    alone: bool,
    /// Fail when a goal is missed.
    #[arg(long)]
    gate: bool,
}

/// How large the database is.
#[derive(Debug, clap::Args)]
struct Size {
    /// Dags of ten tasks.
    #[arg(long, default_value_t = 1_000)]
    dags: usize,
    /// Task instances of all their runs.
    #[arg(long, default_value_t = 100_000)]
    task_instances: usize,
    /// Tasks of the wide run.
    #[arg(long, default_value_t = 5_000)]
    wide: usize,
}

/// What was measured of one server.
struct Outcome {
    shapes: Vec<Measured>,
    resident_megabytes: f64,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    anyhow::ensure!(arguments.size.dags >= DAGS_ASKED_FOR, "--dags must be at least {DAGS_ASKED_FOR}");
    let home = TempDir::new()?;
    let database = TestDatabase::migrated().await;
    eprintln!("filling the database");
    fill::database(database.pool(), &arguments.size).await?;
    for number in 0..shape::LOGS {
        fill::log(&home.path().join("logs"), &fill::dag_id(number))?;
    }
    let venv = std::path::absolute(&arguments.venv)?;
    // Ends with the program.
    tokio::spawn(others::commit(database.pool().clone(), arguments.commits));
    let tradewind = Program::Tradewind(arguments.binary.clone());
    let ours = measure(&arguments, &tradewind, home.path(), &venv, &database).await?;
    let theirs = if arguments.alone {
        None
    } else {
        Some(measure(&arguments, &Program::Official(venv.clone()), home.path(), &venv, &database).await?)
    };
    let holds = print(&arguments, &ours, theirs.as_ref());
    anyhow::ensure!(!arguments.gate || holds, "a goal is missed");
    Ok(())
}

async fn measure(
    arguments: &Arguments,
    program: &Program,
    home: &Path,
    venv: &Path,
    database: &TestDatabase,
) -> anyhow::Result<Outcome> {
    eprintln!("{}: starting", program.name());
    let start = async || Server::start(program, home, venv, &database.sql_alchemy_conn()).await;
    let duration = Duration::from_secs(arguments.seconds);
    let mut server = start().await?;
    let mut shapes = Vec::new();
    for shape in SHAPES.iter().filter(|shape| shape.name.contains(&arguments.only)) {
        let mut outcome = load::measure(&server, *shape, duration).await;
        if outcome.is_err() && !server.is_running()? {
            eprintln!("{}: {}: the server has crashed, and is started anew", program.name(), shape.name);
            server = start().await?;
            outcome = load::measure(&server, *shape, duration).await;
        }
        let measured = match outcome {
            Ok(measured) => measured,
            // What Tradewind does not answer is an error; what official Airflow does not is not measured.
            Err(error) if matches!(program, Program::Official(_)) => {
                let name = program.name();
                eprintln!("{name}: {}: not measured: {error:#}\n{}", shape.name, server.last_words());
                Measured::NOTHING
            }
            Err(error) => return Err(error),
        };
        eprintln!("{}: {}: {:.1} a second", program.name(), shape.name, measured.per_second);
        shapes.push(measured);
    }
    let resident_megabytes = server.resident_megabytes()?;
    server.stop().await?;
    Ok(Outcome { shapes, resident_megabytes })
}

/// Prints the table; returns whether every goal is reached.
fn print(arguments: &Arguments, ours: &Outcome, theirs: Option<&Outcome>) -> bool {
    let mut holds = true;
    let mut missed = |is_missed: bool| {
        holds &= !is_missed;
        if is_missed { "  MISSED" } else { "" }
    };
    println!("{:<28}{:>30}{:>30}", "", "Tradewind", "official Airflow");
    println!(
        "{:<28}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}{:>9}",
        "", "/s", "p50 ms", "p99 ms", "/s", "p50 ms", "p99 ms", "ratio"
    );
    let shapes = SHAPES.iter().filter(|shape| shape.name.contains(&arguments.only));
    for (row, (shape, our)) in shapes.zip(&ours.shapes).enumerate() {
        print!("{:<28}{:>10.1}{:>10.2}{:>10.2}", shape.name, our.per_second, our.median, our.p99);
        let mut is_missed = our.p99 > GOAL_P99;
        if let Some(their) = theirs.and_then(|theirs| theirs.shapes.get(row)) {
            let ratio = our.per_second / their.per_second;
            print!("{:>10.1}{:>10.2}{:>10.2}{ratio:>9.1}", their.per_second, their.median, their.p99);
            is_missed |= ratio < GOAL_RATIO;
        }
        println!("{}", missed(is_missed));
    }
    let memory = ours.resident_megabytes;
    print!("{:<28}{memory:>10.1}", "resident memory, MB");
    if let Some(theirs) = theirs {
        print!("{:>30.1}", theirs.resident_megabytes);
    }
    println!("{}", missed(memory > GOAL_MEMORY));
    println!("goals: ratio ≥ {GOAL_RATIO}, p99 ≤ {GOAL_P99} ms, memory ≤ {GOAL_MEMORY} MB");
    holds
}
