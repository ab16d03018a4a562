//! The Python environment that a bucket describes, for the processes that have an interpreter.

use anyhow::Result;
use tradewind_airflow::config::Config;
use tradewind_aws::Account;
use tradewind_dag_processor::Places;
use tradewind_environment::build::Builder;
use tradewind_environment::configuration::Options;
use tradewind_environment::keeper::Keeper;
use tradewind_environment::manifest::Component;
use tradewind_environment::store::Environment;
use tradewind_metadata::Database;
use tradewind_supervisor::pyhost::Idle;

use crate::component::{hostname, pyhost_options};
use crate::venv::Venv;

/// Who keeps the interpreter of a process in that environment; none: the bucket describes none, and nothing is asked of AWS.
pub(crate) async fn keeper(
    config: &Config,
    database: &Database,
    component: Component,
    idle: Idle,
) -> Result<Option<Keeper>> {
    let Some(options) = Options::from_config(config)? else { return Ok(None) };
    let account = Account::from_environment().await;
    let installed = Venv::find(config)?;
    let children = pyhost_options(config)?;
    let builder = Builder::new(config, options, &account, installed.root(), component, children, &hostname())?;
    Ok(Some(Keeper::new(builder, database.clone(), idle)))
}

/// Where an environment has its packages and plugins; what it has not is where the installation has it.
pub(crate) fn places(environment: &Environment, installed: &Places) -> Places {
    Places {
        plugins: environment.plugins().unwrap_or_else(|| installed.plugins.clone()),
        packages: environment.packages().folder().ok(),
    }
}
