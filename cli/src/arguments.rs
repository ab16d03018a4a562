//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use tradewind_webserver::Network;
use uuid::Uuid;

const EXIT_CODES: &str = "\
Exit codes:
  0  ended as asked
  1  something failed while running
  2  the command line is wrong
  3  the configuration or the metadata schema is not one that Tradewind can use
  4  something is missing: PostgreSQL, Python, the Airflow packages, a folder that can be written
  5  the address or the home folder is in use

Options are read from $AIRFLOW_HOME/airflow.cfg and AIRFLOW__SECTION__KEY, as in Airflow; `tradewind config list` shows
them. RUST_LOG overrides [logging] logging_level.";

/// Apache Airflow's control plane in Rust.
#[derive(Debug, Parser)]
#[command(name = "tradewind", version, about, after_help = EXIT_CODES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub command: Command,
    /// Ends when standard input is closed: the parent holds its other end.
    #[arg(long, hide = true, global = true)]
    pub with_parent: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run everything on this machine, with a PostgreSQL server of its own.
    Standalone(Standalone),
    #[command(flatten)]
    Component(Component),
    /// Look at Dags.
    #[command(subcommand)]
    Dags(DagsCommand),
    /// Look at task instances.
    #[command(subcommand)]
    Tasks(TasksCommand),
    /// Work on the metadata database.
    #[command(subcommand)]
    Db(DbCommand),
    /// Show the configuration, or begin one.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Show the version.
    Version,
    #[command(hide = true)]
    Tie(Tie),
}

/// The processes of a deployment.
#[derive(Debug, Subcommand)]
pub(crate) enum Component {
    /// Make Dag runs and hand their tasks to workers.
    Scheduler,
    /// Parse Dag files.
    DagProcessor {
        /// Ends after every file was parsed N times; -1: never.
        #[arg(short, long, value_name = "N", default_value_t = -1, allow_negative_numbers = true)]
        num_runs: i64,
    },
    /// Run tasks.
    Worker {
        /// Tasks at once [default: the option worker_slots of [tradewind]].
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        slots: Option<u32>,
        /// Queues to take from, `*` for all of them [default: the option worker_queues of [tradewind]].
        #[arg(short, long, value_name = "NAME", value_delimiter = ',')]
        queues: Vec<String>,
        /// Does not serve the logs of this machine [default: unless the option worker_serves_logs of [tradewind] is set].
        #[arg(long)]
        skip_serve_logs: bool,
        /// What it calls itself, as its fleet has chosen.
        #[arg(long, env = "TRADEWIND_WORKER_ID", hide = true)]
        id: Option<Uuid>,
    },
    /// Serve the REST API and the user interface.
    #[command(visible_alias = "api-server")]
    Webserver {
        /// Address to listen on [default: the option host of [api]].
        #[arg(long)]
        host: Option<String>,
        /// Port to listen on [default: the option port of [api]].
        #[arg(short, long)]
        port: Option<u16>,
        /// Believe the X-Forwarded-Proto of proxies.
        #[arg(long)]
        proxy_headers: bool,
        /// Addresses and networks of the proxies that are believed, `*` for all.
        #[arg(
            long,
            env = "FORWARDED_ALLOW_IPS",
            value_name = "ADDRESS",
            value_delimiter = ',',
            default_value = "127.0.0.1,::1"
        )]
        forwarded_allow_ips: Vec<Network>,
        /// What it calls itself where it is an additional one: its standard input is the socket of the first one.
        #[arg(long, env = "TRADEWIND_WEBSERVER_ID", hide = true)]
        id: Option<Uuid>,
    },
}

impl Component {
    /// What it is called in logs.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Scheduler => "scheduler",
            Self::DagProcessor { .. } => "dag-processor",
            Self::Worker { .. } => "worker",
            Self::Webserver { .. } => "webserver",
        }
    }
}

/// Commands on Dags.
#[derive(Debug, Subcommand)]
pub(crate) enum DagsCommand {
    /// Say why no run is made of a Dag, or when one is.
    Explain(ExplainDag),
}

/// Arguments of `dags explain`.
#[derive(Debug, Args)]
pub(crate) struct ExplainDag {
    /// The Dag.
    pub dag_id: String,
    /// The form of the answer.
    #[arg(short, long, value_enum, default_value_t = Output::Plain)]
    pub output: Output,
}

/// Commands on task instances.
#[derive(Debug, Subcommand)]
pub(crate) enum TasksCommand {
    /// Say why a Dag run, or a task instance of it, does not move: which limit, which upstream task, until when.
    Explain(Explain),
}

/// Arguments of `tasks explain`.
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// The Dag.
    pub dag_id: String,
    /// The run.
    pub run_id: String,
    /// The task [default: everything in the run that has not ended].
    pub task_id: Option<String>,
    /// Which instance of a mapped task [default: all that have not ended].
    #[arg(long, value_name = "N", requires = "task_id", value_parser = clap::value_parser!(i32).range(-1..), allow_negative_numbers = true)]
    pub map_index: Option<i32>,
    /// Groups of task instances to show at most.
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub limit: usize,
    /// The form of the answer.
    #[arg(short, long, value_enum, default_value_t = Output::Plain)]
    pub output: Output,
}

/// The form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// Lines for a person.
    Plain,
    /// A row for each reason.
    Table,
    /// For programs.
    Json,
    /// For programs, too.
    Yaml,
}

/// Commands on the metadata database.
#[derive(Debug, Subcommand)]
pub(crate) enum DbCommand {
    /// Bring the schema to the version needed: Airflow's by the official migration, then Tradewind's own.
    Migrate,
    /// Succeed if the schema is the one needed.
    Check,
}

/// Commands on the configuration.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Write an airflow.cfg with new keys into the home folder, unless there is one.
    Init,
    /// Show every option with its value and where that comes from; secrets are masked.
    List,
    /// Show one value as it is.
    GetValue {
        /// The section of airflow.cfg.
        section: String,
        /// The key within the section.
        key: String,
    },
}

/// Arguments of `standalone`.
#[derive(Debug, Args)]
pub(crate) struct Standalone {
    /// Folder that holds everything [default: $AIRFLOW_HOME, else .tradewind].
    #[arg(long, value_name = "DIR")]
    pub home: Option<PathBuf>,
    /// Address of the web server.
    #[arg(long, default_value = "127.0.0.1")]
    pub host: String,
    /// Port of the web server.
    #[arg(short, long, default_value_t = 8080)]
    pub port: u16,
    /// Folder of the Dag files [default: the option dags_folder of [core]].
    #[arg(long, value_name = "DIR")]
    pub dags_folder: Option<PathBuf>,
    /// Tasks at once [default: the option worker_slots of [tradewind]].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub slots: Option<u32>,
}

/// Becomes a program that is interrupted (`SIGINT`) when its parent dies.
#[derive(Debug, Args)]
pub(crate) struct Tie {
    /// The parent's process id.
    #[arg(long)]
    pub parent: u32,
    /// The user to become.
    #[arg(long, requires = "gid")]
    pub uid: Option<u32>,
    /// The group to become.
    #[arg(long, requires = "uid")]
    pub gid: Option<u32>,
    /// The program and its arguments.
    #[arg(required = true, last = true)]
    pub program: Vec<OsString>,
}
