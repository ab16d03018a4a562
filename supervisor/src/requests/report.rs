//! Reports that end, park or divert the attempt.

use sqlx::PgConnection;
use tradewind_airflow::supervisor_protocol::to_supervisor::{
    AwaitInputTask, DeferTask, RescheduleTask, RetryTask, SkipDownstreamTasks, SucceedTask,
};
use tradewind_metadata::attempt::{self, AwaitInput, Deferral, Retry, Success};
use uuid::Uuid;

use super::refusal::of_attempt;
use super::{Answer, Settings};

pub(super) async fn succeed(
    connection: &mut PgConnection,
    id: Uuid,
    report: SucceedTask,
    settings: &Settings,
) -> Answer {
    let success = Success {
        id,
        end_date: report.end_date,
        rendered_map_index: report.rendered_map_index,
        task_outlets: report.task_outlets.unwrap_or_default(),
        outlet_events: report.outlet_events.unwrap_or_default(),
        clear_state_store: settings.clear_state_store,
        max_partitions: settings.max_partitions,
    };
    attempt::succeed(connection, &success).await.map_err(of_attempt)?;
    Ok(None)
}

pub(super) async fn retry(connection: &mut PgConnection, id: Uuid, report: RetryTask) -> Answer {
    let retry = Retry {
        id,
        end_date: report.end_date,
        rendered_map_index: report.rendered_map_index,
        retry_delay_seconds: report.retry_delay_seconds,
        retry_reason: report.retry_reason,
    };
    attempt::retry(connection, &retry).await.map_err(of_attempt)?;
    Ok(None)
}

pub(super) async fn defer(connection: &mut PgConnection, id: Uuid, report: DeferTask) -> Answer {
    let deferral = Deferral {
        id,
        classpath: report.classpath,
        trigger_kwargs: report.trigger_kwargs,
        trigger_timeout: report.trigger_timeout.map(|timeout| timeout.0),
        queue: report.queue,
        next_method: report.next_method,
        next_kwargs: report.next_kwargs.unwrap_or_default(),
    };
    attempt::defer(connection, &deferral).await.map_err(of_attempt)?;
    Ok(None)
}

pub(super) async fn reschedule(connection: &mut PgConnection, id: Uuid, report: RescheduleTask) -> Answer {
    attempt::reschedule(connection, id, report.reschedule_date, report.end_date).await.map_err(of_attempt)?;
    Ok(None)
}

pub(super) async fn await_input(connection: &mut PgConnection, id: Uuid, report: AwaitInputTask) -> Answer {
    let awaited = AwaitInput {
        id,
        timeout: report.timeout.map(|timeout| timeout.0),
        next_method: report.next_method,
        next_kwargs: report.next_kwargs.unwrap_or_default(),
    };
    attempt::await_input(connection, &awaited).await.map_err(of_attempt)?;
    Ok(None)
}

pub(super) async fn skip_downstream(connection: &mut PgConnection, id: Uuid, report: SkipDownstreamTasks) -> Answer {
    attempt::skip_downstream(connection, id, &report.tasks).await.map_err(of_attempt)?;
    Ok(None)
}
