//! Human in the loop: questions of tasks to people.

use serde_json::{Map, Value, json};
use sqlx::{Connection, PgConnection};
use tradewind_airflow::supervisor_protocol::to_supervisor::{CreateHITLDetailPayload, UpdateHITLDetail};
use tradewind_metadata::hitl::{self, HitlDetail};
use uuid::Uuid;

use super::refusal::of_metadata;
use super::{Answer, body};

/// Answers with the question as it is stored; fields at their defaults are left out.
pub(super) async fn ask(connection: &mut PgConnection, asked: CreateHITLDetailPayload) -> Answer {
    let mut transaction = connection.begin().await.map_err(|error| of_metadata(error.into()))?;
    let detail = hitl::ask(&mut transaction, &asked).await.map_err(of_metadata)?;
    transaction.commit().await.map_err(|error| of_metadata(error.into()))?;
    let mut fields = Map::new();
    fields.insert("ti_id".to_owned(), json!(detail.ti_id));
    fields.insert("options".to_owned(), json!(detail.options.0));
    fields.insert("subject".to_owned(), json!(detail.subject));
    fields.extend(detail.body.as_ref().map(|text| ("body".to_owned(), json!(text))));
    let defaults = detail.defaults.as_ref().and_then(|defaults| defaults.0.as_ref());
    fields.extend(defaults.map(|defaults| ("defaults".to_owned(), json!(defaults))));
    fields
        .extend(detail.multiple.filter(|multiple| *multiple).map(|multiple| ("multiple".to_owned(), json!(multiple))));
    fields.insert("params".to_owned(), detail.params.0.clone());
    fields.insert("assigned_users".to_owned(), json!(detail.assigned_users()));
    body("HITLDetailRequestResult", Value::Object(fields))
}

pub(super) async fn answer(connection: &mut PgConnection, asked: UpdateHITLDetail) -> Answer {
    let params = Value::Object(asked.params_input.unwrap_or_default());
    let detail = hitl::answer(connection, asked.ti_id, &asked.chosen_options, &params).await.map_err(of_metadata)?;
    respond(&detail)
}

pub(super) async fn response(connection: &mut PgConnection, id: Uuid) -> Answer {
    let detail = hitl::get(connection, id).await.map_err(of_metadata)?;
    respond(&detail.ok_or_else(|| of_metadata(hitl::missing()))?)
}

fn respond(detail: &HitlDetail) -> Answer {
    body(
        "HITLDetailResponseResult",
        json!({
            "response_received": detail.is_answered(),
            "responded_by_user": detail.responded_by(),
            "responded_at": detail.responded_at,
            "chosen_options": detail.chosen_options(),
            "params_input": detail.params_input.0,
        }),
    )
}
