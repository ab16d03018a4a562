//! `tradewind`: one program with a command per process of a deployment, and `standalone` for all of them at once.
#![forbid(unsafe_code)]

mod arguments;
mod broker;
mod component;
mod configuration;
mod console;
mod db;
mod ecs;
mod environment;
mod explain;
mod failure;
mod fleet;
mod logging;
mod monitor;
mod shutdown;
mod standalone;
mod venv;
mod web_fleet;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Parser;
use tokio::runtime::{Builder, Runtime};
use tradewind_airflow::config::{AIRFLOW_VERSION, Config, Environment};
use tradewind_secrets::look_up_option;

use arguments::{Arguments, Command, Component, ConfigCommand, DagsCommand, DbCommand, TasksCommand};

/// How long a thread for files waits for more to do.
const IDLE_THREAD: Duration = Duration::from_secs(1);

/// Answers and Dags are many small pieces, which the system's allocator is slow to make and to give back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments) {
        Ok(code) => code,
        Err(error) => {
            console::complain(format_args!("tradewind: {error:#}"));
            failure::exit_code(&error)
        }
    }
}

fn run(arguments: Arguments) -> Result<ExitCode> {
    match arguments.command {
        Command::Version => {
            console::say(format_args!("tradewind {} for Apache Airflow {AIRFLOW_VERSION}", env!("CARGO_PKG_VERSION")))
        }
        Command::Config(ConfigCommand::Init) => configuration::init(&config()?)?,
        Command::Config(ConfigCommand::List) => configuration::list(&config()?),
        Command::Config(ConfigCommand::GetValue { section, key }) => {
            configuration::get_value(&config()?, &section, &key)?;
        }
        Command::Dags(DagsCommand::Explain(what)) => {
            small_runtime()?.block_on(explain::dag(&config()?, &what))?;
        }
        Command::Tasks(TasksCommand::Explain(what)) => {
            small_runtime()?.block_on(explain::run(&config()?, &what))?;
        }
        Command::Db(command) => {
            let config = config()?;
            logging::start(&config)?;
            small_runtime()?.block_on(async {
                match command {
                    DbCommand::Migrate => db::migrate(&config).await,
                    DbCommand::Check => db::check(&config).await,
                }
            })?;
        }
        Command::Standalone(options) => {
            return small_runtime()?.block_on(standalone::run(options, arguments.with_parent));
        }
        Command::Tie(tie) => return Err(standalone::tie::run(&tie)),
        Command::Component(component) => {
            let config = config()?;
            let log = logging::start_component(&config, component.name(), &component::hostname())?;
            // The scheduler does one thing after another: more threads would cost it memory and time.
            let runtime = if matches!(component, Component::Scheduler) { small_runtime()? } else { large_runtime()? };
            runtime.block_on(component::run(component, config, arguments.with_parent, log))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The configuration of this process.
fn config() -> Result<Config> {
    Ok(Config::with_secrets(&Environment::of_process(), &look_up_option)?)
}

/// For processes that do many things at once. A thread that has read or written a file keeps what it has freed until it ends, which is
/// soon.
fn large_runtime() -> Result<Runtime> {
    Ok(Builder::new_multi_thread().enable_all().thread_keep_alive(IDLE_THREAD).build()?)
}

/// For commands that mostly wait.
fn small_runtime() -> Result<Runtime> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}
