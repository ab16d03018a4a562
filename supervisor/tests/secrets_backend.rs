//! Secrets backends of classes that only Python knows, asked in place of the API server: an official one, and one that fails in every
//! way.

use serde_json::{Value, json};
use tempfile::TempDir;
use tradewind_airflow::config::{Config, Environment};
use tradewind_airflow::supervisor_protocol::to_supervisor::ToSupervisor;
use tradewind_metadata::testing::TestDatabase;
use tradewind_supervisor::pyhost::{self, PyHost};
use tradewind_supervisor::requests::{Answers, Scope};

const FERNET_KEY: &str = "cFuF9mKqkzGm2JPQTlzrC9LvvS4oGvRAIpZ2R0oBbJ0=";

/// Long enough for a child that loads Airflow's models, and short enough to wait for one that hangs.
const TIMEOUT: &str = "20";

const MOODY: &str = r#"
import os, sys, time

from airflow.sdk.bases.secrets_backend import BaseSecretsBackend
from airflow.sdk.exceptions import AirflowSecretsBackendAccessDenied

print("a backend is loaded", file=sys.stderr)


class MoodyBackend(BaseSecretsBackend):
    """Behaves as the name says that it is asked for. It counts, so that one can see how long it lives."""

    def __init__(self, token, place):
        super().__init__()
        self.token, self.place, self.asked = token, place, 0

    def behave(self, name):
        self.asked += 1
        if name.startswith("raises"):
            raise LookupError(f"no vault at {self.place} for {self.token}")
        if name.startswith("hangs"):
            time.sleep(600)
        if name.startswith("dies"):
            os._exit(7)
        if name.startswith("exits"):
            sys.exit(3)
        if name.startswith("denied"):
            raise AirflowSecretsBackendAccessDenied(f"not for you, {self.token}")

    def get_conn_value(self, conn_id):
        self.behave(conn_id)
        if conn_id.startswith("works"):
            return "postgresql://user:pa%2Fss@db.example:5432/app?sslmode=require"
        if conn_id == "unreadable":
            return "{"

    def get_variable(self, key):
        self.behave(key)
        if key == "count":
            return str(self.asked)
        if key == "number":
            return 7
        if key.startswith("works"):
            return f"{key} in a vault"
"#;

struct Fixture {
    folder: TempDir,
    database: TestDatabase,
    variables: Vec<(&'static str, String)>,
}

impl Fixture {
    async fn new() -> Self {
        let (folder, database) = (tempfile::tempdir().expect("a folder"), TestDatabase::migrated().await);
        sqlx::query("INSERT INTO variable (key, val, is_encrypted) VALUES ('app_plain', 'text', FALSE)")
            .execute(database.pool())
            .await
            .expect("a Variable");
        let variables = vec![
            ("AIRFLOW_HOME", folder.path().to_string_lossy().into_owned()),
            ("AIRFLOW__CORE__FERNET_KEY", FERNET_KEY.to_owned()),
            ("AIRFLOW__TRADEWIND__EVALUATION_TIMEOUT", TIMEOUT.to_owned()),
            ("PYTHONPATH", folder.path().to_string_lossy().into_owned()),
        ];
        Self { folder, database, variables }
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.to_string_lossy().into_owned()
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.variables.push((name, value.into()));
        self
    }

    async fn answers(&self) -> Answers {
        let environment =
            self.variables.iter().fold(Environment::default(), |all, (name, value)| all.with(*name, value.clone()));
        let config = Config::from_environment(&environment).expect("a configuration");
        let options = pyhost::Options::from_config(&Config::from_environment(&Environment::of_process()).expect("one"))
            .expect("tradewind-pyhost and the virtual environment; `make test` makes both");
        let options =
            self.variables.iter().fold(options, |options, (name, value)| options.with_variable(*name, value.clone()));
        let host = PyHost::start(options).await.expect("a pyhost");
        let answers = Answers::new(self.database.database().clone(), &config).expect("settings");
        answers.with_interpreter(&host, &config).expect("settings")
    }
}

async fn ask(answers: &Answers, body: Value) -> Value {
    let message: ToSupervisor = serde_json::from_value(body).expect("a request");
    answers.answer(Scope::DagFile, message).await.expect("an answer").expect("a body")
}

async fn variable(answers: &Answers, key: &str) -> Value {
    let answer = ask(answers, json!({"type": "GetVariable", "key": key})).await;
    if answer["type"] == "ErrorResponse" { answer["error"].clone() } else { answer["value"].clone() }
}

async fn connection(answers: &Answers, conn_id: &str) -> Value {
    ask(answers, json!({"type": "GetConnection", "conn_id": conn_id})).await
}

#[tokio::test]
async fn the_official_backend_for_files_is_asked_before_the_database() {
    for (variables, connections) in [("v.json", "c.json"), ("v.yaml", "c.yaml"), ("v.env", "c.env")] {
        let fixture = Fixture::new().await;
        let text = |name: &str| match name {
            "v.json" => r#"{"app_plain": "of a file", "more": "words"}"#,
            "v.yaml" => "app_plain: of a file\nmore: words\n",
            "v.env" => "app_plain=of a file\nmore=words\n",
            "c.json" => r#"{"files": {"conn_type": "ssh", "host": "h", "port": 22, "extra": {"a": 1}}}"#,
            "c.yaml" => "files:\n  conn_type: ssh\n  host: h\n  port: 22\n  extra: {a: 1}\n",
            _ => "files=ssh://h:22/?a=1\n",
        };
        let arguments = json!({
            "variables_file_path": fixture.write(variables, text(variables)),
            "connections_file_path": fixture.write(connections, text(connections)),
        });
        let fixture = fixture
            .with("AIRFLOW__SECRETS__BACKEND", "airflow.secrets.local_filesystem.LocalFilesystemBackend")
            .with("AIRFLOW__SECRETS__BACKEND_KWARGS", arguments.to_string());
        let answers = fixture.answers().await;
        assert_eq!(variable(&answers, "app_plain").await, "of a file", "{variables}: the database has it, too");
        assert_eq!(variable(&answers, "more").await, "words");
        assert_eq!(variable(&answers, "nowhere").await, "VARIABLE_NOT_FOUND");
        let found = connection(&answers, "files").await;
        assert_eq!((&found["conn_type"], &found["host"], &found["port"]), (&json!("ssh"), &json!("h"), &json!(22)));
        let extra: Value = serde_json::from_str(found["extra"].as_str().expect("a text")).expect("JSON");
        assert_eq!(extra["a"].to_string().trim_matches('"'), "1", "{connections}: {found}");
        assert_eq!(connection(&answers, "nowhere").await["error"], "CONNECTION_NOT_FOUND");
    }
}

#[tokio::test]
async fn what_a_backend_does_wrong_costs_its_answer_alone() {
    let fixture = Fixture::new().await;
    fixture.write("moody.py", MOODY);
    let arguments = json!({"token": "hunter2-of-the-vault", "place": "vault.example"});
    let fixture = fixture
        .with("AIRFLOW__SECRETS__BACKEND", "moody.MoodyBackend")
        .with("AIRFLOW__SECRETS__BACKEND_KWARGS", arguments.to_string());
    let answers = fixture.answers().await;
    // One child and one backend for all of them.
    assert_eq!(variable(&answers, "works").await, "works in a vault");
    let found = connection(&answers, "works").await;
    let expected = json!({
        "conn_id": "works", "conn_type": "postgres", "host": "db.example", "schema": "app", "login": "user",
        "password": "pa/ss", "port": 5432, "extra": "{\"sslmode\": \"require\"}", "type": "ConnectionResult",
    });
    assert_eq!(found, expected);
    assert_eq!(variable(&answers, "count").await, "3");
    // The database has it.
    assert_eq!(variable(&answers, "app_plain").await, "text");

    for name in ["raises", "exits", "number", "unreadable"] {
        assert_eq!(variable(&answers, name).await, "VARIABLE_NOT_FOUND", "{name}");
        assert_eq!(connection(&answers, name).await["error"], "CONNECTION_NOT_FOUND", "{name}");
    }
    assert_eq!(variable(&answers, "count").await, "13", "errors end no child");
    assert_eq!(variable(&answers, "denied").await, "PERMISSION_DENIED", "which is final");
    assert_eq!(connection(&answers, "denied").await["error"], "PERMISSION_DENIED");

    assert_eq!(variable(&answers, "dies").await, "VARIABLE_NOT_FOUND");
    assert_eq!(variable(&answers, "count").await, "1", "another child");
    assert_eq!(variable(&answers, "hangs").await, "VARIABLE_NOT_FOUND");
    assert_eq!(variable(&answers, "works").await, "works in a vault", "at once");
}

#[tokio::test]
async fn some_that_hang_leave_room_for_others_in_time() {
    let fixture = Fixture::new().await;
    fixture.write("moody.py", MOODY);
    let fixture = fixture
        .with("AIRFLOW__SECRETS__BACKEND", "moody.MoodyBackend")
        .with("AIRFLOW__SECRETS__BACKEND_KWARGS", r#"{"token": "t", "place": "p"}"#);
    let answers = fixture.answers().await;
    let hanging = (0..6).map(|number| {
        let answers = answers.clone();
        async move { variable(&answers, &format!("hangs-{number}")).await }
    });
    // More than are asked at once, all of which come to an end.
    assert_eq!(futures::future::join_all(hanging).await, vec![json!("VARIABLE_NOT_FOUND"); 6]);
    assert_eq!(variable(&answers, "works").await, "works in a vault");
}
