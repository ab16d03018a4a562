//! XComs: the values which task instances leave for each other.
//!
//! Source: `airflow/models/xcom.py` and `airflow/api_fastapi/execution_api/routes/xcoms.py`. Values cross here as the
//! JSON that the Task SDK made of them; nothing is decoded.

use serde_json::Value;
use sqlx::{PgConnection, query, query_scalar};

use crate::{MetadataError, Result};

/// What a task pushed under one key in one Dag run, over all its map indexes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct XComKey<'a> {
    /// The Dag.
    pub dag_id: &'a str,
    /// The Dag run.
    pub run_id: &'a str,
    /// The task.
    pub task_id: &'a str,
    /// The key, `return_value` for what the task returns.
    pub key: &'a str,
}

/// A value to store.
#[derive(Debug, Clone, Copy)]
pub struct NewXCom<'a> {
    /// Where.
    pub key: XComKey<'a>,
    /// -1 when the task is not mapped.
    pub map_index: i32,
    /// The serialised value.
    pub value: &'a Value,
    /// Whether it is the result of the whole Dag.
    pub dag_result: bool,
    /// How many task instances a downstream task expands into over this value.
    pub mapped_length: Option<i32>,
}

/// Which runs' values count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runs {
    /// The named run alone.
    This,
    /// The named run and those before it; the newest value wins.
    ThisAndPrior,
}

/// The value of one task instance; `Some(Value::Null)` when a null was pushed.
pub async fn get(connection: &mut PgConnection, key: XComKey<'_>, map_index: i32, runs: Runs) -> Result<Option<Value>> {
    let found: Option<Option<Value>> = query_scalar(include_str!("../queries/xcom/get.sql"))
        .bind(key.dag_id)
        .bind(key.run_id)
        .bind(key.task_id)
        .bind(key.key)
        .bind(runs == Runs::ThisAndPrior)
        .bind(map_index)
        .fetch_optional(connection)
        .await?;
    Ok(found.map(Option::unwrap_or_default))
}

/// How many task instances of the task pushed a value.
pub async fn count(connection: &mut PgConnection, key: XComKey<'_>, runs: Runs) -> Result<i64> {
    let count = query_scalar(include_str!("../queries/xcom/count.sql"))
        .bind(key.dag_id)
        .bind(key.run_id)
        .bind(key.task_id)
        .bind(key.key)
        .bind(runs == Runs::ThisAndPrior)
        .fetch_one(connection)
        .await?;
    Ok(count)
}

/// The value at a place of the sequence that the task's map indexes form; a negative place counts from the end.
pub async fn item(connection: &mut PgConnection, key: XComKey<'_>, place: i64) -> Result<Option<Value>> {
    let place = if place < 0 { place + count(connection, key, Runs::This).await? } else { place };
    if place < 0 {
        return Ok(None);
    }
    let mut values = stretch(connection, key, Runs::This, place, 1).await?;
    Ok(values.pop())
}

/// A Python slice `[start:stop:step]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slice {
    /// First place.
    pub start: Option<i64>,
    /// Place after the last.
    pub stop: Option<i64>,
    /// Distance between places; 0 counts as 1.
    pub step: Option<i64>,
}

impl Slice {
    fn step(self) -> i64 {
        self.step.filter(|step| *step != 0).unwrap_or(1)
    }

    /// The stretch `[low, high)` of a sequence that the slice touches, in ascending order, like `slice.indices`.
    fn stretch(self, length: i64) -> (i64, i64) {
        let clamp =
            |place: i64, low: i64, high: i64| if place < 0 { (place + length).max(low) } else { place.min(high) };
        if self.step() > 0 {
            let low = self.start.map_or(0, |start| clamp(start, 0, length));
            let high = self.stop.map_or(length, |stop| clamp(stop, 0, length));
            (low, high.max(low))
        } else {
            let first = self.start.map_or(length - 1, |start| clamp(start, -1, length - 1));
            let end = self.stop.map_or(-1, |stop| clamp(stop, -1, length - 1));
            (end + 1, first.max(end) + 1)
        }
    }

    /// Takes every step-th value of the touched stretch, from its end when the step is negative.
    fn pick(self, mut stretch: Vec<Value>) -> Vec<Value> {
        if self.step() < 0 {
            stretch.reverse();
        }
        let stride = usize::try_from(self.step().unsigned_abs()).unwrap_or(usize::MAX);
        stretch.into_iter().step_by(stride).collect()
    }
}

/// The values at the places of a slice, in the order of the slice.
pub async fn slice(connection: &mut PgConnection, key: XComKey<'_>, slice: Slice, runs: Runs) -> Result<Vec<Value>> {
    let length = count(connection, key, runs).await?;
    let (low, high) = slice.stretch(length);
    Ok(slice.pick(stretch(connection, key, runs, low, high - low).await?))
}

async fn stretch(
    connection: &mut PgConnection,
    key: XComKey<'_>,
    runs: Runs,
    first: i64,
    length: i64,
) -> Result<Vec<Value>> {
    let values: Vec<Option<Value>> = query_scalar(include_str!("../queries/xcom/sequence.sql"))
        .bind(key.dag_id)
        .bind(key.run_id)
        .bind(key.task_id)
        .bind(key.key)
        .bind(runs == Runs::ThisAndPrior)
        .bind(first)
        .bind(length)
        .fetch_all(connection)
        .await?;
    Ok(values.into_iter().map(Option::unwrap_or_default).collect())
}

/// Stores a value, and how far a downstream task expands over it. The caller has checked `mapped_length` against
/// `[core] max_map_length`.
///
/// # Errors
/// [`MetadataError::NotFound`] when there is no such Dag run.
pub async fn set(connection: &mut PgConnection, new: NewXCom<'_>) -> Result<()> {
    if let Some(length) = new.mapped_length {
        set_mapped_length(connection, new.key, new.map_index, length).await?;
    }
    let key = new.key;
    let written = query(include_str!("../queries/xcom/set.sql"))
        .bind(key.dag_id)
        .bind(key.run_id)
        .bind(key.task_id)
        .bind(key.key)
        .bind(new.map_index)
        .bind(new.value)
        .bind(new.dag_result)
        .execute(connection)
        .await?;
    if written.rows_affected() == 0 {
        let (dag_id, run_id) = (key.dag_id, key.run_id);
        return Err(MetadataError::NotFound(format!("DAG run not found on DAG '{dag_id}' with ID '{run_id}'")));
    }
    Ok(())
}

/// Stores a row of `task_map`, from which downstream tasks are expanded.
async fn set_mapped_length(connection: &mut PgConnection, key: XComKey<'_>, map_index: i32, length: i32) -> Result<()> {
    query(
        "INSERT INTO task_map (dag_id, run_id, task_id, map_index, length) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (dag_id, task_id, run_id, map_index) DO UPDATE SET length = excluded.length, keys = NULL",
    )
    .bind(key.dag_id)
    .bind(key.run_id)
    .bind(key.task_id)
    .bind(map_index)
    .bind(length)
    .execute(connection)
    .await?;
    Ok(())
}

/// Removes the value of one task instance, if it is there.
pub async fn delete(connection: &mut PgConnection, key: XComKey<'_>, map_index: i32) -> Result<()> {
    query("DELETE FROM xcom WHERE dag_id = $1 AND run_id = $2 AND task_id = $3 AND key = $4 AND map_index = $5")
        .bind(key.dag_id)
        .bind(key.run_id)
        .bind(key.task_id)
        .bind(key.key)
        .bind(map_index)
        .execute(connection)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sliced(length: i64, start: Option<i64>, stop: Option<i64>, step: Option<i64>) -> Vec<Value> {
        let slice = Slice { start, stop, step };
        let (low, high) = slice.stretch(length);
        slice.pick((low..high).map(|place| json!(place)).collect())
    }

    #[test]
    fn a_slice_means_what_it_means_in_python() {
        // Recorded: list(range(6))[start:stop:step].
        assert_eq!(sliced(6, None, None, None), [0, 1, 2, 3, 4, 5]);
        assert_eq!(sliced(6, Some(-2), None, None), [4, 5]);
        assert_eq!(sliced(6, None, Some(-2), None), [0, 1, 2, 3]);
        assert_eq!(sliced(6, Some(1), Some(5), Some(2)), [1, 3]);
        assert_eq!(sliced(6, None, None, Some(-1)), [5, 4, 3, 2, 1, 0]);
        assert_eq!(sliced(6, Some(4), None, Some(-2)), [4, 2, 0]);
        assert_eq!(sliced(6, None, Some(3), Some(-1)), [5, 4]);
        assert_eq!(sliced(6, Some(-2), Some(1), Some(-1)), [4, 3, 2]);
        assert_eq!(sliced(6, Some(9), Some(20), None), Vec::<Value>::new());
        assert_eq!(sliced(6, Some(5), Some(2), None), Vec::<Value>::new());
        assert_eq!(sliced(3, Some(2), Some(-10), Some(-1)), [2, 1, 0]);
        assert_eq!(sliced(0, None, None, Some(-1)), Vec::<Value>::new());
        assert_eq!(sliced(2, None, None, Some(0)), [0, 1]);
    }
}
