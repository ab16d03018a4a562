//! The broker that the configuration names.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tradewind_airflow::config::Config;
use tradewind_aws::Account;
use tradewind_aws::sqs::{Queues, Sqs};
use tradewind_broker::Broker;
use tradewind_metadata::Database;
use tradewind_scheduler::Publisher;
use tradewind_worker::Source;

/// The broker of `[tradewind] queue`; `None` where workers take from the outbox.
async fn configured(config: &Config) -> Result<Option<Arc<dyn Broker>>> {
    if config.string("tradewind", "queue")? == "postgres" {
        return Ok(None);
    }
    let urls: HashMap<String, String> = match config.optional("tradewind", "sqs_queue_urls")? {
        None => HashMap::new(),
        Some(text) => serde_json::from_str(text).map_err(|_| {
            let expected =
                r#"a JSON object such as {"default": "https://sqs.eu-west-1.amazonaws.com/123456789012/my-queue"}"#;
            config.invalid("tradewind", "sqs_queue_urls", expected)
        })?,
    };
    let queues = Queues {
        prefix: config.string("tradewind", "sqs_queue_prefix")?,
        urls,
        create: config.bool("tradewind", "sqs_create_queues")?,
    };
    Ok(Some(Arc::new(Sqs::new(&Account::from_environment().await, queues))))
}

/// Who hands the outbox to the broker, where there is one.
pub(crate) async fn publisher(config: &Config, database: &Database) -> Result<Option<Publisher>> {
    let Some(broker) = configured(config).await? else { return Ok(None) };
    let republish_after = at_least_a_second(config, "sqs_republish_after")?;
    let poll_interval = config.seconds("tradewind", "scheduler_poll_interval")?;
    Ok(Some(Publisher::new(database.clone(), broker, republish_after, poll_interval)))
}

/// Where a worker takes its attempts from.
pub(crate) async fn source(config: &Config, queues: &[String]) -> Result<Source> {
    let Some(broker) = configured(config).await? else { return Ok(Source::Outbox) };
    if queues.iter().any(|queue| queue == "*") {
        let expected = "a list of names, since [tradewind] queue = sqs has no `*`";
        return Err(config.invalid("tradewind", "worker_queues", expected).into());
    }
    Ok(Source::Broker { broker, visibility: at_least_a_second(config, "sqs_visibility_timeout")? })
}

fn at_least_a_second(config: &Config, key: &str) -> Result<Duration> {
    let time = config.seconds("tradewind", key)?;
    if time < Duration::from_secs(1) {
        return Err(config.invalid("tradewind", key, "a number of seconds of at least 1").into());
    }
    Ok(time)
}
