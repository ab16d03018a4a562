//! What only Python knows: plugins, forms of connections, and whether a connection works.
#![forbid(unsafe_code)]

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tradewind_tests::deployment::Deployment;
use tradewind_tests::patience::eventually;

const PLUGIN: &str = "
from airflow.plugins_manager import AirflowPlugin


class Links(AirflowPlugin):
    name = 'links'
    external_views = [{'name': 'Docs', 'href': 'https://example.org'}]
";

#[tokio::test]
async fn plugins_are_listed_and_connections_tested() {
    let deployment = Deployment::new(&[]).await.with("AIRFLOW__CORE__TEST_CONNECTION", "Enabled");
    let plugins = deployment.home().join("plugins");
    std::fs::create_dir(&plugins).expect("a folder");
    std::fs::write(plugins.join("links.py"), PLUGIN).expect("a plugin");
    let standalone = deployment.start().await;
    let rest = standalone.log_in().await;

    let is_listed =
        |plugins: &Value| plugins["plugins"].as_array().is_some_and(|all| all.iter().any(|it| it["name"] == "links"));
    rest.get_until("plugins", is_listed).await;
    let forms = rest.get_ui("connections/hook_meta").await;
    assert!(forms.as_array().expect("a list").iter().any(|form| form["connection_type"] == "fs"));

    let connection = |id: &str, path: &str| json!({"connection_id": id, "conn_type": "fs", "extra": json!({"path": path}).to_string()});
    let works = rest.post("connections/test", &connection("now", "/")).await;
    assert_eq!(works, json!({"status": true, "message": "Path / is existing."}));
    let fails = rest.post("connections/test", &connection("now", "/no/such")).await;
    assert_eq!(fails, json!({"status": false, "message": "Path /no/such does not exist."}));

    // Enqueued, and stored when it works.
    let mut later = connection("later", "/");
    later["commit_on_success"] = true.into();
    assert_eq!(rest.post("connections/enqueue-test", &later).await["state"], "pending");
    let message: String = eventually("the end of the test", async || {
        sqlx::query_scalar("SELECT result_message FROM connection_test_request WHERE state = 'success'")
            .fetch_optional(deployment.database().pool())
            .await
            .expect("a query")
    })
    .await;
    assert_eq!(message, "Path / is existing.");
    assert_eq!(rest.get("connections/later").await["conn_type"], "fs");
    standalone.end(Signal::SIGTERM);
}
