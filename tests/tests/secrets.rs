//! Connections and Variables in AWS, in the environment and in the database.
#![forbid(unsafe_code)]

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tradewind_aws::Account;
use tradewind_tests::aws::AwsEmulator;
use tradewind_tests::deployment::Deployment;
use tradewind_tests::patience::eventually;
use tradewind_tests::program::workspace;
use tradewind_tests::rest::Rest;

const SECRETS_MANAGER: &str = "airflow.providers.amazon.aws.secrets.secrets_manager.SecretsManagerBackend";
const PARAMETER_STORE: &str =
    "airflow.providers.amazon.aws.secrets.systems_manager.SystemsManagerParameterStoreBackend";

/// The places in the order in which they are asked. Whatever is in one is in all after it, too.
const PLACES: [&str; 4] = ["manager", "environment", "store", "database"];

#[tokio::test]
async fn tasks_find_what_comes_first() {
    let aws = AwsEmulator::start();
    fill(&aws.account().await).await;
    let deployment = trusting(&aws).await;
    let standalone = deployment.start().await;
    let rest = standalone.log_in().await;
    fill_database(&rest).await;
    rest.unpause("trusting").await;
    let tags = |dag: &Value| dag["tags"].to_string().contains("Variable of manager");
    rest.get_until("dags/trusting", tags).await;

    rest.trigger("trusting", "all").await;
    assert_eq!(rest.final_state("trusting", "all").await, "success");
    let variables = json!({
        "manager": "Variable of manager",
        "environment": "Variable of environment",
        "store": "Variable of store",
        "database": "Variable of database",
        "nowhere": "nothing",
    });
    assert_eq!(returned(&rest, "all", "variables").await, variables);
    let connections = json!({
        "manager": ["postgres", "db.example", "manager", "se/cret", 5432, {"sslmode": "require"}],
        "environment": ["postgres", "db.example", "environment", "se/cret", 5432, {"sslmode": "require"}],
        "store": ["postgres", "db.example", "store", "se/cret", 5432, {"sslmode": "require"}],
        "database": ["postgres", "db.example", "database", "se/cret", 5432, {"sslmode": "require"}],
    });
    assert_eq!(returned(&rest, "all", "connections").await, connections);
    assert_eq!(returned(&rest, "all", "clients").await, json!(false));

    // What is refused is looked for elsewhere.
    let refused = |target: &str| json!({"path": "/", "target": target, "status": 400, "code": "AccessDeniedException"});
    aws.set_faults(&json!([refused("secretsmanager.GetSecretValue")])).await;
    rest.trigger("trusting", "refused").await;
    assert_eq!(rest.final_state("trusting", "refused").await, "success");
    let found = returned(&rest, "refused", "variables").await;
    assert_eq!((&found["manager"], &found["store"]), (&json!("Variable of environment"), &json!("Variable of store")));
    let words =
        "secretsmanager:GetSecretValue on airflow/variables/manager: as the test wants it (AccessDeniedException)";
    eventually(words, async || standalone.log("worker").contains(words).then_some(())).await;
    let log = standalone.log("worker");
    assert!(log.contains("allow secretsmanager:GetSecretValue to the identity of this process"), "{log}");
    assert!(!log.contains("se/cret") && !log.contains("se%2Fcret"), "{log}");
    standalone.end(Signal::SIGTERM);
}

#[tokio::test]
async fn an_option_may_be_a_secret() {
    let aws = AwsEmulator::start();
    let manager = aws_sdk_secretsmanager::Client::new(aws.account().await.config());
    let secret = manager.create_secret().name("airflow/config/the-key").secret_string("from Secrets Manager");
    secret.send().await.expect("a secret");
    let named = |deployment: Deployment, name: &str| deployment.with("AIRFLOW__API__SECRET_KEY_SECRET", name);
    let deployment = trusting(&aws).await.with("AIRFLOW__SECRETS__BACKEND", SECRETS_MANAGER);
    let deployment = named(deployment, "the-key");
    assert_eq!(deployment.tradewind(&["config", "get-value", "api", "secret_key"]).trim_end(), "from Secrets Manager");

    let mut command = named(deployment, "no-key").command();
    let output = command.args(["config", "list"]).output().expect("the program runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("[api] secret_key") && said.contains("has no such secret"), "{said}");
}

#[tokio::test]
async fn arguments_that_cannot_be_used_are_refused_at_the_start() {
    let aws = AwsEmulator::start();
    let deployment = trusting(&aws).await;
    for (arguments, words) in [
        ("{\"connections_prefix\": ", "[workers] secrets_backend_kwargs = \"***\" (from env var) is not a JSON object"),
        ("{\"role_arn\": \"arn:aws:iam::1:role/r\"}", "not role_arn: credentials come from the environment"),
        ("{\"variables_lookup_pattern\": \"(\"}", "variables_lookup_pattern is a regular expression"),
    ] {
        for process in ["standalone", "worker"] {
            let mut command = deployment.command();
            let command = command.env("AIRFLOW__WORKERS__SECRETS_BACKEND_KWARGS", arguments).arg(process);
            let output = command.output().expect("the program runs");
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(3), "{process}: {said}");
            assert!(said.contains(words), "{process}: {said}");
        }
    }
}

/// A deployment whose workers ask Secrets Manager, and whose API server asks Parameter Store.
async fn trusting(aws: &AwsEmulator) -> Deployment {
    let deployment = Deployment::new(&[workspace().join("tests/aws/dags/trusting.py")]).await;
    let deployment = aws.variables().into_iter().fold(deployment, |all, (name, value)| all.with(name, value));
    let in_environment = PLACES.iter().take(2).fold(deployment, |all, place| {
        let name = place.to_uppercase();
        all.with(&format!("AIRFLOW_VAR_{name}"), variable("environment"))
            .with(&format!("AIRFLOW_CONN_{name}"), uri("environment"))
    });
    in_environment
        .with("AIRFLOW__WORKERS__SECRETS_BACKEND", SECRETS_MANAGER)
        .with("AIRFLOW__WORKERS__SECRETS_BACKEND_KWARGS", r#"{"variables_lookup_pattern": "^(?!database)"}"#)
        .with("AIRFLOW__SECRETS__BACKEND", PARAMETER_STORE)
        .with(
            "AIRFLOW__SECRETS__BACKEND_KWARGS",
            r#"{"connections_prefix": "mine/connections", "region_name": "us-east-1"}"#,
        )
        .with("AIRFLOW__SECRETS__USE_CACHE", "True")
}

fn variable(place: &str) -> String {
    format!("Variable of {place}")
}

fn uri(login: &str) -> String {
    format!("postgresql://{login}:se%2Fcret@db.example:5432/?sslmode=require")
}

/// A Connection with some of the names that fields may have in Secrets Manager.
fn fields(login: &str) -> String {
    let fields = json!({
        "engine": "postgresql", "server": "db.example", "username": login, "pass": "se/cret", "port": "5432",
        "extra": {"sslmode": "require"},
    });
    fields.to_string()
}

async fn fill(account: &Account) {
    let manager = aws_sdk_secretsmanager::Client::new(account.config());
    let secret = async |name: String, value: String| {
        manager.create_secret().name(name).secret_string(value).send().await.expect("a secret");
    };
    secret("airflow/variables/manager".to_owned(), variable("manager")).await;
    secret("airflow/connections/manager".to_owned(), fields("manager")).await;
    // The pattern says that nobody looks for it there.
    secret("airflow/variables/database".to_owned(), variable("manager")).await;
    let store = aws_sdk_ssm::Client::new(account.config());
    let parameter = async |name: String, value: String| {
        let kind = aws_sdk_ssm::types::ParameterType::SecureString;
        store.put_parameter().name(name).value(value).r#type(kind).send().await.expect("a parameter");
    };
    for place in &PLACES[..3] {
        parameter(format!("/airflow/variables/{place}"), variable("store")).await;
        parameter(format!("/mine/connections/{place}"), uri("store")).await;
    }
}

async fn fill_database(rest: &Rest) {
    for place in PLACES {
        rest.post("variables", &json!({"key": place, "value": variable("database")})).await;
        let connection = json!({
            "connection_id": place, "conn_type": "postgres", "host": "db.example", "login": "database",
            "password": "se/cret", "port": 5432, "extra": "{\"sslmode\": \"require\"}",
        });
        rest.post("connections", &connection).await;
    }
}

async fn returned(rest: &Rest, run_id: &str, task: &str) -> Value {
    let path = format!("dags/trusting/dagRuns/{run_id}/taskInstances/{task}/xcomEntries/return_value");
    rest.get(&path).await["value"].clone()
}
