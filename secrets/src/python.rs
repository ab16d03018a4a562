//! Backends of classes that only Python knows.

use std::fmt::Debug;

use futures::future::BoxFuture;
use tradewind_metadata::connection::Connection;

/// Why such a backend gives nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PythonError {
    /// It says that access is denied: nobody else is to be asked.
    #[error("the secrets backend denies access: {0}")]
    Denied(String),
    /// It failed, or gave no answer in time. Secrets in the text are masked.
    #[error("{0}")]
    Failed(String),
}

/// Asks the backend of `[secrets] backend`, whatever its class.
pub trait Python: Debug + Send + Sync {
    /// A Connection, if the backend has it.
    fn connection<'a>(&'a self, conn_id: &'a str) -> BoxFuture<'a, Result<Option<Connection>, PythonError>>;

    /// A Variable, if the backend has it.
    fn variable<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<String>, PythonError>>;
}

/// Access is denied, which is final.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the secrets backend denies access")]
pub struct Denied;
