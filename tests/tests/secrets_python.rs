//! Connections and Variables that a secrets backend of a deployment's own class has, which the supervisor asks in place of the API
//! server.
#![forbid(unsafe_code)]

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tradewind_tests::deployment::Deployment;
use tradewind_tests::program::workspace;
use tradewind_tests::rest::Rest;

/// What nobody may read in a log.
const TOKEN: &str = "hunter2-of-the-vault";

#[tokio::test]
async fn a_backend_of_any_class_is_asked_and_one_that_fails_is_passed_over() {
    let deployment = Deployment::new(&[workspace().join("tests/secrets/dags")])
        .await
        .with("PYTHONPATH", workspace().join("tests/secrets/backends"))
        .with("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
        .with("AIRFLOW__SECRETS__BACKEND", "vault.VaultBackend")
        .with("AIRFLOW__SECRETS__BACKEND_KWARGS", json!({ "token": TOKEN }).to_string())
        // What tasks ask themselves, which has nothing.
        .with("AIRFLOW__WORKERS__SECRETS_BACKEND", "airflow.secrets.local_filesystem.LocalFilesystemBackend")
        .with("AIRFLOW__WORKERS__SECRETS_BACKEND_KWARGS", "{}")
        .with("AIRFLOW__TRADEWIND__EVALUATION_TIMEOUT", "15")
        .with("AIRFLOW_VAR_ENVIRONMENT", "Variable of environment");
    let standalone = deployment.start().await;
    let rest = standalone.log_in().await;
    for name in ["works", "raises", "hangs", "dies", "environment", "database"] {
        rest.post("variables", &json!({"key": name, "value": "Variable of database"})).await;
        let connection = json!({"connection_id": name, "conn_type": "postgres", "login": "database"});
        rest.post("connections", &connection).await;
    }
    rest.unpause("asking").await;
    for run in ["first", "second"] {
        rest.trigger("asking", run).await;
        assert_eq!(rest.final_state("asking", run).await, "success");
        let expected = json!({
            "works": "Variable of vault",
            "raises": "Variable of database",
            "hangs": "Variable of database",
            "dies": "Variable of database",
            "environment": "Variable of environment",
            "database": "Variable of database",
            "nowhere": "nothing",
        });
        assert_eq!(returned(&rest, run, "variables").await, expected);
        let expected = json!({"works": "vault", "raises": "database", "database": "database"});
        assert_eq!(returned(&rest, run, "connections").await, expected);
    }
    let log = standalone.log("worker");
    for words in [
        "vault.VaultBackend: LookupError: the vault does not know the token ***",
        "did not answer within 15s ([tradewind] evaluation_timeout) and was stopped",
        "a Variable cannot be had from the secrets backend; it is looked for elsewhere",
    ] {
        assert!(log.contains(words), "{words}: {log}");
    }
    assert!(!log.contains(TOKEN) && !log.contains("pa/ss"), "{log}");
    // It leaves no process behind.
    standalone.end(Signal::SIGTERM);
}

async fn returned(rest: &Rest, run_id: &str, task: &str) -> Value {
    let path = format!("dags/asking/dagRuns/{run_id}/taskInstances/{task}/xcomEntries/return_value");
    rest.get(&path).await["value"].clone()
}
