//! Amazon SQS as the broker between scheduler and workers.

mod error;
mod name;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::timeout::TimeoutConfig;
use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, QueueAttributeName,
    SendMessageBatchRequestEntry,
};
use futures::FutureExt;
use futures::future::BoxFuture;
use tradewind_broker::{Broker, BrokerError, Depth, Kind, Received, Result};

use crate::Account;
use error::{Asked, malformed};

/// How long a request may take; receiving may take its waiting time more.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How long messages are kept in queues that we make: as long as SQS allows, since a task may wait for its worker for days.
const RETENTION: Duration = Duration::from_secs(14 * 24 * 3_600);

/// How often a message may be received before it goes to the dead-letter queue of a queue that we make. Messages that a worker
/// gives back count too, which is why it is not less.
const MAX_RECEIVE_COUNT: u32 = 10;

/// The longest time for which SQS hides a message.
const LONGEST_VISIBILITY: Duration = Duration::from_secs(12 * 3_600);

/// Which SQS queue stands for which queue of Airflow.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Queues {
    /// What the names of SQS queues begin with; the name of Airflow's queue follows.
    pub prefix: String,
    /// Addresses of queues that are not named so.
    pub urls: HashMap<String, String>,
    /// Whether queues that are missing are made, each with a dead-letter queue.
    pub create: bool,
}

/// Amazon SQS.
#[derive(Debug)]
pub struct Sqs {
    client: Client,
    queues: Queues,
    /// Addresses that SQS has told.
    known: Mutex<HashMap<String, String>>,
}

impl Sqs {
    /// SQS in this account. Nothing is asked of it yet.
    #[must_use]
    pub fn new(account: &Account, queues: Queues) -> Self {
        let timeouts = TimeoutConfig::builder().operation_attempt_timeout(TIMEOUT).build();
        let config = aws_sdk_sqs::config::Builder::from(account.config()).timeout_config(timeouts).build();
        Self { client: Client::from_conf(config), queues, known: Mutex::default() }
    }

    /// The address of a queue: as configured, or as SQS tells for its name.
    async fn url(&self, queue: &str) -> Result<String> {
        if let Some(url) = self.queues.urls.get(queue) {
            return Ok(url.clone());
        }
        if let Some(url) = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(queue) {
            return Ok(url.clone());
        }
        let name = name::of(&self.queues.prefix, queue);
        let url = match self.look_up(&name).await {
            Err(error) if error.kind == Kind::NoQueue && self.queues.create => self.create(&name).await?,
            outcome => outcome?,
        };
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(queue.to_owned(), url.clone());
        Ok(url)
    }

    async fn look_up(&self, name: &str) -> Result<String> {
        let asked = Asked { action: "sqs:GetQueueUrl", queue: name, configured: false };
        let answer = self.client.get_queue_url().queue_name(name).send().await.map_err(|error| asked.failed(&error))?;
        answer.queue_url.ok_or_else(|| asked.unexpected("the answer has no address"))
    }

    /// Makes a queue and its dead-letter queue. Making one that exists with the same attributes is no error.
    async fn create(&self, name: &str) -> Result<String> {
        let asked = Asked { action: "sqs:CreateQueue", queue: name, configured: false };
        let retention = RETENTION.as_secs().to_string();
        let dead_letters = name::of_dead_letters(name);
        let made = self.client.create_queue().queue_name(&dead_letters);
        let made = made.attributes(QueueAttributeName::MessageRetentionPeriod, &retention).send().await;
        let made = made.map_err(|error| asked.failed(&error))?;
        let dead_letters = made.queue_url.ok_or_else(|| asked.unexpected("the answer has no address"))?;
        let arn = self.attribute(name, &dead_letters, QueueAttributeName::QueueArn).await?;
        let redrive = serde_json::json!({ "deadLetterTargetArn": arn, "maxReceiveCount": MAX_RECEIVE_COUNT });
        let made = self
            .client
            .create_queue()
            .queue_name(name)
            .attributes(QueueAttributeName::MessageRetentionPeriod, retention)
            .attributes(QueueAttributeName::RedrivePolicy, redrive.to_string())
            .send()
            .await
            .map_err(|error| asked.failed(&error))?;
        made.queue_url.ok_or_else(|| asked.unexpected("the answer has no address"))
    }

    async fn attribute(&self, name: &str, url: &str, attribute: QueueAttributeName) -> Result<String> {
        let asked = Asked { action: "sqs:GetQueueAttributes", queue: name, configured: false };
        let answer = self.client.get_queue_attributes().queue_url(url).attribute_names(attribute.clone()).send().await;
        let attributes = answer.map_err(|error| asked.failed(&error))?.attributes.unwrap_or_default();
        attributes.get(&attribute).cloned().ok_or_else(|| asked.unexpected("the answer lacks the attribute"))
    }

    /// What is asked, for messages about failures.
    fn asked<'a>(&self, action: &'static str, queue: &'a str) -> Asked<'a> {
        Asked { action, queue, configured: self.queues.urls.contains_key(queue) }
    }

    /// Forgets the address of a queue that is gone: another one of its name has another address, or will be made.
    fn heed<T>(&self, queue: &str, outcome: Result<T>) -> Result<T> {
        if matches!(&outcome, Err(BrokerError { kind: Kind::NoQueue, .. })) {
            self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(queue);
        }
        outcome
    }

    async fn try_send(&self, queue: &str, bodies: &[String]) -> Result<Vec<bool>> {
        let url = self.url(queue).await?;
        let asked = self.asked("sqs:SendMessage", queue);
        let entries = bodies.iter().enumerate().map(|(place, body)| {
            SendMessageBatchRequestEntry::builder().id(place.to_string()).message_body(body).build()
        });
        let entries = entries.collect::<std::result::Result<Vec<_>, _>>().map_err(|error| malformed(asked, &error))?;
        let request = self.client.send_message_batch().queue_url(url).set_entries(Some(entries));
        let answer = request.send().await.map_err(|error| asked.failed(&error))?;
        if let Some(failed) = answer.failed().first().filter(|_| answer.successful().is_empty()) {
            return Err(asked.refused(failed.code(), failed.message().unwrap_or_default()));
        }
        let mut taken = vec![false; bodies.len()];
        for place in answer.successful().iter().filter_map(|entry| entry.id().parse::<usize>().ok()) {
            if let Some(taken) = taken.get_mut(place) {
                *taken = true;
            }
        }
        Ok(taken)
    }

    async fn try_receive(
        &self,
        queue: &str,
        limit: usize,
        wait: Duration,
        visibility: Duration,
    ) -> Result<Vec<Received>> {
        let url = self.url(queue).await?;
        let patience = TimeoutConfig::builder().operation_attempt_timeout(wait + TIMEOUT).build();
        let answer = self
            .client
            .receive_message()
            .queue_url(url)
            .max_number_of_messages(i32::try_from(limit).unwrap_or(i32::MAX))
            .wait_time_seconds(whole_seconds(wait))
            .visibility_timeout(whole_seconds(visibility))
            .customize()
            .config_override(aws_sdk_sqs::config::Builder::new().timeout_config(patience))
            .send()
            .await
            .map_err(|error| self.asked("sqs:ReceiveMessage", queue).failed(&error))?;
        let messages = answer.messages.unwrap_or_default().into_iter();
        Ok(messages
            .filter_map(|message| Some(Received { body: message.body?, receipt: message.receipt_handle? }))
            .collect())
    }

    async fn try_delete(&self, queue: &str, receipts: &[String]) -> Result<()> {
        let url = self.url(queue).await?;
        let asked = self.asked("sqs:DeleteMessage", queue);
        let entries = receipts.iter().enumerate().map(|(place, receipt)| {
            DeleteMessageBatchRequestEntry::builder().id(place.to_string()).receipt_handle(receipt).build()
        });
        let entries = entries.collect::<std::result::Result<Vec<_>, _>>().map_err(|error| malformed(asked, &error))?;
        let request = self.client.delete_message_batch().queue_url(url).set_entries(Some(entries));
        let answer = request.send().await.map_err(|error| asked.failed(&error))?;
        match answer.failed().first() {
            Some(failed) => Err(asked.refused(failed.code(), failed.message().unwrap_or_default())),
            None => Ok(()),
        }
    }

    async fn try_set_visibility(&self, queue: &str, receipts: &[String], visibility: Duration) -> Result<()> {
        let url = self.url(queue).await?;
        let asked = self.asked("sqs:ChangeMessageVisibility", queue);
        let entries = receipts.iter().enumerate().map(|(place, receipt)| {
            ChangeMessageVisibilityBatchRequestEntry::builder()
                .id(place.to_string())
                .receipt_handle(receipt)
                .visibility_timeout(whole_seconds(visibility))
                .build()
        });
        let entries = entries.collect::<std::result::Result<Vec<_>, _>>().map_err(|error| malformed(asked, &error))?;
        let request = self.client.change_message_visibility_batch().queue_url(url).set_entries(Some(entries));
        // Messages whose time is over meanwhile, and which others may have, are among the failed ones: nothing is to be done.
        request.send().await.map(|_| ()).map_err(|error| asked.failed(&error))
    }

    async fn try_depth(&self, queue: &str) -> Result<Depth> {
        let url = self.url(queue).await?;
        let attributes = [
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesDelayed,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
        ];
        let request = self.client.get_queue_attributes().queue_url(url).set_attribute_names(Some(attributes.to_vec()));
        let answer = request.send().await;
        let answer = answer.map_err(|error| self.asked("sqs:GetQueueAttributes", queue).failed(&error))?;
        let numbers = answer.attributes.unwrap_or_default();
        let number = |attribute| numbers.get(attribute).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        let [visible, delayed, hidden] = &attributes;
        Ok(Depth { waiting: number(visible) + number(delayed), in_flight: number(hidden) })
    }
}

impl Broker for Sqs {
    fn send<'a>(&'a self, queue: &'a str, bodies: &'a [String]) -> BoxFuture<'a, Result<Vec<bool>>> {
        async move { self.heed(queue, self.try_send(queue, bodies).await) }.boxed()
    }

    fn receive<'a>(
        &'a self,
        queue: &'a str,
        limit: usize,
        wait: Duration,
        visibility: Duration,
    ) -> BoxFuture<'a, Result<Vec<Received>>> {
        async move { self.heed(queue, self.try_receive(queue, limit, wait, visibility).await) }.boxed()
    }

    fn delete<'a>(&'a self, queue: &'a str, receipts: &'a [String]) -> BoxFuture<'a, Result<()>> {
        async move { self.heed(queue, self.try_delete(queue, receipts).await) }.boxed()
    }

    fn set_visibility<'a>(
        &'a self,
        queue: &'a str,
        receipts: &'a [String],
        visibility: Duration,
    ) -> BoxFuture<'a, Result<()>> {
        async move { self.heed(queue, self.try_set_visibility(queue, receipts, visibility).await) }.boxed()
    }

    fn depth<'a>(&'a self, queue: &'a str) -> BoxFuture<'a, Result<Depth>> {
        async move { self.heed(queue, self.try_depth(queue).await) }.boxed()
    }
}

/// SQS counts in whole seconds; less than one is one, unless it is nothing.
fn whole_seconds(time: Duration) -> i32 {
    i32::try_from(time.min(LONGEST_VISIBILITY).as_secs_f64().ceil() as i64).unwrap_or(i32::MAX)
}
