//! Requests made from the official OpenAPI documents, sent to a web server whose data official Airflow has written.
#![forbid(unsafe_code)]

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tradewind_tests::component::Component;
use tradewind_tests::deployment::{Deployment, PASSWORD, USER};
use tradewind_tests::patience::eventually;
use tradewind_tests::program::{python, succeeds, workspace};

/// What the recorder of the web server's tests made, with further rows.
const FIXTURES: [&str; 3] =
    ["webserver/tests/fixtures/airflow.sql", "webserver/tests/fixtures/partitions.sql", "tests/openapi/many.sql"];

/// What the fixtures are encrypted with.
const FERNET_KEY: &str = "cFuF9mKqkzGm2JPQTlzrC9LvvS4oGvRAIpZ2R0oBbJ0=";

/// Runs a program of `tests/openapi` against a web server of its own.
async fn passes(script: &str) {
    let logs = workspace().join("webserver/tests/fixtures/logs");
    let deployment = Deployment::new(&[])
        .await
        .with("AIRFLOW__CORE__FERNET_KEY", FERNET_KEY)
        .with("AIRFLOW__LOGGING__BASE_LOG_FOLDER", logs);
    fill(&deployment).await;
    let arguments = ["webserver", "--host", "127.0.0.1", "--port", "0"];
    let mut webserver = Component::new(&deployment, "webserver", &arguments);
    webserver.start();
    let url = eventually("the web server", async || {
        let said = webserver.said();
        let (_, rest) = said.split_once("serving ")?;
        rest.split_once(',').map(|(url, _)| url.to_owned())
    })
    .await;
    succeeds(python(".venv-test", script).args([url.as_str(), USER, PASSWORD]));
    webserver.end();
}

async fn fill(deployment: &Deployment) {
    // A connection of its own: the fixtures switch triggers off for their session.
    let url = deployment.database().sql_alchemy_conn().replace("+psycopg2", "");
    let mut connection = PgConnection::connect(&url).await.expect("a connection");
    for file in FIXTURES {
        let rows = std::fs::read_to_string(workspace().join(file)).expect("a fixture");
        sqlx::raw_sql(AssertSqlSafe(rows)).execute(&mut connection).await.expect("a fixture that fits the schema");
    }
    connection.close().await.expect("an end");
}

#[tokio::test]
async fn generated_requests_are_answered_as_the_documents_say() {
    passes("tests/openapi/generated.py").await;
}

#[tokio::test]
async fn bad_input_is_refused_for_every_operation() {
    passes("tests/openapi/bad_input.py").await;
}
