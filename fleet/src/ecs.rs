//! Workers as tasks of Amazon ECS on Fargate.

use futures::FutureExt;
use futures::future::BoxFuture;
use tradewind_aws::ecs::{Ecs, EcsError, Run};
use uuid::Uuid;

use crate::driver::{Driver, DriverError, Result};

/// Starts workers with `RunTask`, and ends them with `StopTask`.
#[derive(Debug)]
pub struct EcsDriver {
    ecs: Ecs,
}

impl EcsDriver {
    /// A driver on a cluster.
    #[must_use]
    pub fn new(ecs: Ecs) -> Self {
        Self { ecs }
    }
}

impl From<EcsError> for DriverError {
    fn from(error: EcsError) -> Self {
        Self { message: error.message, hint: error.hint }
    }
}

impl Driver for EcsDriver {
    fn name(&self) -> &'static str {
        "ecs"
    }

    fn launch<'a>(&'a self, id: Uuid, queue: &'a str) -> BoxFuture<'a, Result<String>> {
        let environment = vec![
            ("TRADEWIND_WORKER_ID".to_owned(), id.to_string()),
            ("AIRFLOW__TRADEWIND__WORKER_QUEUES".to_owned(), queue.to_owned()),
        ];
        // What is asked twice under one token is done once.
        async move { Ok(self.ecs.run(Run { token: id.to_string(), environment }).await?) }.boxed()
    }

    fn end<'a>(&'a self, handle: &'a str) -> BoxFuture<'a, Result<()>> {
        async move { Ok(self.ecs.stop(handle, "Tradewind scales in").await?) }.boxed()
    }

    fn ended<'a>(&'a self, handles: &'a [String]) -> BoxFuture<'a, Result<Vec<String>>> {
        async move { Ok(self.ecs.stopped(handles).await?) }.boxed()
    }

    /// They live on.
    fn release(&self) -> BoxFuture<'_, ()> {
        async {}.boxed()
    }

    fn protect<'a>(&'a self, handle: &'a str, protected: bool) -> BoxFuture<'a, Result<()>> {
        async move { Ok(self.ecs.protect(handle, protected).await?) }.boxed()
    }
}
