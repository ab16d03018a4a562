//! Workers as tasks of Amazon ECS on Fargate, which are run one by one, or by services.

use std::collections::BTreeMap;

use futures::FutureExt;
use futures::future::BoxFuture;
use tradewind_aws::ecs::{Ecs, EcsError, Run, Standing};
use uuid::Uuid;

use crate::driver::{Driver, DriverError, Result};
use crate::service::{Roster, Service};

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
}

/// Has services of ECS run workers: one for each queue, whose desired count it sets. A worker's handle is the ARN of its task, by
/// which it makes itself known.
#[derive(Debug)]
pub struct EcsServices {
    ecs: Ecs,
    names: BTreeMap<String, String>,
}

impl EcsServices {
    /// The driver's name in the database, where workers of services make themselves known.
    pub const NAME: &str = "ecs-service";

    /// The services of a cluster, by queue.
    #[must_use]
    pub fn new(ecs: Ecs, names: BTreeMap<String, String>) -> Self {
        Self { ecs, names }
    }

    fn service_of(&self, queue: &str) -> Result<&str> {
        let name = self.names.get(queue).map(String::as_str);
        name.ok_or_else(|| DriverError {
            message: format!("no service of ECS is named for the queue {queue:?}"),
            hint: "name one in [tradewind] ecs_service".to_owned(),
        })
    }

    async fn try_look(&self, queue: &str, handles: &[String]) -> Result<Roster> {
        let name = self.service_of(queue)?;
        let service = self.ecs.service(name).await?;
        let mut roster = Roster { desired: service.desired, event: service.event, ..Roster::default() };
        for (handle, standing) in self.ecs.standings(Some(name), handles).await? {
            match standing {
                Standing::There => {}
                Standing::Leaving => roster.leaving.push(handle),
                Standing::Gone => roster.gone.push(handle),
            }
        }
        Ok(roster)
    }
}

impl Service for EcsServices {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn look<'a>(&'a self, queue: &'a str, handles: &'a [String]) -> BoxFuture<'a, Result<Roster>> {
        self.try_look(queue, handles).boxed()
    }

    fn scale<'a>(&'a self, queue: &'a str, desired: usize) -> BoxFuture<'a, Result<()>> {
        async move { Ok(self.ecs.scale(self.service_of(queue)?, desired).await?) }.boxed()
    }

    fn replace<'a>(&'a self, handle: &'a str) -> BoxFuture<'a, Result<()>> {
        async move { Ok(self.ecs.stop(handle, "Tradewind misses a sign of life").await?) }.boxed()
    }
}
