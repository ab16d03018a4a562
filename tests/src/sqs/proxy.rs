//! A proxy that does to messages what Amazon SQS may do to them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use reqwest::Client;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// How probable faults are, from 0 to 1.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// A message is sent twice.
    pub repeated: f64,
    /// A message, or its copy, comes later.
    pub delayed: f64,
    /// Up to so many seconds later.
    pub longest_delay: u64,
    /// A message is not deleted although the answer says so.
    pub kept: f64,
    /// A request is carried out, but its answer gets lost.
    pub unanswered: f64,
    /// A request is refused because there are too many.
    pub throttled: f64,
    /// Requests for these actions are refused, as those of an identity that may not make them.
    pub denied: Vec<&'static str>,
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Done {
    /// Requests passed on.
    Forwarded,
    /// Messages sent twice.
    Repeated,
    /// Messages delayed.
    Delayed,
    /// Lists of messages brought into another order.
    Shuffled,
    /// Messages kept that should have been deleted.
    Kept,
    /// Answers lost.
    Unanswered,
    /// Requests refused as too many.
    Throttled,
    /// Requests denied.
    Denied,
}

/// A running proxy; ended when it is dropped.
pub struct FaultProxy {
    url: String,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

struct Shared {
    client: Client,
    upstream: String,
    state: Mutex<Fate>,
}

struct Fate {
    random: StdRng,
    faults: Faults,
    done: BTreeMap<Done, usize>,
}

impl FaultProxy {
    /// Starts a proxy before an emulator, on a free port of loopback.
    ///
    /// # Panics
    /// When there is no port.
    pub async fn start(upstream: &str, seed: u64, faults: Faults) -> Self {
        let fate = Fate { random: StdRng::seed_from_u64(seed), faults, done: BTreeMap::new() };
        let shared = Shared { client: Client::new(), upstream: upstream.to_owned(), state: Mutex::new(fate) };
        let shared = Arc::new(shared);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let router = Router::new().fallback(serve).with_state(Arc::clone(&shared));
        let server = tokio::spawn(async move { axum::serve(listener, router).await.expect("a server") });
        Self { url, shared, server }
    }

    /// Where it listens.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Other faults from now on.
    pub fn change(&self, faults: Faults) {
        self.shared.fate().faults = faults;
    }

    /// What was done, and how often.
    #[must_use]
    pub fn done(&self) -> BTreeMap<Done, usize> {
        self.shared.fate().done.clone()
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Shared {
    fn fate(&self) -> MutexGuard<'_, Fate> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn forward(&self, headers: &HeaderMap, body: String) -> Result<(StatusCode, Value), reqwest::Error> {
        let mut request = self.client.post(&self.upstream).body(body);
        for name in ["content-type", "x-amz-target", "authorization"] {
            if let Some(value) = headers.get(name) {
                request = request.header(name, value.clone());
            }
        }
        let answer = request.send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::Null)))
    }
}

impl Fate {
    fn strikes(&mut self, probability: f64, what: Done) -> bool {
        let strikes = self.random.random_bool(probability);
        if strikes {
            self.note(what);
        }
        strikes
    }

    fn note(&mut self, what: Done) {
        *self.done.entry(what).or_default() += 1;
    }

    /// Repeats, delays and reorders what is sent.
    fn disturb_sending(&mut self, body: &mut Value) {
        let Some(entries) = body.get_mut("Entries").and_then(Value::as_array_mut) else { return };
        let mut all = std::mem::take(entries);
        for place in 0..all.len() {
            let has_room = all.len() < 10;
            if has_room && self.strikes(self.faults.repeated, Done::Repeated) {
                let mut copy = all[place].clone();
                copy["Id"] = json!(format!("copy-{place}"));
                all.push(copy);
            }
        }
        for entry in &mut all {
            if self.strikes(self.faults.delayed, Done::Delayed) {
                entry["DelaySeconds"] = json!(self.random.random_range(1..=self.faults.longest_delay.max(1)));
            }
        }
        self.shuffle(&mut all);
        body["Entries"] = Value::Array(all);
    }

    /// Keeps some of what is to be deleted. Returns the answers for these.
    fn disturb_deleting(&mut self, body: &mut Value) -> Vec<Value> {
        let Some(entries) = body.get_mut("Entries").and_then(Value::as_array_mut) else { return Vec::new() };
        let (kept, deleted): (Vec<Value>, Vec<Value>) =
            std::mem::take(entries).into_iter().partition(|_| self.strikes(self.faults.kept, Done::Kept));
        body["Entries"] = Value::Array(deleted);
        kept.iter().map(|entry| json!({ "Id": entry["Id"] })).collect()
    }

    fn shuffle(&mut self, list: &mut [Value]) {
        if list.len() > 1 {
            list.shuffle(&mut self.random);
            self.note(Done::Shuffled);
        }
    }
}

async fn serve(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let target = headers.get("x-amz-target").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let action = target.rsplit('.').next().unwrap_or_default();
    let mut body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let mut kept = Vec::new();
    let loses_answer = {
        let mut fate = shared.fate();
        if fate.faults.denied.contains(&action) {
            fate.note(Done::Denied);
            return refusal(StatusCode::FORBIDDEN, "AccessDeniedException", "Access to the resource is denied.");
        }
        let probability = fate.faults.throttled;
        if fate.strikes(probability, Done::Throttled) {
            return refusal(StatusCode::BAD_REQUEST, "RequestThrottled", "Too many requests.");
        }
        match action {
            "SendMessageBatch" => fate.disturb_sending(&mut body),
            "DeleteMessageBatch" => kept = fate.disturb_deleting(&mut body),
            _ => {}
        }
        let probability = fate.faults.unanswered;
        fate.strikes(probability, Done::Unanswered)
    };
    let nothing_is_left = action == "DeleteMessageBatch" && body["Entries"] == json!([]);
    let answer = match nothing_is_left {
        true => Ok((StatusCode::OK, json!({ "Successful": [], "Failed": [] }))),
        false => shared.forward(&headers, body.to_string()).await,
    };
    let (status, mut answer) = match answer {
        Ok(answer) if !loses_answer => answer,
        _ => return refusal(StatusCode::INTERNAL_SERVER_ERROR, "InternalFailure", "The answer got lost."),
    };
    let mut fate = shared.fate();
    fate.note(Done::Forwarded);
    if let Some(messages) = answer.get_mut("Messages").and_then(Value::as_array_mut) {
        fate.shuffle(messages);
    }
    if let Some(successful) = answer.get_mut("Successful").and_then(Value::as_array_mut) {
        successful.retain(|entry| !entry["Id"].as_str().is_some_and(|id| id.starts_with("copy-")));
        successful.extend(kept);
    }
    (status, [("content-type", "application/x-amz-json-1.0")], answer.to_string()).into_response()
}

fn refusal(status: StatusCode, code: &str, message: &str) -> Response {
    let body = json!({ "__type": format!("com.amazonaws.sqs#{code}"), "message": message });
    (status, [("content-type", "application/x-amz-json-1.0")], body.to_string()).into_response()
}
