//! Amazon ECS: tasks on Fargate, and services.

use std::error::Error;

use aws_sdk_ecs::Client;
use aws_sdk_ecs::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_ecs::types::{
    AssignPublicIp, AwsVpcConfiguration, ContainerOverride, Failure, KeyValuePair, LaunchType, NetworkConfiguration,
    Task, TaskOverride,
};

use crate::Account;

/// Tasks that one request may describe.
const DESCRIBED: usize = 100;

/// What tasks are made from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Placement {
    /// The cluster.
    pub cluster: String,
    /// The task definition, with or without its revision.
    pub task_definition: String,
    /// The container in it that gets the environment.
    pub container: String,
    /// Subnets; private ones, since tasks get no public address.
    pub subnets: Vec<String>,
    /// Security groups.
    pub security_groups: Vec<String>,
    /// CPU units and MiB of memory, where they are not those of the task definition.
    pub size: Option<(u32, u32)>,
}

/// A task to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// What is asked again under this token is not done again.
    pub token: String,
    /// Variables for the container.
    pub environment: Vec<(String, String)>,
}

/// How a task stands to its service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It runs, or is about to.
    There,
    /// It has been told to stop, and counts no more.
    Leaving,
    /// It has stopped, or ECS has forgotten it, or it is of no service or another one.
    Gone,
}

/// A service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Tasks that it is to have.
    pub desired: usize,
    /// What it last told.
    pub event: Option<String>,
}

/// Why ECS did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct EcsError {
    /// What was asked, and what ECS says.
    pub message: String,
    /// What to do.
    pub hint: String,
}

/// Amazon ECS.
#[derive(Debug)]
pub struct Ecs {
    client: Client,
    placement: Placement,
}

impl Ecs {
    /// ECS in this account. Nothing is asked of it yet.
    #[must_use]
    pub fn new(account: &Account, placement: Placement) -> Self {
        Self { client: Client::new(account.config()), placement }
    }

    /// Runs a task, and returns its ARN.
    ///
    /// # Errors
    /// When ECS refuses, or has no capacity.
    pub async fn run(&self, run: Run) -> Result<String, EcsError> {
        let Placement { cluster, task_definition, container, subnets, security_groups, size } = self.placement.clone();
        let failed = |detail: String| {
            EcsError {
            message: format!("ECS, ecs:RunTask of {task_definition} on cluster {cluster}: {detail}"),
            hint: "allow ecs:RunTask on the task definition, and iam:PassRole on its roles; check [tradewind] ecs_cluster, \
                   ecs_task_definition, ecs_subnets and ecs_security_groups"
                .to_owned(),
        }
        };
        let network = AwsVpcConfiguration::builder()
            .set_subnets(Some(subnets))
            .set_security_groups(Some(security_groups))
            .assign_public_ip(AssignPublicIp::Disabled)
            .build()
            .map_err(|error| failed(error.to_string()))?;
        let environment = run.environment.into_iter();
        let environment = environment.map(|(name, value)| KeyValuePair::builder().name(name).value(value).build());
        let container =
            ContainerOverride::builder().name(container).set_environment(Some(environment.collect())).build();
        let overrides = TaskOverride::builder()
            .container_overrides(container)
            .set_cpu(size.map(|(cpu, _)| cpu.to_string()))
            .set_memory(size.map(|(_, memory)| memory.to_string()))
            .build();
        let answer = self
            .client
            .run_task()
            .cluster(&cluster)
            .task_definition(&task_definition)
            .launch_type(LaunchType::Fargate)
            .network_configuration(NetworkConfiguration::builder().awsvpc_configuration(network).build())
            .overrides(overrides)
            .count(1)
            .started_by("tradewind")
            .client_token(run.token)
            .send()
            .await
            .map_err(|error| failed(said(&error)))?;
        if let Some(failure) = answer.failures().first() {
            return Err(failed(reason(failure)));
        }
        let arn = answer.tasks().first().and_then(|task| task.task_arn());
        arn.map(str::to_owned).ok_or_else(|| failed("the answer names no task".to_owned()))
    }

    /// Stops a task: its processes get SIGTERM, and SIGKILL after the `stopTimeout` of the task definition.
    ///
    /// # Errors
    /// When ECS refuses.
    pub async fn stop(&self, arn: &str, reason: &str) -> Result<(), EcsError> {
        let cluster = &self.placement.cluster;
        let outcome = self.client.stop_task().cluster(cluster).task(arn).reason(reason).send().await;
        outcome.map(|_| ()).map_err(|error| EcsError {
            message: format!("ECS, ecs:StopTask of {arn}: {}", said(&error)),
            hint: "allow ecs:StopTask on the tasks of the cluster".to_owned(),
        })
    }

    /// Those of the tasks that have stopped, or that ECS has forgotten since.
    ///
    /// # Errors
    /// When ECS refuses.
    pub async fn stopped(&self, arns: &[String]) -> Result<Vec<String>, EcsError> {
        let standings = self.standings(None, arns).await?;
        Ok(standings.into_iter().filter(|(_, standing)| *standing == Standing::Gone).map(|(arn, _)| arn).collect())
    }

    /// How tasks stand to a service; without one all are of it.
    ///
    /// # Errors
    /// When ECS refuses.
    pub async fn standings(&self, service: Option<&str>, arns: &[String]) -> Result<Vec<(String, Standing)>, EcsError> {
        let group = service.map(|service| format!("service:{}", name_of(service)));
        let mut standings = Vec::new();
        for some in arns.chunks(DESCRIBED) {
            let request = self.client.describe_tasks().cluster(&self.placement.cluster).set_tasks(Some(some.to_vec()));
            let answer = request.send().await.map_err(|error| EcsError {
                message: format!("ECS, ecs:DescribeTasks: {}", said(&error)),
                hint: "allow ecs:DescribeTasks on the tasks of the cluster".to_owned(),
            })?;
            let standing = |task: &Task| Some((task.task_arn()?.to_owned(), standing(task, group.as_deref())));
            standings.extend(answer.tasks().iter().filter_map(standing));
            let missing = answer.failures().iter().filter(|failure| failure.reason() == Some("MISSING"));
            standings.extend(missing.filter_map(|failure| Some((failure.arn()?.to_owned(), Standing::Gone))));
        }
        Ok(standings)
    }

    /// A service, as it is now.
    ///
    /// # Errors
    /// When ECS refuses, or has no such service.
    pub async fn service(&self, name: &str) -> Result<Service, EcsError> {
        let cluster = &self.placement.cluster;
        let failed = |detail: String| EcsError {
            message: format!("ECS, ecs:DescribeServices of {name} on cluster {cluster}: {detail}"),
            hint: "make the service, with a desired count of 0; allow ecs:DescribeServices on it; check [tradewind] \
                   ecs_cluster and ecs_service"
                .to_owned(),
        };
        let answer = self.client.describe_services().cluster(cluster).services(name).send().await;
        let answer = answer.map_err(|error| failed(said(&error)))?;
        if let Some(failure) = answer.failures().first() {
            return Err(failed(reason(failure)));
        }
        let service = answer.services().first().ok_or_else(|| failed("the answer names no service".to_owned()))?;
        match service.status() {
            None | Some("ACTIVE") => Ok(Service {
                desired: usize::try_from(service.desired_count()).unwrap_or(0),
                event: service.events().first().and_then(|event| event.message()).map(str::to_owned),
            }),
            Some(status) => Err(failed(format!("it is {status}"))),
        }
    }

    /// Sets how many tasks a service is to have. It ends those that are protected only after their protection has ended.
    ///
    /// # Errors
    /// When ECS refuses.
    pub async fn scale(&self, service: &str, desired: usize) -> Result<(), EcsError> {
        let cluster = &self.placement.cluster;
        let count = i32::try_from(desired).unwrap_or(i32::MAX);
        let outcome = self.client.update_service().cluster(cluster).service(service).desired_count(count).send().await;
        outcome.map(|_| ()).map_err(|error| EcsError {
            message: format!(
                "ECS, ecs:UpdateService of {service} on cluster {cluster} to {desired} tasks: {}",
                said(&error)
            ),
            hint: "allow ecs:UpdateService on the service; check [tradewind] ecs_cluster and ecs_service".to_owned(),
        })
    }
}

/// The name of a service, which may be called by its ARN.
fn name_of(service: &str) -> &str {
    service.rsplit('/').next().unwrap_or(service)
}

fn standing(task: &Task, group: Option<&str>) -> Standing {
    let is_foreign = group.is_some_and(|group| task.group() != Some(group));
    if is_foreign || task.last_status() == Some("STOPPED") {
        Standing::Gone
    } else if task.desired_status() == Some("STOPPED") {
        Standing::Leaving
    } else {
        Standing::There
    }
}

fn reason(failure: &Failure) -> String {
    let parts = [failure.reason(), failure.detail()];
    parts.into_iter().flatten().collect::<Vec<_>>().join(": ")
}

/// What ECS says, or what kept it from saying something.
fn said<E, R>(error: &SdkError<E, R>) -> String
where
    E: ProvideErrorMetadata + Error + 'static,
    R: std::fmt::Debug + 'static,
{
    match error.code() {
        Some(code) => format!("{} ({code})", error.message().unwrap_or_default()),
        None => DisplayErrorContext(error).to_string(),
    }
}
