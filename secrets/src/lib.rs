//! Connections and Variables from where they are kept besides the metadata database: AWS Secrets Manager, Systems Manager
//! Parameter Store, and environment variables, in the order in which Airflow looks there.
//!
//! A task first asks the backend of `[workers] secrets_backend` (or that of `[secrets] backend`), then its environment, then the
//! API server, which asks the backend of `[secrets] backend`, its environment, and the database. Here the supervisor stands for
//! both: [`Secrets::of_workers`] is the first step, [`Secrets::of_server`] what comes before the database.
//!
//! Source: `airflow/sdk/execution_time/context.py`, `airflow/sdk/configuration.py`, `airflow/models/connection.py` and
//! `variable.py`, and `airflow/providers/amazon/aws/secrets/`.
#![forbid(unsafe_code)]

mod backend;
mod cache;
mod configuration;
mod connection;
mod option;
mod python;

use std::sync::Arc;

use tradewind_airflow::config::{Config, ConfigError};
use tradewind_metadata::connection::Connection;

use backend::Backend;
use cache::Cache;
use connection::Query;

pub use configuration::{child_variables, class_for_python, masked_arguments};
pub use option::look_up_option;
pub use python::{Denied, Python, PythonError};

/// What environment variables of Connections and of Variables begin with.
const CONNECTION_VARIABLE: &str = "AIRFLOW_CONN_";
const VARIABLE_VARIABLE: &str = "AIRFLOW_VAR_";

/// Who is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Asked {
    /// What a task asks by itself in official Airflow.
    Workers,
    /// What the API server asks.
    Server,
}

/// Where Connections and Variables are looked for. Clones share clients and what is remembered.
#[derive(Debug, Clone)]
pub struct Secrets {
    shared: Arc<Shared>,
    /// Who asks the backend of the API server where only Python knows its class.
    python: Option<Arc<dyn Python>>,
    /// Whether what was found is remembered for a while.
    remembers: bool,
}

#[derive(Debug)]
struct Shared {
    workers: Option<Backend>,
    /// `None` where it is the same as that of workers, which have asked it already.
    server: Option<Backend>,
    connections: Cache<Connection>,
    variables: Cache<String>,
    uses_cache: bool,
}

impl Secrets {
    /// As configured in `[secrets]` and `[workers]`. Nothing is asked yet.
    ///
    /// # Errors
    /// An option has a value that cannot be used.
    pub fn from_config(config: &Config) -> Result<Self, ConfigError> {
        let [workers, server] = configuration::backends(config, variables())?;
        let shared = Shared {
            server: server.filter(|server| workers.as_ref() != Some(server)).map(Backend::new),
            workers: workers.map(Backend::new),
            connections: Cache::new(config.seconds("secrets", "cache_ttl_seconds")?),
            variables: Cache::new(config.seconds("secrets", "cache_ttl_seconds")?),
            uses_cache: config.bool("secrets", "use_cache")?,
        };
        Ok(Self { shared: Arc::new(shared), python: None, remembers: false })
    }

    /// The same, where the backend of the API server is of a class that only Python knows ([`class_for_python`]).
    #[must_use]
    pub fn with_python(self, python: Arc<dyn Python>) -> Self {
        Self { python: Some(python), ..self }
    }

    /// The same, remembering what was found where `[secrets] use_cache` says so; Airflow does that while it parses Dag files.
    #[must_use]
    pub fn remembering(&self) -> Self {
        Self { remembers: self.shared.uses_cache, ..self.clone() }
    }

    /// A Connection by what tasks ask before their environment; `None` where there is none, or where it cannot be had, which is
    /// logged.
    pub async fn connection_of_workers(&self, conn_id: &str) -> Option<Connection> {
        let remembered = self.remembered(&self.shared.connections, Asked::Workers, conn_id);
        if let Some(known) = remembered {
            return known;
        }
        let found = connection_of(self.shared.workers.as_ref()?, conn_id, Query::AsText).await;
        self.remember(&self.shared.connections, Asked::Workers, conn_id, found.as_ref());
        found
    }

    /// A Variable, likewise.
    pub async fn variable_of_workers(&self, key: &str) -> Option<String> {
        let remembered = self.remembered(&self.shared.variables, Asked::Workers, key);
        if let Some(known) = remembered {
            return known;
        }
        let found = variable_of(self.shared.workers.as_ref()?, key).await;
        self.remember(&self.shared.variables, Asked::Workers, key, found.as_ref());
        found
    }

    /// A Connection by what the API server asks before the database.
    ///
    /// # Errors
    /// The backend denies access.
    pub async fn connection_of_server(&self, conn_id: &str) -> Result<Option<Connection>, Denied> {
        if let Some(known) = self.remembered(&self.shared.connections, Asked::Server, conn_id) {
            return Ok(known);
        }
        if let Some(python) = &self.python
            && let Some(found) = told(python.connection(conn_id).await, "Connection", conn_id)?
        {
            return Ok(Some(found));
        }
        if let Some(backend) = &self.shared.server
            && let Some(found) = connection_of(backend, conn_id, Query::AsJson).await
        {
            return Ok(Some(found));
        }
        let text = std::env::var(format!("{CONNECTION_VARIABLE}{}", conn_id.to_uppercase())).ok();
        Ok(text.and_then(|text| read(conn_id, &text, Query::AsJson, "the environment")))
    }

    /// A Variable, likewise.
    ///
    /// # Errors
    /// The backend denies access.
    pub async fn variable_of_server(&self, key: &str) -> Result<Option<String>, Denied> {
        if let Some(known) = self.remembered(&self.shared.variables, Asked::Server, key) {
            return Ok(known);
        }
        if let Some(python) = &self.python
            && let Some(found) = told(python.variable(key).await, "Variable", key)?
        {
            return Ok(Some(found));
        }
        if let Some(backend) = &self.shared.server
            && let Some(found) = variable_of(backend, key).await
        {
            return Ok(Some(found));
        }
        Ok(std::env::var(format!("{VARIABLE_VARIABLE}{}", key.to_uppercase())).ok())
    }

    /// Remembers what the API server answers in the end. Where it has nothing either, nothing is remembered: somebody may be
    /// about to make it.
    pub fn answered_connection(&self, conn_id: &str, answer: Option<&Connection>) {
        self.answered(&self.shared.connections, conn_id, answer);
    }

    /// The same for a Variable.
    pub fn answered_variable(&self, key: &str, answer: Option<&String>) {
        self.answered(&self.shared.variables, key, answer);
    }

    /// Forgets a Variable, which has another value now.
    pub fn forget_variable(&self, key: &str) {
        self.shared.variables.forget(key);
    }

    fn remembered<T: Clone>(&self, cache: &Cache<T>, asked: Asked, name: &str) -> Option<Option<T>> {
        if self.remembers { cache.get(asked, name) } else { None }
    }

    fn remember<T: Clone>(&self, cache: &Cache<T>, asked: Asked, name: &str, found: Option<&T>) {
        if self.remembers {
            cache.set(asked, name, found.cloned());
        }
    }

    fn answered<T: Clone>(&self, cache: &Cache<T>, name: &str, answer: Option<&T>) {
        match answer {
            Some(answer) => self.remember(cache, Asked::Server, name, Some(answer)),
            None => cache.forget(name),
        }
    }
}

/// The variables of this process that are texts.
fn variables() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// What Python has told; an error is logged, and is none unless it is final.
fn told<T>(answer: Result<Option<T>, PythonError>, what: &str, name: &str) -> Result<Option<T>, Denied> {
    match answer {
        Ok(found) => Ok(found),
        Err(error @ PythonError::Denied(_)) => {
            tracing::warn!(%error, name, "a {what} is not looked for elsewhere");
            Err(Denied)
        }
        Err(error @ PythonError::Failed(_)) => {
            tracing::warn!(%error, name, "a {what} cannot be had from the secrets backend; it is looked for elsewhere");
            Ok(None)
        }
    }
}

async fn connection_of(backend: &Backend, conn_id: &str, query: Query) -> Option<Connection> {
    match backend.connection(conn_id).await {
        Ok(text) => read(conn_id, text.as_deref().filter(|text| !text.is_empty())?, query, backend.name()),
        Err(error) => {
            tracing::warn!(%error, conn_id, backend = backend.name(), "a Connection cannot be had from the secrets backend; it is looked for elsewhere");
            None
        }
    }
}

fn read(conn_id: &str, text: &str, query: Query, place: &str) -> Option<Connection> {
    connection::parse(conn_id, text, query)
        .inspect_err(|reason| {
            tracing::warn!(conn_id, reason, backend = place, "a Connection cannot be read; it is looked for elsewhere");
        })
        .ok()
}

async fn variable_of(backend: &Backend, key: &str) -> Option<String> {
    match backend.variable(key).await {
        Ok(value) => value,
        Err(error) => {
            tracing::warn!(%error, key, backend = backend.name(), "a Variable cannot be had from the secrets backend; it is looked for elsewhere");
            None
        }
    }
}
