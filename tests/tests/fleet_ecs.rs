//! Workers as tasks of Amazon ECS, which an emulator keeps without running them.
#![forbid(unsafe_code)]

use aws_sdk_ecs::Client;
use aws_sdk_ecs::types::{Compatibility, ContainerDefinition, LaunchType, NetworkMode};
use reqwest::Client as Http;
use tradewind_aws::ecs::{Ecs, Placement};
use tradewind_fleet::{Driver, EcsDriver};
use tradewind_tests::aws::AwsEmulator;
use uuid::Uuid;

const CLUSTER: &str = "airflow";
const FAMILY: &str = "tradewind-worker";

#[tokio::test]
async fn a_worker_is_a_task_on_fargate_that_is_told_its_name_and_queue() {
    let emulator = AwsEmulator::start();
    let account = emulator.account().await;
    let client = Client::new(account.config());
    client.create_cluster().cluster_name(CLUSTER).send().await.expect("a cluster");
    let container = ContainerDefinition::builder().name("worker").image("tradewind").memory(2048).build();
    client
        .register_task_definition()
        .family(FAMILY)
        .requires_compatibilities(Compatibility::Fargate)
        .network_mode(NetworkMode::Awsvpc)
        .cpu("1024")
        .memory("2048")
        .container_definitions(container)
        .send()
        .await
        .expect("a task definition");
    let placement = Placement {
        cluster: CLUSTER.to_owned(),
        task_definition: FAMILY.to_owned(),
        container: "worker".to_owned(),
        subnets: vec![first(&emulator, "DescribeSubnets", "subnetId").await],
        security_groups: vec![first(&emulator, "DescribeSecurityGroups", "groupId").await],
        size: Some((2048, 4096)),
    };
    let driver = EcsDriver::new(Ecs::new(&account, placement.clone()));

    let id = Uuid::now_v7();
    let handle = driver.launch(id, "default").await.expect("a task");
    let described = client.describe_tasks().cluster(CLUSTER).tasks(&handle).send().await.expect("an answer");
    let task = described.tasks().first().expect("the task");
    assert_eq!((task.launch_type(), task.started_by()), (Some(&LaunchType::Fargate), Some("tradewind")));
    let overrides = task.overrides().expect("overrides");
    assert_eq!((overrides.cpu(), overrides.memory()), (Some("2048"), Some("4096")));
    let container = overrides.container_overrides().first().expect("the container");
    let told: Vec<_> = container.environment().iter().map(|pair| (pair.name(), pair.value())).collect();
    let name = id.to_string();
    let expected = [("TRADEWIND_WORKER_ID", name.as_str()), ("AIRFLOW__TRADEWIND__WORKER_QUEUES", "default")];
    assert_eq!(told, expected.map(|(name, value)| (Some(name), Some(value))));

    let handles = [handle.clone()];
    assert_eq!(driver.ended(&handles).await.expect("an answer"), [""; 0]);
    driver.end(&handle).await.expect("the end");
    assert_eq!(driver.ended(&handles).await.expect("an answer"), handles);

    let elsewhere = Placement { cluster: "none".to_owned(), ..placement };
    let refused = EcsDriver::new(Ecs::new(&account, elsewhere)).launch(id, "default").await.expect_err("no cluster");
    let text = refused.to_string();
    assert!(text.contains("ecs:RunTask of tradewind-worker on cluster none"), "{text}");
    assert!(text.contains("hint: ") && text.contains("[tradewind] ecs_cluster"), "{text}");
}

/// What the emulator's VPC has of something, as EC2 tells it: in XML.
async fn first(emulator: &AwsEmulator, action: &str, element: &str) -> String {
    let request = Http::new()
        .post(emulator.endpoint())
        .header("authorization", "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/ec2/aws4_request")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(format!("Action={action}&Version=2016-11-15"));
    let text = request.send().await.expect("an answer").text().await.expect("a text");
    let (_, rest) = text.split_once(&format!("<{element}>")).unwrap_or_else(|| panic!("no {element}: {text}"));
    rest.split('<').next().expect("a value").to_owned()
}
