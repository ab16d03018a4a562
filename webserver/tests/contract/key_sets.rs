//! Keys of tokens that are fetched from an address, and change there.

use crate::auth::token;
use crate::server::{Server, json_of, send};
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Seconds after which the web server of these tests fetches keys anew.
const INTERVAL: &str = "0.05";

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../airflow/tests/fixtures/jwt").join(name)
}

/// The key of that name, as a set has it.
fn public(name: &str) -> Value {
    let read = |name: &str| -> Value {
        serde_json::from_str(&std::fs::read_to_string(file(name)).expect("a fixture")).expect("JSON")
    };
    let id = read("tokens.json")[name]["kid"].clone();
    let keys = read("jwks.json")["keys"].as_array().expect("keys").clone();
    keys.into_iter().find(|key| key["kid"] == id).expect("the key")
}

fn signed_by(name: &str) -> String {
    let path = file(&format!("{name}.pem"));
    token(&[("AIRFLOW__API_AUTH__JWT_PRIVATE_KEY_PATH", &path.to_string_lossy())], "viewer", 0)
}

/// What a server of keys answers, and how often it has.
#[derive(Clone, Default)]
struct Answers {
    answer: Arc<Mutex<(StatusCode, String)>>,
    given: Arc<AtomicUsize>,
}

impl Answers {
    fn set(&self, status: StatusCode, answer: impl Into<String>) {
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = (status, answer.into());
    }

    fn keys(&self, names: &[&str]) {
        let keys: Vec<Value> = names.iter().map(|name| public(name)).collect();
        self.set(StatusCode::OK, json!({"keys": keys}).to_string());
    }

    fn given(&self) -> usize {
        self.given.load(Ordering::SeqCst)
    }
}

async fn answer(State(answers): State<Answers>) -> Response {
    answers.given.fetch_add(1, Ordering::SeqCst);
    answers.answer.lock().unwrap_or_else(PoisonError::into_inner).clone().into_response()
}

/// A server of keys that listens at an address, or at any.
async fn serve(answers: &Answers, address: Option<SocketAddr>) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind(address.unwrap_or_else(|| ([127, 0, 0, 1], 0).into())).await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let router = Router::new().route("/jwks.json", get(answer)).with_state(answers.clone());
    let serving = tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
    (address, serving)
}

async fn trusting(address: SocketAddr) -> Server {
    Server::start_configured(
        &[],
        &[
            ("AIRFLOW__API_AUTH__TRUSTED_JWKS_URL", &format!("http://{address}/jwks.json")),
            ("AIRFLOW__API_AUTH__JWT_PRIVATE_KEY_PATH", &file("rsa.pem").to_string_lossy()),
            ("AIRFLOW__TRADEWIND__JWKS_REFRESH_INTERVAL", INTERVAL),
        ],
    )
    .await
}

async fn ask(server: &Server, token: &str) -> (u16, Value) {
    let request = Request::get("/api/v2/pools").header(header::AUTHORIZATION, format!("Bearer {token}"));
    let answer = send(&server.router, request.body(Body::empty())).await;
    (answer.status().as_u16(), json_of(answer).await["detail"].clone())
}

/// Asks until the status is that one.
async fn until(server: &Server, token: &str, status: u16) {
    for _ in 0..1000 {
        if ask(server, token).await.0 == status {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("never {status}: {:?}", ask(server, token).await);
}

/// Asks with that token, which stays valid, until the server of keys has answered so often.
async fn until_fetched(server: &Server, token: &str, answers: &Answers, times: usize) {
    let begin = answers.given();
    while answers.given() < begin + times {
        assert_eq!(ask(server, token).await.0, 200);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_fetched_and_fetched_anew() {
    let (rsa, ed25519) = (signed_by("rsa"), signed_by("ed25519"));
    let invalid = (403, json!("Invalid JWT token"));
    let answers = Answers::default();
    answers.keys(&["rsa"]);
    let (address, serving) = serve(&answers, None).await;
    let server = trusting(address).await;
    assert_eq!(answers.given(), 0, "nobody has shown a token");
    assert_eq!(ask(&server, &rsa).await.0, 200);
    assert_eq!(ask(&server, &ed25519).await, invalid, "the set has no such key");
    assert_eq!(ask(&server, &server.token).await.0, 200, "the server's own key is in the set");

    // Another key in its place: what was found right before is not right any more.
    answers.keys(&["ed25519"]);
    until(&server, &ed25519, 200).await;
    assert_eq!(ask(&server, &rsa).await, invalid);

    // Whatever the server does from now on, the keys stay.
    let large = format!("{{\"keys\": [{}]}}", "1,".repeat(1 << 20));
    for (status, answer) in [
        (StatusCode::INTERNAL_SERVER_ERROR, String::new()),
        (StatusCode::FOUND, String::new()),
        (StatusCode::OK, "no JSON".to_owned()),
        (StatusCode::OK, json!({"keys": []}).to_string()),
        (StatusCode::OK, large),
    ] {
        answers.set(status, answer);
        until_fetched(&server, &ed25519, &answers, 2).await;
    }
    serving.abort();
    assert!(serving.await.expect_err("it was stopped").is_cancelled());
    assert!(TcpListener::bind(address).await.is_ok(), "nobody listens");
    for _ in 0..20 {
        assert_eq!(ask(&server, &ed25519).await.0, 200);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    answers.keys(&["rsa", "ed25519"]);
    let (_, _serving) = serve(&answers, Some(address)).await;
    until(&server, &rsa, 200).await;
    assert_eq!(ask(&server, &ed25519).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_token_is_valid_until_keys_were_fetched() {
    let rsa = signed_by("rsa");
    let answers = Answers::default();
    let (address, serving) = serve(&answers, None).await;
    serving.abort();
    assert!(serving.await.expect_err("it was stopped").is_cancelled());
    let server = trusting(address).await;
    assert_eq!(ask(&server, &rsa).await, (403, json!("Invalid JWT token")));
    answers.keys(&["rsa"]);
    let (_, _serving) = serve(&answers, Some(address)).await;
    assert_eq!(ask(&server, &rsa).await.0, 200, "as long as there are no keys, it is tried each time");
    // Who asks at once does not have the set fetched by each.
    answers.given.store(0, Ordering::SeqCst);
    let server = trusting(address).await;
    let asked = futures::future::join_all((0..50).map(|_| ask(&server, &rsa))).await;
    assert!(asked.iter().all(|(status, _)| *status == 200));
    assert!(answers.given() < 25, "{}", answers.given());
}
