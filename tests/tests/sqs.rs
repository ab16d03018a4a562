//! Amazon SQS as the queue, where it does not do what is asked: what a user is told, and that nothing is lost.
#![forbid(unsafe_code)]

use nix::sys::signal::Signal;
use tradewind_tests::deployment::{Deployment, Standalone};
use tradewind_tests::patience::eventually;
use tradewind_tests::program::workspace;
use tradewind_tests::rest::Rest;
use tradewind_tests::sqs::{FaultProxy, Faults, Sqs};

const DAG_ID: &str = "light";

#[tokio::test]
async fn a_queue_that_is_missing_or_refused_is_named_and_costs_no_task() {
    let sqs = Sqs::start();
    let proxy = FaultProxy::start(sqs.url(), 0, Faults::default()).await;
    let deployment = deployment(&proxy).await;
    let standalone = deployment.start().await;
    let rest = standalone.log_in().await;
    rest.unpause(DAG_ID).await;

    rest.trigger(DAG_ID, "no_queue").await;
    for component in ["scheduler", "worker"] {
        said(&standalone, component, r#"sqs:GetQueueUrl on queue "airflow-celery-default""#).await;
        said(&standalone, component, "set [tradewind] sqs_create_queues to True").await;
    }
    sqs.create("default").await;
    succeeds(&rest, "no_queue").await;

    proxy.change(denying("SendMessageBatch"));
    rest.trigger(DAG_ID, "may_not_send").await;
    said(&standalone, "scheduler", "Access to the resource is denied. (AccessDeniedException)").await;
    said(&standalone, "scheduler", "allow sqs:SendMessage on the queue").await;
    proxy.change(Faults::default());
    succeeds(&rest, "may_not_send").await;

    proxy.change(denying("ReceiveMessage"));
    rest.trigger(DAG_ID, "may_not_receive").await;
    said(&standalone, "worker", "allow sqs:ReceiveMessage on the queue").await;
    proxy.change(Faults::default());
    succeeds(&rest, "may_not_receive").await;

    sqs.remove("default").await;
    rest.trigger(DAG_ID, "vanished").await;
    said(&standalone, "scheduler", r#"on queue "default": "#).await;
    sqs.create("default").await;
    succeeds(&rest, "vanished").await;
    standalone.end(Signal::SIGTERM);
}

#[tokio::test]
async fn lost_messages_come_again_and_unreadable_ones_are_put_aside() {
    let sqs = Sqs::start();
    let proxy = FaultProxy::start(sqs.url(), 0, Faults::default()).await;
    let deployment = deployment(&proxy)
        .await
        .with("AIRFLOW__TRADEWIND__SQS_CREATE_QUEUES", "True")
        .with("AIRFLOW__TRADEWIND__SQS_VISIBILITY_TIMEOUT", "1")
        .with("AIRFLOW__TRADEWIND__SQS_REPUBLISH_AFTER", "3");
    let standalone = deployment.start().await;
    let rest = standalone.log_in().await;
    rest.unpause(DAG_ID).await;
    rest.trigger(DAG_ID, "first").await;
    succeeds(&rest, "first").await;

    sqs.send("default", "no message of ours").await;
    sqs.send("default", r#"{"version": 2, "of": "the future"}"#).await;
    rest.trigger(DAG_ID, "beside_unreadable_ones").await;
    succeeds(&rest, "beside_unreadable_ones").await;
    said(&standalone, "worker", "it has version 2, and this worker knows version 1 only").await;
    eventually("both among the dead letters", async || {
        (sqs.messages("default-dead-letter").await == Some(2)).then_some(())
    })
    .await;

    // Nobody receives while the message gets lost, but for a worker that has begun to wait for one before.
    proxy.change(denying("ReceiveMessage"));
    said(&standalone, "worker", "allow sqs:ReceiveMessage").await;
    rest.trigger(DAG_ID, "lost").await;
    eventually("the message", async || (sqs.messages("default").await? > 0).then_some(())).await;
    sqs.purge("default").await;
    proxy.change(Faults::default());
    succeeds(&rest, "lost").await;
    said(&standalone, "scheduler", "messages that nobody claimed in time were published again").await;
    standalone.end(Signal::SIGTERM);
}

async fn deployment(proxy: &FaultProxy) -> Deployment {
    Deployment::new(&[workspace().join("tests/sqs/dags")])
        .await
        .with_sqs(proxy.url())
        .with("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
        .with("AIRFLOW__TRADEWIND__SCHEDULER_POLL_INTERVAL", "1")
}

fn denying(action: &'static str) -> Faults {
    Faults { denied: vec![action], ..Faults::default() }
}

async fn succeeds(rest: &Rest, run_id: &str) {
    assert_eq!(rest.final_state(DAG_ID, run_id).await, "success", "{run_id}");
}

/// Waits until a component says something.
async fn said(standalone: &Standalone, component: &str, text: &str) {
    eventually(&format!("{component} says {text:?}"), async || standalone.log(component).contains(text).then_some(()))
        .await;
}
