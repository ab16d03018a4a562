//! The audit log: who asked for which change (`airflow/api_fastapi/logging/decorators.py`).

use crate::auth::User;
use crate::batches::Work;
use crate::error::ApiResult;
use crate::query::Params;
use crate::state::App;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use sqlx::PgPool;
use tradewind_airflow::python_json;

/// Parameters that have columns of their own or are not worth a line.
const NOT_EXTRA: [&str; 8] =
    ["csrf_token", "_csrf_token", "is_paused", "dag_id", "task_id", "dag_run_id", "run_id", "logical_date"];

/// A change that is about to be made.
#[derive(Debug)]
pub(crate) struct Change<'a> {
    /// The name of the official handler.
    pub event: &'a str,
    /// The HTTP method.
    pub method: &'a str,
    /// Path parameters in the order of the path.
    pub path: &'a [(&'a str, &'a str)],
    /// The JSON body, if any.
    pub body: Option<&'a Map<String, Value>>,
}

/// A row of the table `log`.
pub(crate) struct Record {
    at: DateTime<Utc>,
    event: String,
    owner: String,
    extra: String,
    task_id: Option<String>,
    dag_id: Option<String>,
    run_id: Option<String>,
    logical_date: Option<DateTime<Utc>>,
}

/// Writes records together with those of others who change something at the same time.
pub(crate) struct Records(pub(crate) PgPool);

impl Work for Records {
    type Item = Record;
    type Outcome = ();

    async fn run(&self, records: &[Record]) -> ApiResult<Vec<ApiResult<()>>> {
        sqlx::query(
            "INSERT INTO log (dttm, event, owner, owner_display_name, extra, task_id, dag_id, run_id, logical_date) \
             SELECT new.dttm, new.event, new.owner, new.owner, new.extra, new.task_id, new.dag_id, new.run_id, \
             new.logical_date FROM unnest($1::timestamptz[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], \
             $7::text[], $8::timestamptz[]) AS new (dttm, event, owner, extra, task_id, dag_id, run_id, logical_date)",
        )
        .bind(column(records, |record| record.at))
        .bind(column(records, |record| record.event.as_str()))
        .bind(column(records, |record| record.owner.as_str()))
        .bind(column(records, |record| record.extra.as_str()))
        .bind(column(records, |record| record.task_id.as_deref()))
        .bind(column(records, |record| record.dag_id.as_deref()))
        .bind(column(records, |record| record.run_id.as_deref()))
        .bind(column(records, |record| record.logical_date))
        .execute(&self.0)
        .await?;
        Ok(records.iter().map(|_| Ok(())).collect())
    }
}

fn column<'a, T>(records: &'a [Record], value: impl Fn(&'a Record) -> T) -> Vec<T> {
    records.iter().map(value).collect()
}

impl Change<'_> {
    /// Writes the record; as in Airflow it stays even when the change is refused afterwards.
    pub(crate) async fn record(&self, app: &App, user: &User, params: &Params) -> ApiResult<()> {
        let body = self.body.map(|body| app.masker.redact_object(body.clone()));
        let query = params.pairs().iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let mut given = Map::new();
        for (name, value) in query.chain(self.path.iter().copied()) {
            given.insert(name.to_owned(), value.into());
        }
        let mut extra = self.extra(app, &given, body.as_ref());
        given.extend(body.into_iter().flatten());
        if let Some(is_paused) = given.get("is_paused") {
            extra.insert("is_paused".to_owned(), is_paused.clone());
        }
        extra.insert("method".to_owned(), self.method.into());

        let text = |name: &str| match given.get(name)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        };
        let logical_date = params.text("logical_date").and_then(|text| crate::query::parse_time(&text));
        let record = Record {
            at: Utc::now(),
            event: self.event.to_owned(),
            owner: user.name.clone(),
            extra: python_json::dumps(&Value::Object(extra)),
            task_id: text("task_id"),
            dag_id: text("dag_id"),
            run_id: text("run_id").or_else(|| text("dag_run_id")),
            logical_date: logical_date.map(|(time, _)| time),
        };
        app.records.submit(record).await
    }

    fn extra(&self, app: &App, given: &Map<String, Value>, body: Option<&Map<String, Value>>) -> Map<String, Value> {
        let shown = given.iter().filter(|(name, _)| !NOT_EXTRA.contains(&name.as_str()));
        let shown: Map<String, Value> = shown.map(|(name, value)| (name.clone(), value.clone())).collect();
        let mut shown = app.masker.redact_object(shown);
        match (self.body, body) {
            (Some(raw), _) if self.event.contains("variable") => mask_entities(raw, mask_variable),
            (Some(raw), _) if self.event.contains("connection") => {
                mask_entities(raw, |entity| mask_connection(app, entity))
            }
            (_, Some(body)) => {
                shown.extend(body.clone());
                shown
            }
            _ => shown,
        }
    }
}

/// Masks one entity, or each entity of a bulk body.
fn mask_entities(
    body: &Map<String, Value>,
    mask: impl Fn(&Map<String, Value>) -> Map<String, Value>,
) -> Map<String, Value> {
    let Some(actions) = body.get("actions").and_then(Value::as_array) else { return mask(body) };
    let mut masked = body.clone();
    let actions = actions.iter().map(|action| {
        let mut action = action.clone();
        if let Some(entities) = action.get_mut("entities").and_then(Value::as_array_mut) {
            for entity in entities {
                if let Value::Object(fields) = entity {
                    *entity = Value::Object(mask(fields));
                }
            }
        }
        action
    });
    masked.insert("actions".to_owned(), actions.collect());
    masked
}

fn mask_variable(entity: &Map<String, Value>) -> Map<String, Value> {
    let mask = |(name, value): (&String, &Value)| {
        let masked = if matches!(name.as_str(), "val" | "value") { "***".into() } else { value.clone() };
        (name.clone(), masked)
    };
    entity.iter().map(mask).collect()
}

fn mask_connection(app: &App, entity: &Map<String, Value>) -> Map<String, Value> {
    let mut masked = app.masker.redact_object(entity.clone());
    // Whatever it is that was sent: its names may be told, its values never.
    if let Some(extra) = entity.get("extra").filter(|extra| python_json::is_truthy(extra)) {
        let shown = match extra.as_str().map(serde_json::from_str) {
            Some(Ok(Value::Object(fields))) => fields.into_iter().map(|(name, _)| (name, Value::from("***"))).collect(),
            Some(Ok(_)) => Value::from("Expected JSON object in `extra` field, got non-dict JSON"),
            Some(Err(_)) | None => Value::from("Encountered non-JSON in `extra` field"),
        };
        masked.insert("extra".to_owned(), shown);
    }
    masked
}
