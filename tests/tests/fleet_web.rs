//! Web servers that come and go with the load, on one address.
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tradewind_tests::component::Component;
use tradewind_tests::deployment::{Deployment, Standalone};
use tradewind_tests::patience::eventually;
use tradewind_tests::process;

/// More than Amazon MWAA's bound of fifteen.
const MANY: usize = 20;

#[tokio::test]
async fn a_second_web_server_comes_with_the_load_and_goes_with_it() {
    let deployment = Deployment::new(&[])
        .await
        .with("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
        .with("AIRFLOW__TRADEWIND__MAX_WEBSERVERS", "2")
        .with("AIRFLOW__TRADEWIND__FLEET_INTERVAL", "0.5")
        .with("AIRFLOW__TRADEWIND__FLEET_SCALE_IN_DELAY", "2");
    let standalone = deployment.start().await;
    let first = health(&standalone).await["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).expect("a pid");
    let asking = Asking::start(standalone.base_url());

    let address = standalone.base_url().strip_prefix("http://").expect("plain HTTP").to_owned();
    let mut clients = Vec::new();
    for _ in 0..MANY {
        clients.push(client(&address).await);
    }
    let second = eventually("a second web server", async || {
        let health = health(&standalone).await;
        let second = &health["additional_webservers"][0];
        (second["phase"] == "serving").then(|| second["pid"].as_u64())?
    })
    .await;
    let second = u32::try_from(second).expect("a pid");
    assert!(health(&standalone).await["connections"].as_u64() >= Some(MANY as u64));
    asking.is_answered().await;

    // The second one answers where the first one cannot.
    process::send(first, Signal::SIGSTOP);
    eventually("an answer of the second one", async || answers(&address).await.then_some(())).await;
    process::send(first, Signal::SIGCONT);

    drop(clients);
    eventually("one web server", async || {
        let health = health(&standalone).await;
        health["additional_webservers"].as_array().expect("a list").is_empty().then_some(())
    })
    .await;
    assert!(!process::is_running(second));
    asking.is_answered().await;
    assert_eq!(asking.failed(), 0, "no request may fail while web servers come and go");

    let log = standalone.log("webserver");
    for step in [
        "an additional web server is started",
        "a web server takes no more connections, and ends",
        "an additional web server has ended",
    ] {
        assert!(log.contains(step), "{step}: {log}");
    }
    assert!(!log.contains("ended by itself"), "{log}");
    for component in ["scheduler", "worker", "dag-processor"] {
        let health: Value = reqwest::get(format!("{}/health", standalone.monitor(component)))
            .await
            .expect("an answer")
            .json()
            .await
            .expect("JSON");
        assert!(health["cpu_percent"].is_number(), "{health}");
    }
    standalone.end(Signal::SIGTERM);
}

#[tokio::test]
async fn additional_web_servers_end_with_the_first_one() {
    let deployment = Deployment::new(&[])
        .await
        .with("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
        .with("AIRFLOW__TRADEWIND__MIN_WEBSERVERS", "3")
        .with("AIRFLOW__TRADEWIND__MAX_WEBSERVERS", "3")
        .with("AIRFLOW__TRADEWIND__FLEET_INTERVAL", "0.5");
    let standalone = deployment.start().await;
    eventually("three web servers", async || {
        let health = health(&standalone).await;
        let others = health["additional_webservers"].as_array().expect("a list");
        (others.iter().filter(|other| other["phase"] == "serving").count() == 2).then_some(())
    })
    .await;
    // This also looks for processes that are left behind.
    standalone.end(Signal::SIGTERM);
}

#[tokio::test]
async fn additional_web_servers_do_not_outlive_the_first_one() {
    let deployment = Deployment::new(&[])
        .await
        .with("AIRFLOW__TRADEWIND__MIN_WEBSERVERS", "2")
        .with("AIRFLOW__TRADEWIND__MAX_WEBSERVERS", "2")
        .with("AIRFLOW__TRADEWIND__FLEET_INTERVAL", "0.5");
    let mut first = Component::new(&deployment, "webserver", &["webserver", "--host", "127.0.0.1", "--port", "0"]);
    first.start();
    let second = eventually("a second web server", async || {
        let said = first.said();
        let monitor = said.split_once("monitor at ")?.1.lines().next()?.to_owned();
        let health: Value = reqwest::get(format!("{monitor}/health")).await.ok()?.json().await.ok()?;
        let second = &health["additional_webservers"][0];
        (second["phase"] == "serving").then(|| second["pid"].as_u64())?
    })
    .await;
    let second = u32::try_from(second).expect("a pid");
    assert!(process::is_running(second));

    first.kill();
    eventually("the end of the second one", async || (!process::is_running(second)).then_some(())).await;
    assert!(first.said().contains("the first web server is gone"), "{}", first.said());
}

/// What the monitor of the first web server says.
async fn health(standalone: &Standalone) -> Value {
    let answer = reqwest::get(format!("{}/health", standalone.monitor("webserver"))).await.expect("an answer");
    answer.json().await.expect("JSON")
}

/// A connection that was answered, and stays open.
async fn client(address: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.write_all(request(address).as_bytes()).await.expect("a request");
    let mut answer = [0; 1024];
    let length = stream.read(&mut answer).await.expect("an answer");
    assert!(answer[..length].starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer[..length]));
    stream
}

fn request(address: &str) -> String {
    format!("GET /api/v2/version HTTP/1.1\r\nHost: {address}\r\n\r\n")
}

/// Whether a new connection is answered soon. One that the stopped process has taken is not.
async fn answers(address: &str) -> bool {
    tokio::time::timeout(Duration::from_secs(2), client(address)).await.is_ok()
}

/// Asks again and again, each time by a connection of its own.
struct Asking {
    answered: Arc<AtomicUsize>,
    failed: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Asking {
    fn start(base_url: &str) -> Self {
        let (answered, failed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (address, counts) = (format!("{base_url}/api/v2/version"), (Arc::clone(&answered), Arc::clone(&failed)));
        let task = tokio::spawn(async move {
            loop {
                let answer = reqwest::Client::new().get(&address).send().await;
                let is_fine = answer.is_ok_and(|answer| answer.status().is_success());
                if is_fine { &counts.0 } else { &counts.1 }.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        Self { answered, failed, task }
    }

    /// Waits for one more answer.
    async fn is_answered(&self) {
        let before = self.answered.load(Ordering::Relaxed);
        eventually("an answer", async || (self.answered.load(Ordering::Relaxed) > before).then_some(())).await;
    }

    fn failed(&self) -> usize {
        self.failed.load(Ordering::Relaxed)
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.task.abort();
    }
}
