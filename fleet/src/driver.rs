//! How workers are started and ended.

use std::fmt::Debug;

use futures::future::BoxFuture;
use uuid::Uuid;

/// Why a driver did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[error("{message}\nhint: {hint}")]
pub struct DriverError {
    /// What went wrong.
    pub message: String,
    /// What to do.
    pub hint: String,
}

/// The result of a request to a driver.
pub(crate) type Result<T> = std::result::Result<T, DriverError>;

/// Starts and ends workers. A worker is known to its driver by a handle, which is kept in the database, so that another
/// scheduler may go on with it.
pub trait Driver: Debug + Send + Sync {
    /// Its name in the database and in the log.
    fn name(&self) -> &'static str;

    /// Starts a worker for a queue, which calls itself by the id, and returns its handle.
    fn launch<'a>(&'a self, id: Uuid, queue: &'a str) -> BoxFuture<'a, Result<String>>;

    /// Asks a worker to end. One that has ended is no error.
    fn end<'a>(&'a self, handle: &'a str) -> BoxFuture<'a, Result<()>>;

    /// Those of the workers that have ended, as far as the driver knows.
    fn ended<'a>(&'a self, handles: &'a [String]) -> BoxFuture<'a, Result<Vec<String>>>;

    /// Lets go of the workers, since this process ends: those that cannot live without it are told, and waited for.
    fn release(&self) -> BoxFuture<'_, ()>;
}
