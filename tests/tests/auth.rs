//! Who may come in, as the program is started: what cannot be used of the options that say so, and keys from an address.
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::routing::get;
use tokio::net::TcpListener;
use tradewind_tests::component::Component;
use tradewind_tests::deployment::Deployment;
use tradewind_tests::patience::eventually;
use tradewind_tests::program::workspace;

#[tokio::test]
async fn options_that_cannot_be_used_are_refused_at_the_start() {
    let deployment = Deployment::new(&[]).await;
    for (name, value, words) in [
        (
            "AIRFLOW__API_AUTH__TRUSTED_JWKS_URL",
            "https:/no-host",
            "[api_auth] trusted_jwks_url = \"https:/no-host\" (from env var) is not an http or https address, or a file",
        ),
        (
            "AIRFLOW__TRADEWIND__JWKS_REFRESH_INTERVAL",
            "often",
            "[tradewind] jwks_refresh_interval = \"often\" (from env var) is not",
        ),
        (
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS",
            "eve:viewer:red",
            "puts eve into a team, and [core] multi_team is not set",
        ),
        ("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS", "eve:viewer:red:blue", "is not a list of user:role"),
    ] {
        let mut command = deployment.command();
        // Read where there is such an address alone.
        let command = command.env("AIRFLOW__API_AUTH__TRUSTED_JWKS_URL", "http://127.0.0.1:9/keys").env(name, value);
        let output = command.args(["standalone", "--port", "0"]).output().expect("the program runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{name}: {said}");
        assert!(said.contains(words), "{name}: {said}");
    }
}

#[tokio::test]
async fn a_token_is_valid_by_the_keys_of_an_address() {
    let keys = workspace().join("airflow/tests/fixtures/jwt");
    let set = std::fs::read_to_string(keys.join("jwks.json")).expect("a fixture");
    let asked = Arc::new(AtomicUsize::new(0));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let count = Arc::clone(&asked);
    let answer = move || {
        count.fetch_add(1, Ordering::SeqCst);
        let set = set.clone();
        async move { set }
    };
    let router = Router::new().route("/keys", get(answer));
    tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });

    let deployment = Deployment::new(&[])
        .await
        .with("AIRFLOW__API_AUTH__TRUSTED_JWKS_URL", format!("http://{address}/keys"))
        .with("AIRFLOW__API_AUTH__JWT_PRIVATE_KEY_PATH", keys.join("ed25519.pem"))
        .with("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS", "True");
    let arguments = ["webserver", "--host", "127.0.0.1", "--port", "0"];
    let mut webserver = Component::new(&deployment, "webserver", &arguments);
    webserver.start();
    let url = eventually("the web server", async || {
        let said = webserver.said();
        let (_, rest) = said.split_once("serving ")?;
        rest.split_once(',').map(|(url, _)| url.to_owned())
    })
    .await;
    let client = reqwest::Client::new();
    let made: serde_json::Value =
        client.get(format!("{url}/auth/token")).send().await.expect("an answer").json().await.expect("a token");
    assert_eq!(asked.load(Ordering::SeqCst), 0, "nobody has shown a token");
    let token = made["access_token"].as_str().expect("a token");
    for (token, status) in [(token, 200), (token, 200), ("rubbish", 403)] {
        let answer = client.get(format!("{url}/api/v2/pools")).bearer_auth(token).send().await.expect("an answer");
        assert_eq!(answer.status().as_u16(), status);
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1, "one set is enough for an hour");
    webserver.end();
}
