//! Runs tests of connections that users have enqueued, where `[core] test_connection` allows them.
//!
//! Official schedulers hand them to an executor. Here they run in children of the Dag processor, as everything else that
//! only Python can evaluate.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};
use tradewind_airflow::config::{Config, ConfigError};
use tradewind_airflow::evaluation::ConnectionTest;
use tradewind_airflow::fernet::Fernet;
use tradewind_metadata::connection_test::{self, Claimed};
use tradewind_metadata::{Database, MetadataError};
use tradewind_supervisor::evaluator::Evaluator;

/// What stands for a Dag in questions that are about none; no Dag can be called so.
const SUBJECT: &str = "<connection test>";

/// How often waiting tests are looked for: a person is watching.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The options of section `[connection_test]`.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// `timeout`, in seconds.
    pub timeout: u32,
    /// `max_concurrency`: tests under way in the whole installation.
    pub max_concurrency: i64,
    /// `reaper_interval`.
    pub reaper_interval: Duration,
}

impl Options {
    /// `None` unless `[core] test_connection` is `Enabled`.
    ///
    /// # Errors
    /// When a value cannot be used.
    pub fn from_config(config: &Config) -> Result<Option<Self>, ConfigError> {
        if !config.string("core", "test_connection")?.trim().eq_ignore_ascii_case("enabled") {
            return Ok(None);
        }
        let timeout = u32::try_from(config.int("connection_test", "timeout")?).ok().filter(|seconds| *seconds > 0);
        let invalid = || config.invalid("connection_test", "timeout", "a number of seconds above 0");
        Ok(Some(Self {
            timeout: timeout.ok_or_else(invalid)?,
            max_concurrency: config.int("connection_test", "max_concurrency")?,
            reaper_interval: config.seconds("connection_test", "reaper_interval")?,
        }))
    }
}

/// Runs tests until it is dropped.
pub(crate) async fn serve(database: Database, evaluator: Evaluator, fernet: Arc<Fernet>, options: Options) {
    let mut tick = interval(LOOK_INTERVAL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut reaped = None;
    loop {
        tick.tick().await;
        if let Err(error) = look(&database, &evaluator, &fernet, options, &mut reaped).await {
            tracing::warn!(%error, "enqueued tests of connections are not seen; trying again");
        }
    }
}

async fn look(
    database: &Database,
    evaluator: &Evaluator,
    fernet: &Fernet,
    options: Options,
    reaped: &mut Option<Instant>,
) -> Result<(), MetadataError> {
    if reaped.is_none_or(|at| at.elapsed() >= options.reaper_interval) {
        let count = connection_test::reap(database.pool(), options.timeout.into()).await?;
        if count > 0 {
            tracing::warn!(count, "tests of connections that nobody has ended count as failed");
        }
        *reaped = Some(Instant::now());
    }
    for test in connection_test::claim(database.pool(), fernet, options.max_concurrency).await? {
        tokio::spawn(run(database.clone(), evaluator.clone(), test, options.timeout));
    }
    Ok(())
}

async fn run(database: Database, evaluator: Evaluator, test: Claimed, timeout: u32) {
    let (success, message) = match test.connection {
        None => (false, "the connection was encrypted with another Fernet key".to_owned()),
        connection => {
            let question = ConnectionTest { sealed: String::new(), connection, timeout: timeout.into() };
            match evaluator.ask(SUBJECT, question).await {
                Ok(answer) => (answer.status, answer.message),
                Err(error) => (false, error.to_string()),
            }
        }
    };
    if let Err(error) = connection_test::finish(database.pool(), test.id, success, &message).await {
        tracing::warn!(connection_id = test.connection_id, %error, "the end of a connection's test cannot be stored");
    }
}
