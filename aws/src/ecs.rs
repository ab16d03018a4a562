//! Amazon ECS tasks on Fargate.

use std::error::Error;

use aws_sdk_ecs::Client;
use aws_sdk_ecs::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_ecs::types::{
    AssignPublicIp, AwsVpcConfiguration, ContainerOverride, Failure, KeyValuePair, LaunchType, NetworkConfiguration,
    TaskOverride,
};

use crate::Account;

/// Tasks that one request may describe.
const DESCRIBED: usize = 100;

/// For how long a task is protected, in minutes; it is renewed by nobody, so it is as long as ECS allows.
const PROTECTION: i32 = 2_880;

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
        let mut stopped = Vec::new();
        for some in arns.chunks(DESCRIBED) {
            let request = self.client.describe_tasks().cluster(&self.placement.cluster).set_tasks(Some(some.to_vec()));
            let answer = request.send().await.map_err(|error| EcsError {
                message: format!("ECS, ecs:DescribeTasks: {}", said(&error)),
                hint: "allow ecs:DescribeTasks on the tasks of the cluster".to_owned(),
            })?;
            let tasks = answer.tasks().iter().filter(|task| task.last_status() == Some("STOPPED"));
            stopped.extend(tasks.filter_map(|task| task.task_arn().map(str::to_owned)));
            let missing = answer.failures().iter().filter(|failure| failure.reason() == Some("MISSING"));
            stopped.extend(missing.filter_map(|failure| failure.arn().map(str::to_owned)));
        }
        Ok(stopped)
    }

    /// Protects a task from scale-in and deployments of its service, or ends that. ECS protects tasks of services only.
    ///
    /// # Errors
    /// When ECS refuses.
    pub async fn protect(&self, arn: &str, protected: bool) -> Result<(), EcsError> {
        let failed = |detail: String| EcsError {
            message: format!("ECS, ecs:UpdateTaskProtection of {arn}: {detail}"),
            hint: "allow ecs:UpdateTaskProtection on the tasks of the cluster; ECS protects tasks of services only"
                .to_owned(),
        };
        let request = self.client.update_task_protection().cluster(&self.placement.cluster).tasks(arn);
        let request = request.protection_enabled(protected).set_expires_in_minutes(protected.then_some(PROTECTION));
        let answer = request.send().await.map_err(|error| failed(said(&error)))?;
        match answer.failures().first() {
            Some(failure) => Err(failed(reason(failure))),
            None => Ok(()),
        }
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
