//! Runs by their partitions; and `POST /dags/{dag_id}/clearPartitions`: runs shall no longer belong to one.

use super::trigger::timetable;
use crate::api_v2::task_instances::clear::{How, clear as clear_instances};
use crate::api_v2::task_instances::selection::{Runs, select};
use crate::audit::Change;
use crate::auth::{Resource, User};
use crate::body::Body;
use crate::error::{ApiError, ApiResult};
use crate::query::{Filter, Params};
use crate::request_body::RequestBody;
use crate::state::App;
use axum::Json;
use axum::extract::{Path, State};
use chrono::{DateTime, FixedOffset, NaiveDate, NaiveTime};
use serde::Serialize;
use sqlx::FromRow;

/// Runs named by their partition, or by partition dates.
#[derive(Debug)]
pub(super) struct Selector {
    partition_key: Option<String>,
    start: Option<DateTime<FixedOffset>>,
    end: Option<DateTime<FixedOffset>>,
}

impl Selector {
    pub(super) fn read(body: &mut Body) -> Self {
        Self {
            partition_key: body.optional_text("partition_key"),
            start: body.optional_local_time("partition_date_start"),
            end: body.optional_local_time("partition_date_end"),
        }
    }

    /// Whether it names anything.
    pub(super) fn is_used(&self) -> bool {
        self.partition_key.is_some() || self.has_window()
    }

    fn has_window(&self) -> bool {
        self.start.is_some() || self.end.is_some()
    }

    /// The rule that is broken unless exactly one way of naming runs is used: this has two, `other` is a third.
    pub(super) fn broken_rule(&self, other: &str, other_is_used: bool) -> Option<String> {
        let ways = [other_is_used, self.partition_key.is_some(), self.has_window()];
        if ways.into_iter().filter(|is_used| *is_used).count() != 1 {
            return Some(format!(
                "Exactly one of {other}, partition_key, or a partition date window \
                 (partition_date_start / partition_date_end) must be provided."
            ));
        }
        let is_reversed = self.start.zip(self.end).is_some_and(|(start, end)| start > end);
        is_reversed.then(|| "partition_date_start must be on or before partition_date_end.".to_owned())
    }

    /// The ids of the runs, in the order of their partitions. A window leaves out runs without a partition date.
    pub(super) async fn run_ids(&self, app: &App, dag_id: &str) -> ApiResult<Vec<String>> {
        let dag = app.dags.latest(&app.pool, dag_id).await?;
        let timetable = timetable(&dag)?;
        let run_ids = sqlx::query_scalar(
            "SELECT run_id FROM dag_run WHERE dag_id = $1 AND ($2::text IS NULL OR partition_key = $2) \
             AND ($2 IS NOT NULL OR partition_date IS NOT NULL) \
             AND ($3::timestamptz IS NULL OR partition_date >= $3) \
             AND ($4::timestamptz IS NULL OR partition_date <= $4) ORDER BY partition_date, run_id",
        )
        .bind(dag_id)
        .bind(&self.partition_key)
        .bind(self.start.map(|bound| timetable.localize_partition_date(bound)))
        .bind(self.end.map(|bound| timetable.localize_partition_date(bound)))
        .fetch_all(&app.pool)
        .await?;
        Ok(run_ids)
    }
}

/// Days of partition dates, both inclusive; where they begin and end is a matter of the timetable's zone.
#[derive(Debug)]
pub(super) struct Days {
    first: Option<NaiveDate>,
    last: Option<NaiveDate>,
}

impl Days {
    pub(super) fn read(params: &mut Params) -> Self {
        Self { first: params.date("partition_date_gte"), last: params.date("partition_date_lte") }
    }

    /// Narrows a list of runs to them. Only a partitioned Dag has such runs; asking for those of another is refused.
    pub(super) async fn narrow(&self, app: &App, dag_id: &str, filter: &mut Filter) -> ApiResult<()> {
        let is_given = self.first.is_some() || self.last.is_some();
        if dag_id == "~" {
            let refusal = "partition_date_gte and partition_date_lte require a specific dag_id.";
            return if is_given { Err(ApiError::bad_request(refusal)) } else { Ok(()) };
        }
        let dag = app.dags.latest(&app.pool, dag_id).await?;
        if !is_given {
            return Ok(());
        }
        let timetable = timetable(&dag)?;
        if !timetable.partitioned() {
            return Err(ApiError::bad_request(format!(
                "Dag with dag_id: '{dag_id}' is not partitioned; partition_date_gte and partition_date_lte are not \
                 supported."
            )));
        }
        let midnight =
            |day: NaiveDate| timetable.localize_partition_date(day.and_time(NaiveTime::MIN).and_utc().fixed_offset());
        if let Some(first) = self.first {
            filter.time_bound("dr.partition_date", ">=", midnight(first), false);
        }
        if let Some(after) = self.last.and_then(|last| last.succ_opt()) {
            filter.time_bound("dr.partition_date", "<", midnight(after), false);
        }
        Ok(())
    }
}

/// What was changed, or would be.
#[derive(Debug, Serialize)]
pub(super) struct Cleared {
    dag_runs_cleared: usize,
    task_instances_cleared: usize,
    dry_run: bool,
}

#[derive(FromRow)]
struct Matching {
    id: i32,
    run_id: String,
    has_partition: bool,
}

pub(super) async fn clear(
    State(app): State<App>,
    user: User,
    params: Params,
    Path(dag_id): Path<String>,
    bytes: RequestBody,
) -> ApiResult<Json<Cleared>> {
    user.may_write(Resource::Dag)?;
    let mut body = Body::from_bytes(&bytes)?;
    let path = [("dag_id", dag_id.as_str())];
    Change { event: "clear_dag_run_partitions", method: "POST", path: &path, body: Some(body.fields()) }
        .record(&app, &user, &params)
        .await?;
    let selector = Selector::read(&mut body);
    let run_id = body.optional_text("run_id");
    let with_instances = body.bool_or("clear_task_instances", false);
    let dry_run = body.bool_or("dry_run", true);
    body.finish_with(selector.broken_rule("run_id", run_id.is_some()).as_deref())?;
    let dag = app.dags.latest(&app.pool, &dag_id).await?;
    let timetable = timetable(&dag)?;

    let mut transaction = app.pool.begin().await?;
    let matching: Vec<Matching> = sqlx::query_as(include_str!("matching_partitions.sql"))
        .bind(&dag_id)
        .bind(&run_id)
        .bind(&selector.partition_key)
        .bind(selector.has_window())
        .bind(selector.start.map(|bound| timetable.localize_partition_date(bound)))
        .bind(selector.end.map(|bound| timetable.localize_partition_date(bound)))
        .fetch_all(&mut *transaction)
        .await?;
    let partitioned: Vec<i32> = matching.iter().filter(|run| run.has_partition).map(|run| run.id).collect();
    let mut cleared = Cleared { dag_runs_cleared: partitioned.len(), task_instances_cleared: 0, dry_run };
    if !dry_run {
        sqlx::query(
            "UPDATE dag_run SET partition_key = NULL, partition_date = NULL, updated_at = now() WHERE id = ANY($1)",
        )
        .bind(&partitioned)
        .execute(&mut *transaction)
        .await?;
    }
    if with_instances {
        let runs = Runs::Several(matching.into_iter().map(|run| run.run_id).collect());
        let selected = select(&mut *transaction, &dag_id, &runs, None, &[]).await?;
        cleared.task_instances_cleared = selected.len();
        if !dry_run {
            let how = How { run_on_latest_version: false, reset_dag_runs: true };
            clear_instances(&app, &mut transaction, &dag_id, &selected, how).await?;
        }
    }
    transaction.commit().await?;
    Ok(Json(cleared))
}
