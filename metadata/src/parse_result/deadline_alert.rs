//! Rows of `deadline_alert`. A stored Dag names its alerts by id instead of spelling them out, so that an unchanged alert
//! keeps its id and the Dag its hash (`SerializedDagModel._try_reuse_deadline_uuids`).

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sqlx::{FromRow, PgConnection, query, query_as};
use tradewind_airflow::serialized_dag;
use uuid::Uuid;

use super::ParsedDag;
use crate::Result;

/// An alert to store.
#[derive(Debug, Clone, FromRow)]
pub(super) struct DeadlineAlert {
    id: Uuid,
    name: Option<String>,
    reference: Value,
    interval: Value,
    callback_def: Value,
}

/// The alerts of a Dag, their ids settled.
pub(super) struct Resolved {
    alerts: Vec<DeadlineAlert>,
    /// Whether they are stored already, under the newest version.
    are_stored: bool,
}

impl DeadlineAlert {
    fn declared(encoded: &Value) -> Self {
        let part = encoded.get("__var").unwrap_or(encoded);
        let field = |name: &str| part.get(name).cloned().unwrap_or(Value::Null);
        Self {
            id: Uuid::now_v7(),
            name: part.get("name").and_then(Value::as_str).map(str::to_owned),
            reference: field("reference"),
            interval: field("interval"),
            callback_def: field("callback"),
        }
    }

    fn means_the_same(&self, other: &Self) -> bool {
        self.reference == other.reference && self.interval == other.interval && self.callback_def == other.callback_def
    }
}

/// Replaces the alerts in `data` by their ids: those of the newest version where it has the same alerts, else new ones.
pub(super) async fn resolve(connection: &mut PgConnection, dag: &ParsedDag, data: &mut Value) -> Result<Resolved> {
    let declared: Vec<DeadlineAlert> = dag.deadline.iter().flatten().map(DeadlineAlert::declared).collect();
    if declared.is_empty() {
        return Ok(Resolved { alerts: Vec::new(), are_stored: false });
    }
    let stored: Vec<DeadlineAlert> = query_as(include_str!("../../queries/parse_result/latest_deadline_alerts.sql"))
        .bind(dag.dag_id())
        .fetch_all(&mut *connection)
        .await?;
    let resolved = match pair(&declared, &stored) {
        Some(alerts) => {
            rename(connection, &alerts, &stored).await?;
            Resolved { alerts, are_stored: true }
        }
        None => Resolved { alerts: declared, are_stored: false },
    };
    name_alerts(data, &resolved.alerts);
    Ok(resolved)
}

/// The declared alerts under the ids of their stored twins, in stored order; `None` when any has none.
fn pair(declared: &[DeadlineAlert], stored: &[DeadlineAlert]) -> Option<Vec<DeadlineAlert>> {
    if declared.len() != stored.len() {
        return None;
    }
    let mut open: Vec<&DeadlineAlert> = declared.iter().collect();
    stored
        .iter()
        .map(|twin| {
            let at = open.iter().position(|alert| alert.means_the_same(twin))?;
            Some(DeadlineAlert { id: twin.id, ..open.remove(at).clone() })
        })
        .collect()
}

async fn rename(connection: &mut PgConnection, alerts: &[DeadlineAlert], stored: &[DeadlineAlert]) -> Result<()> {
    for (alert, stored) in alerts.iter().zip(stored).filter(|(alert, stored)| alert.name != stored.name) {
        query("UPDATE deadline_alert SET name = $2 WHERE id = $1")
            .bind(stored.id)
            .bind(&alert.name)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

fn name_alerts(data: &mut Value, alerts: &[DeadlineAlert]) {
    data["dag"]["deadline"] = alerts.iter().map(|alert| json!(alert.id.to_string())).collect();
}

impl Resolved {
    /// The alerts to store, and the hash of the Dag that names them. A new version needs ids of its own, because the rows
    /// of the old version stay.
    pub(super) fn for_target(
        self,
        is_new_version: bool,
        data: &mut Value,
        hash: String,
    ) -> (Vec<DeadlineAlert>, String) {
        if !self.are_stored {
            return (self.alerts, hash);
        }
        if !is_new_version {
            return (Vec::new(), hash);
        }
        let alerts: Vec<DeadlineAlert> =
            self.alerts.into_iter().map(|alert| DeadlineAlert { id: Uuid::now_v7(), ..alert }).collect();
        name_alerts(data, &alerts);
        let hash = serialized_dag::dag_hash(data);
        (alerts, hash)
    }
}

/// Stores alerts under the newest version of their Dags, in place of those it had.
pub(super) async fn store<'a>(
    connection: &mut PgConnection,
    alerts: impl Iterator<Item = (&'a str, &'a [DeadlineAlert])>,
    now: DateTime<Utc>,
) -> Result<()> {
    let rows: Vec<Value> = alerts
        .flat_map(|(dag_id, alerts)| {
            alerts.iter().map(move |alert| {
                json!({
                    "dag_id": dag_id,
                    "id": alert.id,
                    "name": alert.name,
                    "reference": alert.reference,
                    "interval": alert.interval,
                    "callback_def": alert.callback_def,
                })
            })
        })
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    query(include_str!("../../queries/parse_result/replace_deadline_alerts.sql"))
        .bind(Value::Array(rows))
        .bind(now)
        .execute(connection)
        .await?;
    Ok(())
}
