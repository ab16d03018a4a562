//! A fleet of workers that services of Amazon ECS start and end. The emulator keeps services and tasks without running them: the test
//! does what ECS would do, with workers that are plain processes, and ends none that is protected.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use aws_sdk_ecs::Client;
use aws_sdk_ecs::types::{ContainerDefinition, LaunchType};
use nix::sys::signal::Signal;
use sqlx::{PgPool, query_scalar};
use tradewind_aws::ecs::{Ecs, Placement};
use tradewind_fleet::{EcsServices, Roster, Service};
use tradewind_tests::aws::AwsEmulator;
use tradewind_tests::component::Component;
use tradewind_tests::deployment::Deployment;
use tradewind_tests::ecs_agent::EcsAgent;
use tradewind_tests::patience::eventually;
use tradewind_tests::program::workspace;

const CLUSTER: &str = "airflow";
const SERVICE: &str = "tradewind-worker";
const DAG_ID: &str = "wide";

#[tokio::test]
async fn a_service_grows_from_nothing_for_a_run_and_shrinks_to_nothing_after_it() {
    let emulator = AwsEmulator::start();
    let client = cluster_with(&emulator, SERVICE).await;
    let deployment = Deployment::new(&[workspace().join("tests/fleet/dags")]).await;
    let deployment = emulator.variables().into_iter().fold(deployment, |all, (name, value)| all.with(name, value));
    let deployment = deployment
        .with("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
        .with("AIRFLOW__CELERY__WORKER_AUTOSCALE", "2,0")
        .with("AIRFLOW__TRADEWIND__MIN_WORKERS", "0")
        .with("AIRFLOW__TRADEWIND__MAX_WORKERS", "4")
        .with("AIRFLOW__TRADEWIND__FLEET_DRIVER", "ecs")
        .with("AIRFLOW__TRADEWIND__ECS_CLUSTER", CLUSTER)
        .with("AIRFLOW__TRADEWIND__ECS_SERVICE", SERVICE)
        .with("AIRFLOW__TRADEWIND__ECS_PROTECTION_LINGER", "1")
        .with("AIRFLOW__TRADEWIND__FLEET_INTERVAL", "1")
        .with("AIRFLOW__TRADEWIND__FLEET_SCALE_IN_DELAY", "2")
        .with("AIRFLOW__TRADEWIND__FLEET_DRAIN_WAIT", "2");
    let pool = deployment.database().pool();
    let standalone = deployment.start().await;
    let rest = standalone.log_in().await;
    rest.unpause(DAG_ID).await;
    let mut ecs =
        Scheduler { client, agent: EcsAgent::start().await, deployment: &deployment, workers: BTreeMap::new() };

    rest.trigger(DAG_ID, "first").await;
    eventually("three busy workers", async || {
        ecs.turn().await;
        let is_busy = count(pool, "SELECT count(*) FROM tradewind.worker WHERE running > 0").await == 3;
        is_busy.then_some(())
    })
    .await;
    assert_eq!(ecs.desired().await, 3, "six tasks, two for each worker");
    let tasks: Vec<String> = ecs.workers.keys().cloned().collect();
    assert!(tasks.iter().all(|arn| ecs.agent.protects(arn)), "busy workers are protected");
    assert_eq!(count(pool, "SELECT count(*) FROM tradewind.fleet_worker WHERE driver = 'ecs-service'").await, 3);

    // Somebody asks for less, while all are busy: nobody is ended.
    ecs.set_desired(1).await;
    ecs.turn().await;
    assert_eq!(ecs.workers.len(), 3);
    assert_eq!(rest.final_state(DAG_ID, "first").await, "success");

    eventually("an empty service", async || {
        ecs.turn().await;
        let is_empty = ecs.workers.is_empty() && ecs.desired().await == 0;
        (is_empty && count(pool, "SELECT count(*) FROM tradewind.fleet_worker").await == 0).then_some(())
    })
    .await;
    let not_cleared =
        tasks.iter().filter(|arn| ecs.agent.asked(arn).last().is_none_or(|body| body["ProtectionEnabled"] != false));
    assert_eq!(not_cleared.count(), 0, "idle workers gave their protection up");
    let log = standalone.log("scheduler");
    for step in ["a service is to have so many workers", "a worker has nothing to do and takes nothing more"] {
        assert!(log.contains(step), "{step}: {log}");
    }

    // It comes back.
    rest.trigger(DAG_ID, "second").await;
    eventually("workers", async || {
        ecs.turn().await;
        (ecs.workers.len() >= 3).then_some(())
    })
    .await;
    assert_eq!(rest.final_state(DAG_ID, "second").await, "success");
    let retried = count(pool, "SELECT count(*) FROM task_instance WHERE try_number <> 1").await;
    assert_eq!(retried, 0, "no worker was ended while it was busy");
    ecs.workers.values_mut().for_each(Component::end);
    standalone.end(Signal::SIGTERM);
}

#[tokio::test]
async fn a_service_is_looked_at_and_told_how_many_workers_it_is_to_have() {
    let emulator = AwsEmulator::start();
    let client = cluster_with(&emulator, SERVICE).await;
    let placement = Placement { cluster: CLUSTER.to_owned(), ..Placement::default() };
    let names = [("default", SERVICE), ("large", "missing")].map(|(queue, name)| (queue.to_owned(), name.to_owned()));
    let services = EcsServices::new(Ecs::new(&emulator.account().await, placement), BTreeMap::from(names));

    assert_eq!(services.look("default", &[]).await.expect("a service"), Roster::default());
    services.scale("default", 3).await.expect("a service");
    let [own, stopped, foreign] = [
        run_task(&client, &format!("service:{SERVICE}")).await,
        run_task(&client, &format!("service:{SERVICE}")).await,
        run_task(&client, "service:another").await,
    ];
    services.replace(&stopped).await.expect("a task");
    let handles = [own.clone(), stopped.clone(), foreign.clone()];
    let roster = services.look("default", &handles).await.expect("a service");
    assert_eq!((roster.desired, &roster.leaving), (3, &vec![]));
    let mut gone = roster.gone;
    gone.sort();
    let mut expected = vec![stopped, foreign];
    expected.sort();
    assert_eq!(gone, expected, "{own} is there");

    for (queue, words) in [
        ("large", "ecs:DescribeServices of missing on cluster airflow: MISSING\nhint: make the service"),
        ("other", "no service of ECS is named for the queue \"other\"\nhint: name one in [tradewind] ecs_service"),
    ] {
        let error = services.look(queue, &[]).await.expect_err("no service").to_string();
        assert!(error.contains(words), "{error}");
    }
    let error = services.scale("large", 1).await.expect_err("no service").to_string();
    assert!(error.contains("ecs:UpdateService of missing on cluster airflow to 1 tasks: "), "{error}");
}

/// A cluster with a service that has nothing to run yet.
async fn cluster_with(emulator: &AwsEmulator, service: &str) -> Client {
    let client = Client::new(emulator.account().await.config());
    client.create_cluster().cluster_name(CLUSTER).send().await.expect("a cluster");
    let container = ContainerDefinition::builder().name("worker").image("tradewind").memory(2048).build();
    client
        .register_task_definition()
        .family("worker")
        .container_definitions(container)
        .send()
        .await
        .expect("a task definition");
    let request = client.create_service().cluster(CLUSTER).service_name(service).task_definition("worker");
    request.launch_type(LaunchType::Fargate).desired_count(0).send().await.expect("a service");
    client
}

/// Has the emulator keep a task, as ECS does for a service.
async fn run_task(client: &Client, group: &str) -> String {
    let request = client.run_task().cluster(CLUSTER).task_definition("worker").launch_type(LaunchType::Fargate);
    let answer = request.group(group).send().await.expect("a task");
    answer.tasks().first().and_then(|task| task.task_arn()).expect("an ARN").to_owned()
}

/// Does what the scheduler of ECS does for a service: starts tasks while it has too few, and ends unprotected ones while it has too
/// many.
struct Scheduler<'a> {
    client: Client,
    agent: EcsAgent,
    deployment: &'a Deployment,
    /// Workers by the ARNs of their tasks.
    workers: BTreeMap<String, Component>,
}

impl Scheduler<'_> {
    async fn desired(&self) -> usize {
        let request = self.client.describe_services().cluster(CLUSTER).services(SERVICE);
        let answer = request.send().await.expect("an answer");
        usize::try_from(answer.services().first().expect("the service").desired_count()).expect("a count")
    }

    async fn set_desired(&self, count: i32) {
        let request = self.client.update_service().cluster(CLUSTER).service(SERVICE).desired_count(count);
        request.send().await.expect("the service");
    }

    async fn turn(&mut self) {
        let desired = self.desired().await;
        while self.workers.len() < desired {
            let arn = run_task(&self.client, &format!("service:{SERVICE}")).await;
            let name = format!("worker-{}", &arn[arn.len() - 8..]);
            let worker = Component::new(self.deployment, &name, &["worker", "--queues", "default"]);
            let variables = self.agent.add(&arn);
            let mut worker = variables.iter().fold(worker, |worker, (name, value)| worker.with(name, value));
            worker.start();
            self.workers.insert(arn, worker);
        }
        while self.workers.len() > desired {
            let Some(arn) = self.workers.keys().find(|arn| !self.agent.protects(arn)).cloned() else { return };
            self.client.stop_task().cluster(CLUSTER).task(&arn).send().await.expect("the task");
            self.workers.remove(&arn).expect("a worker").end();
        }
    }
}

async fn count(pool: &PgPool, statement: &'static str) -> i64 {
    query_scalar(statement).fetch_one(pool).await.expect("a count")
}
