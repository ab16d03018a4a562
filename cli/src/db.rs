//! `tradewind db`.

use anyhow::{Context, Result, bail};
use tokio::process::Command;
use tradewind_airflow::config::Config;
use tradewind_metadata::{Database, MetadataError, migrate};

use crate::console::say;
use crate::failure::{Failure, Kind};
use crate::venv::Venv;

/// Brings the schema to the version needed: Airflow's tables by the official migration, then our own.
pub(crate) async fn migrate(config: &Config) -> Result<()> {
    let database = connect(config).await?;
    if revision(&database).await?.as_deref() != Some(migrate::REVISION) {
        say(format_args!("schema: running the official `airflow db migrate` (about 10 seconds)"));
        run_official(config).await?;
        let found = revision(&database).await?;
        if found.as_deref() != Some(migrate::REVISION) {
            bail!(Failure::new(
                Kind::Configuration,
                format!(
                    "after the official migration the schema is at revision {found:?}, Tradewind needs {}",
                    migrate::REVISION
                ),
                "the packages of the virtual environment are not those that Tradewind was made for: run `make setup`",
            ));
        }
    }
    migrate::own(database.pool()).await?;
    say(format_args!("schema: at revision {}", migrate::REVISION));
    Ok(())
}

/// Succeeds when the schema is the one needed.
pub(crate) async fn check(config: &Config) -> Result<()> {
    migrate::check(connect(config).await?.pool()).await?;
    say(format_args!("schema: at revision {}", migrate::REVISION));
    Ok(())
}

async fn connect(config: &Config) -> Result<Database> {
    Ok(Database::connect(config, "tradewind db").await?)
}

async fn revision(database: &Database) -> Result<Option<String>, MetadataError> {
    let mut connection = database.pool().acquire().await?;
    migrate::revision(&mut connection).await
}

async fn run_official(config: &Config) -> Result<()> {
    let airflow = Venv::find(config)?.program("airflow");
    let output = Command::new(&airflow)
        .args(["db", "migrate"])
        .env("AIRFLOW_HOME", config.home())
        .env("AIRFLOW_CONFIG", config.file())
        .env("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", config.string("database", "sql_alchemy_conn")?)
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| format!("cannot run {}", airflow.display()))?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        bail!("the official `airflow db migrate` failed ({}):\n{}", output.status, said.trim());
    }
    Ok(())
}
