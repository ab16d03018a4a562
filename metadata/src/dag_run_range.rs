//! The runs before and after a run that are changed together with it.
//!
//! Source: `get_run_ids` in `airflow/api/common/mark_tasks.py`.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection, query_as};
use tradewind_model::dag::Dag;
use tradewind_model::timetable::{TimeRestriction, Timetable};

use crate::dag_run_trigger::timetable_of;
use crate::{MetadataError, Result};

#[derive(FromRow)]
struct Dated {
    run_id: String,
    logical_date: DateTime<Utc>,
}

/// The ids of a run and of those before it (`past`) or after it (`future`) in the order of logical dates. Where the Dag
/// has a periodic schedule these are the runs of the schedule alone; where its schedule has no period, the run alone. A
/// run without a logical date stands alone, too.
///
/// # Errors
/// [`MetadataError::Invalid`] when the Dag's timetable cannot be evaluated.
pub async fn around(
    connection: &mut PgConnection,
    dag: &Dag,
    run_id: &str,
    past: bool,
    future: bool,
    now: DateTime<Utc>,
) -> Result<Vec<String>> {
    let alone = || Ok(vec![run_id.to_owned()]);
    let timetable = timetable_of(dag)?;
    if !(past || future) || timetable.can_be_scheduled() && !timetable.periodic() {
        return alone();
    }
    let runs: Vec<Dated> = query_as(include_str!("../queries/dag_run_range/around.sql"))
        .bind(&dag.dag_id)
        .bind(run_id)
        .bind(past)
        .bind(future)
        .fetch_all(connection)
        .await?;
    let (Some(first), Some(last)) = (runs.first(), runs.last()) else { return alone() };
    if !timetable.can_be_scheduled() {
        return Ok(runs.into_iter().map(|run| run.run_id).collect());
    }
    let dates = occurrences(dag, &timetable, first.logical_date, last.logical_date, now)?;
    let scheduled = runs.into_iter().filter(|run| run.run_id == run_id || dates.contains(&run.logical_date));
    Ok(scheduled.map(|run| run.run_id).collect())
}

/// The logical dates of the schedule between two moments, both inclusive.
fn occurrences(
    dag: &Dag,
    timetable: &Timetable,
    first: DateTime<Utc>,
    last: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<HashSet<DateTime<Utc>>> {
    let restriction = TimeRestriction { earliest: Some(first), latest: Some(last), catchup: true };
    let mut dates = HashSet::new();
    let mut info = None;
    loop {
        info = timetable
            .next_dagrun_info(info.as_ref(), restriction, now)
            .map_err(|error| MetadataError::Invalid(format!("Dag {}: {error}", dag.dag_id)))?;
        match &info {
            Some(info) => dates.extend(info.logical_date()),
            None => return Ok(dates),
        }
    }
}
