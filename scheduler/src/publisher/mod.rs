//! Hands the outbox's messages to a broker, and again while nobody claims them.
//!
//! The row in the outbox stays until a worker claims it: whatever a broker loses is published anew. Whatever it repeats, or
//! two publishers send, is claimed once.

mod gauges;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::{BoxFuture, join_all};
use futures::{FutureExt, StreamExt, stream};
use metrics::counter;
use sqlx::postgres::PgListener;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tradewind_broker::{BATCH, BackOff, Broker, BrokerError, Message};
use tradewind_metadata::publication::{self, Due};
use tradewind_metadata::{Database, Result, notify};
use uuid::Uuid;

/// Messages taken at once.
const PAGE: i64 = 200;

/// For how long they are this publisher's: longer than publishing them takes, unless it dies.
const LEASE: Duration = Duration::from_secs(60);

/// Requests to one queue under way at once.
const REQUESTS: usize = 4;

/// How long to wait after the database failed.
const PAUSE: Duration = Duration::from_secs(1);

/// Publishes messages; any number may do so on one database.
#[derive(Debug)]
pub struct Publisher {
    database: Database,
    broker: Arc<dyn Broker>,
    republish_after: Duration,
    poll_interval: Duration,
    /// Queues that the broker refused at the last try.
    failing: Mutex<HashMap<String, Failing>>,
}

#[derive(Debug, Default)]
struct Failing {
    back_off: BackOff,
    /// Before that, nothing is tried.
    until: Option<Instant>,
}

/// What came of the messages of one queue.
#[derive(Debug, Default)]
struct Outcome {
    published: Vec<Uuid>,
    refused: Vec<Uuid>,
    /// Until the refused ones are due again.
    pause: Duration,
}

impl Publisher {
    /// A publisher that looks at the outbox when it is told to, and at this interval; what is not claimed within
    /// `republish_after` is published again.
    #[must_use]
    pub fn new(
        database: Database,
        broker: Arc<dyn Broker>,
        republish_after: Duration,
        poll_interval: Duration,
    ) -> Self {
        Self { database, broker, republish_after, poll_interval, failing: Mutex::default() }
    }

    /// Publishes until the shutdown.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let publishing = async {
            loop {
                // The listener opens its connection anew when that breaks.
                match notify::listen(self.database.pool(), &[notify::QUEUE]).await {
                    Ok(listener) => break self.publish_when_told(listener).await,
                    Err(error) => tracing::warn!(%error, "the outbox cannot be listened to; it will be tried again"),
                }
                sleep(PAUSE).await;
            }
        };
        let counting = gauges::count(&self.database, self.broker.as_ref());
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = publishing => {}
            () = counting => {}
        }
    }

    async fn publish_when_told(&self, mut listener: PgListener) {
        let mut adopted_at: Option<Instant> = None;
        loop {
            let adopts = adopted_at.is_none_or(|at| at.elapsed() >= self.poll_interval);
            if adopts {
                adopted_at = Some(Instant::now());
            }
            let pause = self.publish_due(adopts).await.unwrap_or_else(|error| {
                tracing::warn!(%error, "messages cannot be published now; it will be tried again");
                PAUSE
            });
            tokio::select! {
                heard = listener.recv() => {
                    if let Err(error) = heard {
                        tracing::warn!(%error, "the connection that listens to the outbox broke and is opened again");
                        sleep(PAUSE).await;
                    }
                    while listener.next_buffered().is_some() {}
                }
                () = sleep(pause) => {}
            }
        }
    }

    /// Publishes all that is due, first making due what is not meant for a broker, if asked. Returns when to look again.
    ///
    /// # Errors
    /// When the database fails. What the broker refuses is due again after a while.
    pub async fn publish_due(&self, adopts: bool) -> Result<Duration> {
        let pool = self.database.pool();
        if adopts {
            publication::adopt(pool).await?;
        }
        loop {
            let due = publication::take_due(pool, PAGE, LEASE).await?;
            if due.is_empty() {
                let next = publication::time_to_next(pool).await?;
                return Ok(next.unwrap_or(self.poll_interval).min(self.poll_interval));
            }
            let mut by_queue: BTreeMap<&str, Vec<&Due>> = BTreeMap::new();
            due.iter().for_each(|message| by_queue.entry(&message.queue).or_default().push(message));
            let work: Vec<BoxFuture<'_, Outcome>> =
                by_queue.iter().map(|(queue, due)| self.publish(queue, due).boxed()).collect();
            let outcomes = join_all(work).await;
            let published: Vec<Uuid> = outcomes.iter().flat_map(|outcome| outcome.published.iter().copied()).collect();
            publication::mark_published(pool, &published, self.republish_after).await?;
            for Outcome { refused, pause, .. } in outcomes.iter().filter(|outcome| !outcome.refused.is_empty()) {
                publication::postpone(pool, refused, *pause).await?;
            }
        }
    }

    /// Publishes the messages of one queue, unless it was refused a moment ago.
    async fn publish(&self, queue: &str, due: &[&Due]) -> Outcome {
        let ids = |messages: &[&Due]| messages.iter().map(|message| message.ti_id).collect::<Vec<_>>();
        if let Some(pause) = self.rest_of_pause(queue) {
            return Outcome { refused: ids(due), pause, ..Outcome::default() };
        }
        let requests: Vec<BoxFuture<'_, _>> = due.chunks(BATCH).map(|batch| self.send(queue, batch).boxed()).collect();
        let answers: Vec<_> = stream::iter(requests).buffered(REQUESTS).collect().await;
        let mut outcome = Outcome::default();
        let mut failure = None;
        for (batch, answer) in due.chunks(BATCH).zip(answers) {
            match answer {
                Ok(taken) => {
                    for (message, is_taken) in batch.iter().zip(taken) {
                        let part = if is_taken { &mut outcome.published } else { &mut outcome.refused };
                        part.push(message.ti_id);
                    }
                }
                Err(error) => {
                    outcome.refused.extend(ids(batch));
                    failure = Some(error);
                }
            }
        }
        outcome.pause = self.take_note(queue, failure.as_ref(), !outcome.refused.is_empty());
        let again = due.iter().filter(|message| message.publications > 0 && outcome.published.contains(&message.ti_id));
        let again = again.count() as u64;
        counter!("mwaa.celery.task_queued").increment(outcome.published.len() as u64 - again);
        if again > 0 {
            counter!("tradewind.queue.republished", "queue" => queue.to_owned()).increment(again);
            tracing::info!(queue, count = again, "messages that nobody claimed in time were published again");
        }
        outcome
    }

    async fn send(&self, queue: &str, batch: &[&Due]) -> Result<Vec<bool>, BrokerError> {
        let bodies = batch.iter().map(|message| Message { ti_id: message.ti_id }.write());
        let bodies: Vec<String> = bodies.collect::<Result<_, _>>().map_err(|error| BrokerError::unwritable(&error))?;
        self.broker.send(queue, &bodies).await
    }

    /// What is left of the pause after a failure.
    fn rest_of_pause(&self, queue: &str) -> Option<Duration> {
        let failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        let rest = failing.get(queue)?.until?.saturating_duration_since(Instant::now());
        (!rest.is_zero()).then_some(rest)
    }

    /// Says how the broker took the messages of a queue, and returns how long to wait where it did not.
    fn take_note(&self, queue: &str, failure: Option<&BrokerError>, some_refused: bool) -> Duration {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        if !some_refused {
            if failing.remove(queue).is_some() {
                tracing::info!(queue, "the broker takes messages again");
            }
            return Duration::ZERO;
        }
        let state = failing.entry(queue.to_owned()).or_default();
        let pause = state.back_off.failed();
        state.until = Some(Instant::now() + pause);
        match failure {
            Some(error) => {
                tracing::warn!(queue, %error, retry_in = ?pause, "messages cannot be published; they wait in the outbox");
            }
            None => {
                tracing::warn!(queue, retry_in = ?pause, "the broker refused some messages; they wait in the outbox")
            }
        }
        let kind = failure.map_or("partial", |error| error.kind.as_str());
        counter!("tradewind.queue.failures", "queue" => queue.to_owned(), "kind" => kind).increment(1);
        pause
    }
}
