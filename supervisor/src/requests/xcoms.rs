//! XComs.

use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use tradewind_airflow::supervisor_protocol::response::{ErrorResponse, ErrorType};
use tradewind_airflow::supervisor_protocol::to_supervisor::{
    DeleteXCom, GetXCom, GetXComCount, GetXComSequenceItem, GetXComSequenceSlice, SetXCom,
};
use tradewind_metadata::xcom::{self, NewXCom, Runs, Slice, XComKey};

use super::refusal::of_metadata;
use super::{Answer, absent, body};

macro_rules! key_of {
    ($asked:expr) => {
        XComKey { dag_id: &$asked.dag_id, run_id: &$asked.run_id, task_id: &$asked.task_id, key: &$asked.key }
    };
}

/// The official client leaves a negative index out, and the server takes -1 then.
fn map_index(asked: Option<i32>) -> i32 {
    asked.filter(|index| *index >= 0).unwrap_or(-1)
}

fn runs(include_prior_dates: bool) -> Runs {
    if include_prior_dates { Runs::ThisAndPrior } else { Runs::This }
}

/// A missing value is null, as it was in Airflow 2.
pub(super) async fn get(connection: &mut PgConnection, asked: GetXCom) -> Answer {
    let found = xcom::get(connection, key_of!(asked), map_index(asked.map_index), runs(asked.include_prior_dates))
        .await
        .map_err(of_metadata)?;
    body("XComResult", json!({"key": asked.key, "value": found.unwrap_or(Value::Null)}))
}

pub(super) async fn count(connection: &mut PgConnection, asked: GetXComCount) -> Answer {
    let count = xcom::count(connection, key_of!(asked), Runs::This).await.map_err(of_metadata)?;
    body("XComCountResponse", json!({"len": count}))
}

pub(super) async fn item(connection: &mut PgConnection, asked: GetXComSequenceItem) -> Answer {
    match xcom::item(connection, key_of!(asked), asked.offset).await.map_err(of_metadata)? {
        Some(value) => body("XComSequenceIndexResult", json!({"root": value})),
        None => absent(
            ErrorType::XcomNotFound,
            json!({
                "dag_id": asked.dag_id,
                "run_id": asked.run_id,
                "task_id": asked.task_id,
                "key": asked.key,
                "offset": asked.offset,
            }),
        ),
    }
}

pub(super) async fn slice(connection: &mut PgConnection, asked: GetXComSequenceSlice) -> Answer {
    let slice = Slice { start: asked.start, stop: asked.stop, step: asked.step };
    let values =
        xcom::slice(connection, key_of!(asked), slice, runs(asked.include_prior_dates)).await.map_err(of_metadata)?;
    body("XComSequenceSliceResult", json!({"root": values}))
}

pub(super) async fn set(connection: &mut PgConnection, asked: SetXCom, max_map_length: i64) -> Answer {
    if asked.key.is_empty() {
        return Err(ErrorResponse::refused(400, "invalid_key", "XCom key must be a non-empty string."));
    }
    let mapped_length = asked.mapped_length.filter(|length| *length >= 0);
    if mapped_length.is_some_and(|length| i64::from(length) > max_map_length) {
        let message = "pushed value is too large to map as a downstream's dependency";
        return Err(ErrorResponse::refused(400, "unmappable_return_value_length", message));
    }
    let new = NewXCom {
        key: key_of!(asked),
        map_index: map_index(asked.map_index),
        value: &asked.value,
        dag_result: asked.dag_result,
        mapped_length,
    };
    let mut transaction = connection.begin().await.map_err(|error| of_metadata(error.into()))?;
    xcom::set(&mut transaction, new).await.map_err(of_metadata)?;
    transaction.commit().await.map_err(|error| of_metadata(error.into()))?;
    Ok(None)
}

pub(super) async fn delete(connection: &mut PgConnection, asked: DeleteXCom) -> Answer {
    xcom::delete(connection, key_of!(asked), map_index(asked.map_index)).await.map_err(of_metadata)?;
    Ok(None)
}
