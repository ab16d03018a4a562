//! The monitor of a process: `GET /health` and `GET /metrics` on a loopback port.

use std::future::pending;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use chrono::{DateTime, Utc};
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tradewind_airflow::config::{Config, Environment};
use tradewind_bundle::health::BundleHealth;
use tradewind_environment::health::EnvironmentHealth;
use tradewind_fleet::web::Shown;
use tradewind_metadata::job::JobType;
use tradewind_telemetry::process::Meter;
use tradewind_telemetry::{self as telemetry, Telemetry};
use tradewind_webserver::Connections;
use tradewind_worker::{LogServing, Status};

/// How often the recorder drops what nobody asks for any more.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(10);

/// How often it is looked whether a process that has started is well.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// How long the last metrics may take to be sent.
const FAREWELL: Duration = Duration::from_secs(3);

/// By what a process is known to be well.
#[derive(Debug, Clone)]
pub(crate) enum Sign {
    /// The heartbeat of its row in the `job` table is younger than the threshold.
    Heartbeat {
        /// The kind of its job.
        job: JobType,
        /// The oldest heartbeat of a healthy process.
        threshold: Duration,
        /// How its bundles in S3 are. What is wrong with one is shown and does not make the process unwell: it works on with
        /// what it has, and another would not see more.
        bundles: BundleHealth,
    },
    /// The metadata database answers it; and its connections are shown, and the web servers beside it.
    WebServer {
        /// Those that are open.
        connections: Connections,
        /// The web servers that this one has started; none where it starts none.
        others: Option<watch::Receiver<Vec<Shown>>>,
    },
    /// The same; and what the worker is doing is shown.
    Worker {
        /// What it is doing.
        status: watch::Receiver<Status>,
        /// Whether the logs of its machine are served; none where it does not serve them.
        logs: Option<watch::Receiver<LogServing>>,
    },
}

/// The monitor of a process.
#[derive(Debug)]
pub(crate) struct Monitor {
    listener: TcpListener,
    subject: Subject,
    telemetry: Telemetry,
}

/// What is watched.
#[derive(Debug, Clone)]
struct Subject {
    component: &'static str,
    sign: Sign,
    pool: PgPool,
    /// By the database's clock, like every time compared with it.
    started_at: DateTime<Utc>,
    started: Instant,
    metrics: PrometheusHandle,
    /// How busy the process is, in percent of the processors that it may use.
    cpu: Arc<Mutex<f64>>,
    /// How the Python environment of the bucket is, where the bucket describes one.
    environment: Option<EnvironmentHealth>,
}

impl Monitor {
    /// Listens on the component's port and records metrics from now on.
    ///
    /// # Errors
    /// When the port is taken or the database does not answer.
    pub(crate) async fn start(component: &'static str, sign: Sign, config: &Config, pool: &PgPool) -> Result<Self> {
        let option = format!("{}_monitor_port", component.replace('-', "_"));
        let port = u16::try_from(config.int("tradewind", &option)?)
            .map_err(|_| config.invalid("tradewind", &option, "a port number, or 0 for any free port"))?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let listener =
            TcpListener::bind(address).await.map_err(|error| crate::failure::cannot_listen(address, &error))?;
        let options = telemetry::Options::from_config(config, &Environment::of_process(), component)?;
        let telemetry = Telemetry::start(options).await;
        let telemetry = telemetry.context("cannot record metrics")?;
        let started_at = sqlx::query_scalar("SELECT now()").fetch_one(pool).await.context("metadata database")?;
        let metrics = telemetry.prometheus();
        let started = Instant::now();
        let (pool, cpu, environment) = (pool.clone(), Arc::default(), None);
        let subject = Subject { component, sign, pool, started_at, started, metrics, cpu, environment };
        Ok(Self { listener, subject, telemetry })
    }

    /// The same, showing how the Python environment of the bucket is. What is wrong with its newest version does not make the process
    /// unwell.
    pub(crate) fn with_environment(mut self, environment: Option<EnvironmentHealth>) -> Self {
        self.subject.environment = environment;
        self
    }

    /// Its address.
    pub(crate) fn address(&self) -> Result<SocketAddr> {
        Ok(self.listener.local_addr()?)
    }

    /// Serves while `work` is done, and calls `well` as soon as the process is; what was recorded last is sent when it ends.
    pub(crate) async fn beside<T>(self, work: impl Future<Output = Result<T>>, well: impl FnOnce()) -> Result<T> {
        let Self { listener, subject, telemetry } = self;
        let watching = async {
            while !matches!(subject.examine().await, Ok((true, _))) {
                sleep(LOOK_INTERVAL).await;
            }
            well();
            pending().await
        };
        let outcome = tokio::select! {
            outcome = work => outcome,
            failure = serve(listener, subject.clone()) => Err(failure),
            never = watching => never,
        };
        // For a moment only: nobody waits for metrics.
        let _ = timeout(FAREWELL, telemetry.stop()).await;
        outcome
    }
}

/// Serves until it fails.
async fn serve(listener: TcpListener, subject: Subject) -> anyhow::Error {
    let (recorded, cpu) = (subject.metrics.clone(), Arc::clone(&subject.cpu));
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(UPKEEP_INTERVAL);
        let mut meter = Meter::default();
        loop {
            ticks.tick().await;
            recorded.run_upkeep();
            let load = meter.cpu();
            metrics::gauge!("tradewind.process.cpu_percent").set(load);
            *cpu.lock().unwrap_or_else(PoisonError::into_inner) = load;
        }
    });
    let routes = Router::new().route("/health", get(health)).route("/metrics", get(metrics_text)).with_state(subject);
    match axum::serve(listener, routes).await {
        Ok(()) => anyhow::anyhow!("the monitor ended"),
        Err(error) => anyhow::Error::new(error).context("the monitor failed"),
    }
}

async fn metrics_text(State(subject): State<Subject>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], subject.metrics.render())
}

async fn health(State(subject): State<Subject>) -> (StatusCode, Json<Value>) {
    let (healthy, details) = match subject.examine().await {
        Ok(examined) => examined,
        Err(error) => (false, json!({"reason": error.to_string()})),
    };
    let mut answer = json!({
        "status": if healthy { "healthy" } else { "unhealthy" },
        "component": subject.component,
        "version": env!("CARGO_PKG_VERSION"),
        "pid": std::process::id(),
        "uptime_seconds": subject.started.elapsed().as_secs(),
        "cpu_percent": *subject.cpu.lock().unwrap_or_else(PoisonError::into_inner),
    });
    if let (Some(answer), Value::Object(details)) = (answer.as_object_mut(), details) {
        answer.extend(details);
    }
    if let Some(environment) = &subject.environment {
        answer["python_environment"] = json!(environment.state());
    }
    (if healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, Json(answer))
}

impl Subject {
    /// Whether the process is well, and what shows it.
    async fn examine(&self) -> sqlx::Result<(bool, Value)> {
        match &self.sign {
            Sign::Heartbeat { job, threshold, bundles } => {
                let (healthy, mut details) = self.examine_heartbeat(*job, *threshold).await?;
                let bundles = bundles.states();
                if !bundles.is_empty() {
                    details["bundles"] = json!(bundles);
                }
                Ok((healthy, details))
            }
            Sign::WebServer { connections, others } => {
                let mut details = json!({ "connections": connections.number() });
                if let Some(others) = others {
                    details["additional_webservers"] = json!(*others.borrow());
                }
                self.examine_database(details).await
            }
            Sign::Worker { status, logs } => {
                let mut details = json!({ "worker": *status.borrow() });
                if let Some(logs) = logs {
                    details["log_server"] = json!(*logs.borrow());
                }
                self.examine_database(details).await
            }
        }
    }

    async fn examine_database(&self, details: Value) -> sqlx::Result<(bool, Value)> {
        sqlx::query("SELECT 1").execute(&self.pool).await?;
        Ok((true, details))
    }

    async fn examine_heartbeat(&self, job: JobType, threshold: Duration) -> sqlx::Result<(bool, Value)> {
        let heartbeat: Option<(DateTime<Utc>, f64)> = sqlx::query_as(
            "SELECT latest_heartbeat, extract(epoch FROM now() - latest_heartbeat)::float8 FROM job \
             WHERE job_type = $1 AND start_date >= $2 ORDER BY id LIMIT 1",
        )
        .bind(job.as_str())
        .bind(self.started_at)
        .fetch_optional(&self.pool)
        .await?;
        Ok(match heartbeat {
            Some((at, age)) => {
                (age <= threshold.as_secs_f64(), json!({"latest_heartbeat": at, "heartbeat_age_seconds": age}))
            }
            None => (false, json!({"reason": "it has no row in the job table yet"})),
        })
    }
}
