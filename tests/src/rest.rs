//! A small client of the REST API.

use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::patience::eventually;

/// An administrator who has logged in.
#[derive(Debug, Clone)]
pub struct Rest {
    http: reqwest::Client,
    base_url: String,
    token: String,
}

impl Rest {
    /// Logs in.
    ///
    /// # Panics
    /// When the server refuses.
    pub async fn log_in(base_url: &str, user: &str, password: &str) -> Self {
        let mut rest = Self { http: reqwest::Client::new(), base_url: base_url.to_owned(), token: String::new() };
        let login = json!({"username": user, "password": password});
        let answer = rest.call(Method::POST, "/auth/token", Some(&login)).await;
        rest.token = answer["access_token"].as_str().expect("a token").to_owned();
        rest
    }

    /// Reads a resource of the API.
    pub async fn get(&self, path: &str) -> Value {
        self.call(Method::GET, &format!("/api/v2/{path}"), None).await
    }

    /// Reads a resource of the API as lines of JSON.
    ///
    /// # Panics
    /// When the server refuses, or a line is no JSON.
    pub async fn get_lines(&self, path: &str) -> Vec<Value> {
        let request = self.http.get(format!("{}/api/v2/{path}", self.base_url)).bearer_auth(&self.token);
        let answer = request.header("accept", "application/x-ndjson").send().await.expect("an answer");
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        let text = answer.text().await.expect("a text");
        text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))).collect()
    }

    /// Asks for something to be done.
    pub async fn post(&self, path: &str, body: &Value) -> Value {
        self.call(Method::POST, &format!("/api/v2/{path}"), Some(body)).await
    }

    /// Reads a resource of the UI's API.
    pub async fn get_ui(&self, path: &str) -> Value {
        self.call(Method::GET, &format!("/ui/{path}"), None).await
    }

    /// Reads a resource of Tradewind's own API.
    pub async fn get_own(&self, path: &str) -> Value {
        self.call(Method::GET, &format!("/tradewind/v1/{path}"), None).await
    }

    /// Reads a resource until its answer is as it should be, and returns that answer.
    pub async fn get_until(&self, path: &str, as_it_should_be: impl Fn(&Value) -> bool) -> Value {
        eventually(path, async || Some(self.get(path).await).filter(&as_it_should_be)).await
    }

    /// Waits until a Dag is known.
    pub async fn dag_is_known(&self, dag_id: &str) {
        let known = |dags: &Value| dags["total_entries"] != 0;
        self.get_until(&format!("dags?dag_id_pattern={dag_id}"), known).await;
    }

    /// Lets a Dag run, once it is known.
    pub async fn unpause(&self, dag_id: &str) {
        self.dag_is_known(dag_id).await;
        self.call(Method::PATCH, &format!("/api/v2/dags/{dag_id}"), Some(&json!({"is_paused": false}))).await;
    }

    /// Makes a run of a Dag.
    pub async fn trigger(&self, dag_id: &str, run_id: &str) {
        let run = json!({"dag_run_id": run_id, "logical_date": null});
        self.call(Method::POST, &format!("/api/v2/dags/{dag_id}/dagRuns"), Some(&run)).await;
    }

    /// Waits for the end of a run and returns its state.
    pub async fn final_state(&self, dag_id: &str, run_id: &str) -> String {
        let ended = |run: &Value| run["state"] == "success" || run["state"] == "failed";
        let run = self.get_until(&format!("dags/{dag_id}/dagRuns/{run_id}"), ended).await;
        run["state"].as_str().unwrap_or_default().to_owned()
    }

    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Value {
        let mut request = self.http.request(method.clone(), format!("{}{path}", self.base_url));
        if !self.token.is_empty() {
            request = request.bearer_auth(&self.token);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        json_of(&format!("{method} {path}"), answer).await
    }
}

async fn json_of(request: &str, answer: Response) -> Value {
    let status = answer.status();
    let text = answer.text().await.unwrap_or_else(|error| panic!("{request}: {error}"));
    assert!(status.is_success(), "{request}: {status}: {text}");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{request}: {error}: {text}"))
}
