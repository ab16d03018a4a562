//! Events of assets.

use crate::Document;
use crate::server::Server;
use serde_json::json;

/// Official Airflow answers 500, for its document promises when each run has started.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_names_the_runs_that_have_started() {
    let server = Server::start().await;
    let path = "/api/v2/assets/events";
    let events = server.read(path).await;
    let has_runs = |event: &&serde_json::Value| event["created_dagruns"] != json!([]);
    let with_run =
        events["asset_events"].as_array().expect("a list").iter().find(has_runs).expect("an event with a run");
    let run = &with_run["created_dagruns"][0]["run_id"];
    let statement = "UPDATE dag_run SET start_date = NULL, state = 'queued' WHERE run_id = $1";
    sqlx::query(statement).bind(run.as_str()).execute(server.pool()).await.expect("an update");
    let events = server.read(path).await;
    assert!(!events["asset_events"].as_array().expect("a list").iter().any(|event| has_runs(&event)), "{events}");
    Document::load("v2-rest-api-generated.yaml").validate(path, &events);
}
