//! The backend of `[secrets] backend` where only Python knows its class: a child of pyhost asks it, as the API server would.
//!
//! The child, and with it the backend and its client, lives on for the next question. One that takes too long is ended, and another
//! one is asked the next time. A few are asked at once, so that one that hangs leaves room for others.

use futures::FutureExt;
use futures::future::BoxFuture;
use serde::Deserialize;
use tradewind_airflow::evaluation::{Secret, SecretAnswer, SecretKind};
use tradewind_airflow::secrets_masker::SecretsMasker;
use tradewind_metadata::connection::Connection;
use tradewind_secrets::{Python, PythonError};

use crate::evaluator::{EvaluationError, Evaluator};

/// Asks a backend in children.
#[derive(Debug)]
pub(super) struct PythonBackend {
    evaluator: Evaluator,
    class: String,
    masker: SecretsMasker,
}

/// A Connection as the execution API tells it.
#[derive(Deserialize)]
struct Told {
    conn_type: String,
    host: Option<String>,
    schema: Option<String>,
    login: Option<String>,
    password: Option<String>,
    port: Option<i32>,
    extra: Option<String>,
}

impl PythonBackend {
    pub(super) fn new(evaluator: Evaluator, class: String, masker: SecretsMasker) -> Self {
        Self { evaluator, class, masker }
    }

    async fn ask(&self, kind: SecretKind, name: &str) -> Result<SecretAnswer, PythonError> {
        let answer = self.evaluator.ask_secret(Secret { kind, name: name.to_owned() }).await;
        match answer {
            Ok(SecretAnswer::Denied(message)) => Err(PythonError::Denied(self.masked(&message))),
            Ok(answer) => Ok(answer),
            Err(error) => Err(self.failed(&error)),
        }
    }

    fn failed(&self, error: &EvaluationError) -> PythonError {
        metrics::counter!("tradewind.secrets.failures").increment(1);
        let detail = match error {
            EvaluationError::TimedOut(patience) => {
                format!("it did not answer within {patience:?} ([tradewind] evaluation_timeout) and was stopped")
            }
            EvaluationError::Died(status) => format!("its process ended with {status}"),
            EvaluationError::Raised(raised) => {
                let traceback = self.masked(&raised.traceback);
                tracing::debug!(class = self.class, traceback, "a secrets backend raised an error");
                self.masked(&raised.message)
            }
            other => self.masked(&other.to_string()),
        };
        PythonError::Failed(format!(
            "{}: {detail}\nhint: mend the backend, or its [secrets] backend_kwargs",
            self.class
        ))
    }

    fn masked(&self, text: &str) -> String {
        self.masker.redact_text(text)
    }

    fn unexpected(&self) -> PythonError {
        PythonError::Failed(format!("{}: the answer is not what was asked for", self.class))
    }
}

impl Python for PythonBackend {
    fn connection<'a>(&'a self, conn_id: &'a str) -> BoxFuture<'a, Result<Option<Connection>, PythonError>> {
        async move {
            let told = match self.ask(SecretKind::Connection, conn_id).await? {
                SecretAnswer::Nothing => return Ok(None),
                SecretAnswer::Connection(fields) => fields,
                _ => return Err(self.unexpected()),
            };
            let Told { conn_type, host, schema, login, password, port, extra } =
                serde_json::from_value(told).map_err(|_| self.unexpected())?;
            let conn_id = conn_id.to_owned();
            Ok(Some(Connection { conn_id, conn_type, host, schema, login, password, port, extra }))
        }
        .boxed()
    }

    fn variable<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<String>, PythonError>> {
        async move {
            match self.ask(SecretKind::Variable, key).await? {
                SecretAnswer::Nothing => Ok(None),
                SecretAnswer::Variable(value) => Ok(Some(value)),
                _ => Err(self.unexpected()),
            }
        }
        .boxed()
    }
}
