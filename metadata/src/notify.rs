//! Notifications between processes: Postgres `NOTIFY`, sent when the transaction commits.
//!
//! They only save waiting. Whoever listens also polls, because official components write without notifying.

use sqlx::postgres::{PgListener, PgPool};
use sqlx::{PgConnection, query};

use crate::Result;

/// A Dag run or its task instances changed; the payload is `dag_run.id`.
pub const DAG_RUN: &str = "tradewind_dag_run";
/// Task instances were queued; the payload is the queue's name.
pub const QUEUE: &str = "tradewind_queue";
/// A Dag was parsed anew, paused or un-paused; the payload is its `dag_id`.
pub const DAG: &str = "tradewind_dag";
/// Something is asked that only Python can answer; the payload is the question's id.
pub const EVALUATION: &str = "tradewind_evaluation";
/// A Dag may have the asset events that it waits for; the payload is its `dag_id`.
pub const ASSET: &str = "tradewind_asset";
/// An asset event waits for the partition mapper of a plugin; there is no payload of use.
pub const PARTITION_EVENT: &str = "tradewind_partition_event";

/// Notifies of many payloads at once; equal ones are delivered once.
pub async fn send<T: ToString>(connection: &mut PgConnection, channel: &str, payloads: &[T]) -> Result<()> {
    if payloads.is_empty() {
        return Ok(());
    }
    let payloads: Vec<String> = payloads.iter().map(T::to_string).collect();
    query("SELECT pg_notify($1, payload) FROM unnest($2::text[]) AS payload")
        .bind(channel)
        .bind(payloads)
        .execute(connection)
        .await?;
    Ok(())
}

/// Listens to channels on a connection of its own, which is opened again when it breaks.
pub async fn listen(pool: &PgPool, channels: &[&str]) -> Result<PgListener> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen_all(channels.iter().copied()).await?;
    Ok(listener)
}
