//! Priority weights that a strategy of a plugin gives.
//!
//! Who makes or clears a task instance of such a task notes that its weight is wanted; the scheduler asks Python for it, and
//! lets the run go on when it is there. As in Airflow a weight is worked out when a task instance is made and when it is
//! cleared (`TaskInstance.insert_mapping`, `refresh_from_task`), not for a retry.

use sqlx::{FromRow, PgConnection, query, query_as, query_scalar};
use tradewind_airflow::evaluation::Weighed;
use uuid::Uuid;

use crate::Result;

/// Task instances whose weights are asked for at once.
const BATCH: i64 = 500;

/// Notes that the weights of these task instances are wanted.
pub async fn want(connection: &mut PgConnection, ids: &[Uuid]) -> Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    query(
        "INSERT INTO tradewind.priority_weight (ti_id) SELECT id FROM task_instance WHERE id = ANY ($1) \
         ON CONFLICT DO NOTHING",
    )
    .bind(ids)
    .execute(connection)
    .await?;
    Ok(())
}

/// Whether a weight of the run is wanted.
pub async fn is_wanted(connection: &mut PgConnection, dag_id: &str, run_id: &str) -> Result<bool> {
    Ok(query_scalar(include_str!("../queries/priority_weight/is_wanted.sql"))
        .bind(dag_id)
        .bind(run_id)
        .fetch_one(connection)
        .await?)
}

/// A task instance whose weight is wanted.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// `task_instance.id`.
    pub id: Uuid,
    /// What the strategy is told of it.
    pub weighed: Weighed,
}

#[derive(FromRow)]
struct Row {
    id: Uuid,
    task_id: String,
    run_id: String,
    map_index: i32,
    try_number: i32,
    dag_version_id: Option<Uuid>,
}

/// The next task instances of a run whose weights are wanted.
pub async fn wanted(connection: &mut PgConnection, dag_id: &str, run_id: &str) -> Result<Vec<Wanted>> {
    let rows: Vec<Row> = query_as(include_str!("../queries/priority_weight/wanted.sql"))
        .bind(dag_id)
        .bind(run_id)
        .bind(BATCH)
        .fetch_all(connection)
        .await?;
    Ok(rows
        .into_iter()
        .map(|Row { id, task_id, run_id, map_index, try_number, dag_version_id }| Wanted {
            id,
            weighed: Weighed { task_id, run_id, map_index, try_number, dag_version_id },
        })
        .collect())
}

/// Stores weights; none: the own weight of the task stays. They are not wanted any more.
pub async fn set(connection: &mut PgConnection, weights: &[(Uuid, Option<i32>)]) -> Result<()> {
    let (ids, weights): (Vec<Uuid>, Vec<Option<i32>>) = weights.iter().copied().unzip();
    query(include_str!("../queries/priority_weight/set.sql")).bind(ids).bind(weights).execute(connection).await?;
    Ok(())
}
