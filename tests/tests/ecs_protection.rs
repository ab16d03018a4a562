//! How a worker in a task of Amazon ECS keeps its service from ending it. What the agent answers is in `tradewind_tests::ecs_agent`.
#![forbid(unsafe_code)]

use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tradewind_aws::agent::{Agent, AgentError};
use tradewind_tests::ecs_agent::EcsAgent;
use tradewind_tests::patience::eventually;
use tradewind_worker::{Pace, Protection};

const TASK: &str = "arn:aws:ecs:us-east-1:123456789012:task/airflow/0123456789abcdef0123456789abcdef";

/// Longer than any test takes.
const NEVER: Duration = Duration::from_secs(3_600);

/// Nothing comes by itself.
const PACE: Pace = Pace { expires_in: NEVER, renewed_after: NEVER, linger: NEVER, patience: NEVER };

fn set() -> Value {
    json!({"ProtectionEnabled": true, "ExpiresInMinutes": 60})
}

fn ended() -> Value {
    json!({"ProtectionEnabled": false})
}

/// A protection that is kept until the token is dropped.
async fn kept(pace: Pace) -> (EcsAgent, Protection, tokio_util::sync::DropGuard) {
    let ecs = EcsAgent::start().await;
    let [(_, address), (_, metadata)] = ecs.add(TASK);
    let agent = Agent::new(&address, Some(&metadata)).expect("an agent");
    assert_eq!(agent.task_arn().await.expect("an answer").as_deref(), Some(TASK));
    let protection = Protection::new(agent, pace);
    let stop = CancellationToken::new();
    tokio::spawn(protection.clone().keep(stop.clone()));
    (ecs, protection, stop.drop_guard())
}

#[tokio::test]
async fn a_worker_is_protected_once_for_all_attempts_before_the_first_runs() {
    let (ecs, protection, _stop) = kept(PACE).await;
    assert_eq!(ecs.asked(TASK), Vec::<Value>::new(), "nothing runs");
    let first = protection.lease();
    first.settled().await;
    assert!(ecs.protects(TASK));
    let second = protection.lease();
    second.settled().await;
    drop((first, second));
    // One that comes soon after finds it as it was.
    protection.lease().settled().await;
    assert_eq!(ecs.asked(TASK), [set()]);
}

#[tokio::test]
async fn a_protection_is_renewed_while_an_attempt_runs_and_ended_after_it() {
    let pace = Pace { renewed_after: Duration::from_millis(50), linger: Duration::from_millis(200), ..PACE };
    let (ecs, protection, _stop) = kept(pace).await;
    let lease = protection.lease();
    eventually("renewals", async || (ecs.asked(TASK).len() >= 3).then_some(())).await;
    assert_eq!(ecs.asked(TASK)[..3], [set(), set(), set()]);
    drop(lease);
    eventually("the end", async || (!ecs.protects(TASK)).then_some(())).await;
    let asked = ecs.asked(TASK);
    assert_eq!(asked.iter().filter(|body| **body == ended()).count(), 1, "{asked:?}");
    // The next attempt waits for a new one.
    let next = protection.lease();
    next.settled().await;
    assert!(ecs.protects(TASK), "{:?}", ecs.asked(TASK));
}

#[tokio::test]
async fn what_is_refused_stops_no_attempt_and_is_asked_again() {
    let (ecs, protection, _stop) = kept(Pace { linger: Duration::ZERO, ..PACE }).await;
    let throttled = json!({
        "requestID": "12345-abc", "error": {"Arn": TASK, "Code": "ThrottlingException", "Message": "Rate exceeded"},
    });
    ecs.answer_next(400, throttled);
    ecs.answer_next(
        200,
        json!({"failure": {"Arn": TASK, "Detail": "a deployment waits", "Reason": "DEPLOYMENT_BLOCKED"}}),
    );
    let lease = protection.lease();
    lease.settled().await;
    assert!(!ecs.protects(TASK));
    eventually("the third try", async || ecs.protects(TASK).then_some(())).await;
    assert_eq!(ecs.asked(TASK), [set(), set(), set()]);

    let timed_out = json!({"error": {"Arn": TASK, "Code": "RequestCanceled", "Message": "Timed out"}});
    ecs.answer_next(504, timed_out);
    drop(lease);
    eventually("the end, asked for twice", async || (!ecs.protects(TASK)).then_some(())).await;
    assert_eq!(ecs.asked(TASK)[3..], [ended(), ended()]);
}

#[tokio::test]
async fn a_task_without_a_service_is_left_alone() {
    let (ecs, protection, _stop) = kept(Pace { linger: Duration::ZERO, ..PACE }).await;
    ecs.answer_next(200, json!({"failure": {"Arn": TASK, "Detail": null, "Reason": "TASK_NOT_VALID"}}));
    for _ in 0..3 {
        protection.lease().settled().await;
    }
    assert_eq!(ecs.asked(TASK), [set()], "nobody ends it, which does not change");
}

#[tokio::test]
async fn an_agent_that_does_not_answer_holds_no_attempt_for_long() {
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = format!("http://{}/api/1", silent.local_addr().expect("an address"));
    let agent = Agent::new(&address, None).expect("an agent");
    let protection = Protection::new(agent, Pace { patience: Duration::from_millis(50), ..PACE });
    let stop = CancellationToken::new();
    tokio::spawn(protection.clone().keep(stop.clone()));
    protection.lease().settled().await;
    stop.cancel();
    // Without a place that answers, nothing is known either.
    drop(silent);
    let agent = Agent::new(&address, Some(&address)).expect("an agent");
    let error = agent.protect(None).await.expect_err("nobody is there");
    let AgentError::Failed { request, hint, .. } = &error else { panic!("{error}") };
    assert!(
        request.ends_with("/api/1/task-protection/v1/state") && hint.contains("ecs:UpdateTaskProtection"),
        "{error}"
    );
    assert!(agent.task_arn().await.is_err());
}

#[tokio::test]
async fn what_the_agent_refuses_is_told() {
    let ecs = EcsAgent::start().await;
    let [(_, address), _] = ecs.add(TASK);
    let agent = Agent::new(&address, None).expect("an agent");
    let message = "User: arn:aws:sts::1:assumed-role/r/t is not authorized to perform: ecs:UpdateTaskProtection";
    let refused =
        json!({"requestID": "12345-abc", "error": {"Arn": TASK, "Code": "AccessDeniedException", "Message": message}});
    ecs.answer_next(400, refused);
    let error = agent.protect(Some(NEVER)).await.expect_err("a refusal").to_string();
    assert!(
        error.contains(&format!("400 Bad Request: AccessDeniedException: {message} (request 12345-abc)")),
        "{error}"
    );
    ecs.answer_next(200, json!({"protection": {"ExpirationDate": null, "ProtectionEnabled": false, "TaskArn": TASK}}));
    assert!(agent.protect(Some(NEVER)).await.is_err(), "what was answered is not what was asked for");
    // As long as ECS grants, and not longer.
    agent.protect(Some(48 * NEVER)).await.expect("two days");
    agent.protect(Some(1_000 * NEVER)).await.expect("two days");
    agent.protect(Some(Duration::ZERO)).await.expect("a minute");
    let minutes: Vec<Value> = ecs.asked(TASK)[2..].iter().map(|body| body["ExpiresInMinutes"].clone()).collect();
    assert_eq!(minutes, [2_880, 2_880, 1]);
}
