//! Keeps the rows of Dags fresh whose file is known not to have changed, without parsing it again.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sqlx::{PgPool, query_scalar};

use super::{Schedule, dag, facts};
use crate::Result;

/// Does for Dags of unchanged files what parsing them again would: their rows say that they were seen just now, and
/// what their next run is. Returns the Dags that were not there, so that their files have to be parsed after all.
pub async fn refresh(pool: &PgPool, dags: &[Schedule]) -> Result<Vec<String>> {
    let now = Utc::now();
    let mut transaction = pool.begin().await?;
    let facts = facts::read(&mut transaction, dags.iter()).await?;
    let rows: Vec<Value> = dags.iter().map(|dag| row(dag, &facts, now)).collect();
    let seen: HashSet<String> = query_scalar(include_str!("../../queries/parse_result/refresh_dags.sql"))
        .bind(Value::Array(rows))
        .bind(now)
        .fetch_all(&mut *transaction)
        .await?
        .into_iter()
        .collect();
    transaction.commit().await?;
    Ok(dags.iter().map(|dag| &dag.dag_id).filter(|dag_id| !seen.contains(*dag_id)).cloned().collect())
}

fn row(dag: &Schedule, facts: &HashMap<String, facts::DagFacts>, now: DateTime<Utc>) -> Value {
    let mut row = json!({"dag_id": dag.dag_id});
    dag::set_schedule(&mut row, dag, &facts[&dag.dag_id], now);
    row
}
