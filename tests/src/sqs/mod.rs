//! The emulator of Amazon SQS, and a proxy before it that does what the real one may do and the emulator does not: repeat,
//! delay and reorder messages, and fail.

mod proxy;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

use crate::deployment::Deployment;
use crate::program::workspace;

pub use proxy::{Done, FaultProxy, Faults};

/// What the emulator says before its address.
const READY: &str = "SQS emulator: ";

/// The region of the emulator.
const REGION: &str = "us-east-1";

/// What the names of queues begin with unless the configuration says otherwise.
const PREFIX: &str = "airflow-celery-";

/// A running emulator; ended, at the latest, when it is dropped.
pub struct Sqs {
    process: Child,
    url: String,
}

impl Sqs {
    /// Starts it on a free port of loopback.
    ///
    /// # Panics
    /// When it does not start: `scripts/setup --test` installs it.
    #[must_use]
    pub fn start() -> Self {
        let mut process = Command::new(workspace().join(".venv-emulator/bin/node"))
            .args(["sqs.mjs", "--with-parent"])
            .current_dir(workspace().join("deploy/emulator"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node, which scripts/setup --test installs");
        let mut output = BufReader::new(process.stdout.take().expect("its output"));
        let mut url = String::new();
        output.read_line(&mut url).expect("a line");
        let url = url.trim().strip_prefix(READY).unwrap_or_default().to_owned();
        assert!(url.starts_with("http://127.0.0.1:"), "the emulator of SQS does not start");
        Self { process, url }
    }

    /// Where it listens.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Asks for something, and returns the answer.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn ask(&self, action: &str, body: &Value) -> Value {
        let (status, answer) = self.try_ask(action, body).await;
        assert!(status.is_success(), "{action} {body}: {status} {answer}");
        answer
    }

    async fn try_ask(&self, action: &str, body: &Value) -> (StatusCode, Value) {
        let request = Client::new()
            .post(&self.url)
            .header("content-type", "application/x-amz-json-1.0")
            .header("x-amz-target", format!("AmazonSQS.{action}"))
            .header("authorization", format!("AWS4-HMAC-SHA256 Credential=test/20260101/{REGION}/sqs/aws4_request"))
            .body(body.to_string());
        let answer = request.send().await.expect("an answer");
        let status = answer.status();
        let text = answer.text().await.expect("a text");
        (status, if text.is_empty() { Value::Null } else { serde_json::from_str(&text).expect("JSON") })
    }

    /// The address of the queue that stands for one of Airflow, while there is one.
    async fn queue_url(&self, queue: &str) -> Option<String> {
        let (_, answer) = self.try_ask("GetQueueUrl", &json!({ "QueueName": format!("{PREFIX}{queue}") })).await;
        answer["QueueUrl"].as_str().map(str::to_owned)
    }

    /// Asks for something concerning a queue that is there.
    async fn ask_of(&self, queue: &str, action: &str, mut body: Value) {
        let url = self.queue_url(queue).await.unwrap_or_else(|| panic!("{action}: there is no queue {queue}"));
        body["QueueUrl"] = json!(url);
        self.ask(action, &body).await;
    }

    /// Makes the queue that stands for one of Airflow.
    pub async fn create(&self, queue: &str) {
        self.ask("CreateQueue", &json!({ "QueueName": format!("{PREFIX}{queue}") })).await;
    }

    /// Puts a text into a queue.
    pub async fn send(&self, queue: &str, body: &str) {
        self.ask_of(queue, "SendMessage", json!({ "MessageBody": body })).await;
    }

    /// Loses everything that is in a queue.
    pub async fn purge(&self, queue: &str) {
        self.ask_of(queue, "PurgeQueue", json!({})).await;
    }

    /// Removes a queue.
    pub async fn remove(&self, queue: &str) {
        self.ask_of(queue, "DeleteQueue", json!({})).await;
    }

    /// Messages that a queue has, whether they can be received now or not; none when there is no such queue.
    pub async fn messages(&self, queue: &str) -> Option<u64> {
        let request = json!({ "QueueUrl": self.queue_url(queue).await?, "AttributeNames": ["All"] });
        let (status, answer) = self.try_ask("GetQueueAttributes", &request).await;
        let number = |name: &str| answer["Attributes"][name].as_str().and_then(|text| text.parse::<u64>().ok());
        let names = [
            "ApproximateNumberOfMessages",
            "ApproximateNumberOfMessagesNotVisible",
            "ApproximateNumberOfMessagesDelayed",
        ];
        status.is_success().then(|| names.iter().filter_map(|name| number(name)).sum())
    }
}

impl Drop for Sqs {
    fn drop(&mut self) {
        // An error means that it has ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Deployment {
    /// The same, with SQS at this address as the queue.
    #[must_use]
    pub fn with_sqs(self, url: &str) -> Self {
        self.with("AIRFLOW__TRADEWIND__QUEUE", "sqs")
            .with("AWS_ENDPOINT_URL_SQS", url)
            .with("AWS_REGION", REGION)
            .with("AWS_ACCESS_KEY_ID", "test")
            .with("AWS_SECRET_ACCESS_KEY", "test")
    }
}
