//! Takes task instances of which a broker tells.
//!
//! For each queue somebody waits for messages while slots are free. A message only names a task instance: the claim in the
//! database decides whether there is something to do. When the claim has been committed the message is deleted, and so is one
//! whose task instance waits no longer: it was claimed through another copy, or is no longer to run.

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use metrics::counter;
use sqlx::Connection;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tradewind_broker::{BATCH, BackOff, Broker, Message, Received};
use tradewind_metadata::queue::{Claim, Claimant, claim_named};
use tradewind_metadata::{Database, Result};
use uuid::Uuid;

/// How long a request waits for a message: as long as SQS lets it.
const WAIT: Duration = Duration::from_secs(20);

/// How long the end waits for messages to be deleted and given back.
const CLOSING: Duration = Duration::from_secs(3);

/// Receipts that wait to be deleted.
const DELETIONS: usize = 1_024;

/// Tries to delete a message before it is left to come back, which does no harm.
const DELETE_TRIES: usize = 4;

/// A broker's queues, listened to.
pub(crate) struct Reception {
    desk: Desk,
    arrivals: mpsc::Receiver<Arrival>,
    arrived: Option<Arrival>,
    /// Slots that are free, for those who wait for messages.
    free: watch::Sender<usize>,
    stop: CancellationToken,
    deletions: mpsc::Sender<(String, String)>,
    helpers: JoinSet<()>,
}

/// Messages that have come.
struct Arrival {
    queue: String,
    messages: Vec<Received>,
    /// Told whether the messages could be handled.
    handled: oneshot::Sender<bool>,
}

/// A message of ours.
struct Named {
    ti_id: Uuid,
    receipt: String,
}

impl Reception {
    pub(super) fn open(
        broker: Arc<dyn Broker>,
        visibility: Duration,
        database: Database,
        queues: &[String],
        claimant: Claimant,
    ) -> Self {
        let (free, _) = watch::channel(0);
        let (announce, arrivals) = mpsc::channel(queues.len().max(1));
        let (deletions, to_delete) = mpsc::channel(DELETIONS);
        let stop = CancellationToken::new();
        let mut helpers = JoinSet::new();
        for queue in queues {
            let waiting = Waiting {
                broker: Arc::clone(&broker),
                queue: queue.clone(),
                visibility,
                free: free.subscribe(),
                arrivals: announce.clone(),
            };
            let stop = stop.clone();
            helpers.spawn(async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = waiting.run() => {}
                }
            });
        }
        helpers.spawn(delete(Arc::clone(&broker), to_delete));
        let desk = Desk { broker, visibility, database, claimant };
        Self { desk, arrivals, arrived: None, free, stop, deletions, helpers }
    }

    /// Waits for messages; the slots that are free are offered meanwhile.
    pub(super) async fn news(&mut self, free: usize) {
        self.free.send_if_modified(|known| std::mem::replace(known, free) != free);
        if self.arrived.is_none() {
            self.arrived = self.arrivals.recv().await;
        }
    }

    /// Claims what has come, as far as there are slots; gives back the rest.
    pub(super) async fn take(&mut self, free: usize) -> Vec<Claim> {
        let mut claims = Vec::new();
        while let Some(arrival) = self.arrived.take().or_else(|| self.arrivals.try_recv().ok()) {
            let room = free.saturating_sub(claims.len());
            let Arrival { queue, messages, handled } = arrival;
            let taken = self.take_of(&queue, messages, room).await;
            let is_well = taken.is_some();
            claims.extend(taken.unwrap_or_default());
            // Who waits for messages looks at the slots next.
            self.free.send_replace(free.saturating_sub(claims.len()));
            // Nobody waits for the answer any more at the end.
            let _ = handled.send(is_well);
        }
        claims
    }

    /// Claims what the messages of a queue name. `None` when the database is away.
    async fn take_of(&self, queue: &str, messages: Vec<Received>, room: usize) -> Option<Vec<Claim>> {
        let mut named = Vec::with_capacity(messages.len());
        for message in messages {
            match Message::read(&message.body) {
                Ok(Message { ti_id }) => named.push(Named { ti_id, receipt: message.receipt }),
                Err(error) => {
                    counter!("tradewind.queue.unreadable", "queue" => queue.to_owned()).increment(1);
                    tracing::warn!(queue, %error, "a message cannot be read; it is left to the dead-letter queue");
                }
            }
        }
        let too_many = named.split_off(room.min(named.len()));
        self.desk.give_back(queue, too_many).await;
        if named.is_empty() {
            return Some(Vec::new());
        }
        match self.desk.claim(queue, &named).await {
            Ok(claims) => {
                let late = named.iter().filter(|named| claims.iter().all(|claim| claim.id != named.ti_id)).count();
                counter!("tradewind.queue.late_messages", "queue" => queue.to_owned()).increment(late as u64);
                for Named { receipt, .. } in named {
                    // It is closed only after this.
                    let _ = self.deletions.send((queue.to_owned(), receipt)).await;
                }
                Some(claims)
            }
            Err(error) => {
                tracing::warn!(queue, %error, "nothing can be claimed now; the messages go back");
                self.desk.give_back(queue, named).await;
                None
            }
        }
    }

    /// Stops waiting for messages, gives back those that have come, and deletes what is to be deleted.
    pub(super) async fn close(mut self) {
        self.stop.cancel();
        self.arrivals.close();
        while let Some(arrival) = self.arrived.take().or_else(|| self.arrivals.try_recv().ok()) {
            let messages = arrival.messages.into_iter();
            let named = messages.map(|message| Named { ti_id: Uuid::nil(), receipt: message.receipt }).collect();
            self.desk.give_back(&arrival.queue, named).await;
        }
        drop(self.deletions);
        let mut helpers = self.helpers;
        if timeout(CLOSING, async { while helpers.join_next().await.is_some() {} }).await.is_err() {
            tracing::warn!("the broker does not answer; messages that are done with will come back, and do no harm");
        }
    }
}

/// Where messages are turned into claims.
struct Desk {
    broker: Arc<dyn Broker>,
    visibility: Duration,
    database: Database,
    claimant: Claimant,
}

impl Desk {
    /// Claims the task instances, and keeps their messages from others for as long as that takes.
    async fn claim(&self, queue: &str, named: &[Named]) -> Result<Vec<Claim>> {
        let receipts: Vec<String> = named.iter().map(|named| named.receipt.clone()).collect();
        let prolong = async {
            loop {
                sleep(self.visibility / 2).await;
                if let Err(error) = self.broker.set_visibility(queue, &receipts, self.visibility).await {
                    tracing::warn!(queue, %error, "messages may go to another worker too, which does no harm");
                }
            }
        };
        tokio::select! {
            claims = self.try_claim(named) => claims,
            () = prolong => unreachable!("it goes on until it is dropped"),
        }
    }

    async fn try_claim(&self, named: &[Named]) -> Result<Vec<Claim>> {
        let mut ids: Vec<Uuid> = named.iter().map(|named| named.ti_id).collect();
        ids.sort_unstable();
        ids.dedup();
        let mut connection = self.database.pool().acquire().await?;
        let mut transaction = connection.begin().await?;
        let claims = claim_named(&mut transaction, &ids, &self.claimant, Utc::now()).await?;
        transaction.commit().await?;
        Ok(claims)
    }

    /// Lets others have messages at once. Where the broker does not answer they come back by themselves.
    async fn give_back(&self, queue: &str, named: Vec<Named>) {
        if named.is_empty() {
            return;
        }
        counter!("mwaa.celery.task_returned").increment(named.len() as u64);
        let receipts: Vec<String> = named.into_iter().map(|named| named.receipt).collect();
        if let Err(error) = self.broker.set_visibility(queue, &receipts, Duration::ZERO).await {
            tracing::warn!(queue, %error, "messages could not be given back; they come back by themselves");
        }
    }
}

/// Who waits for the messages of a queue.
struct Waiting {
    broker: Arc<dyn Broker>,
    queue: String,
    visibility: Duration,
    free: watch::Receiver<usize>,
    arrivals: mpsc::Sender<Arrival>,
}

impl Waiting {
    /// Waits for messages while slots are free, until nobody wants them any more.
    async fn run(mut self) {
        let mut back_off = BackOff::default();
        loop {
            let Ok(free) = self.free.wait_for(|free| *free > 0).await.map(|free| *free) else { return };
            counter!("mwaa.celery.heartbeat").increment(1);
            let limit = free.min(BATCH);
            let pause = match self.broker.receive(&self.queue, limit, WAIT, self.visibility).await {
                Ok(messages) => {
                    counter!("mwaa.celery.task_pulled").increment(messages.len() as u64);
                    match self.announce(messages).await {
                        Some(true) => {
                            if back_off.succeeded() {
                                tracing::info!(queue = self.queue, "messages are received again");
                            }
                            continue;
                        }
                        Some(false) => back_off.failed(),
                        None => return,
                    }
                }
                Err(error) => {
                    let pause = back_off.failed();
                    let (queue, kind) = (self.queue.clone(), error.kind.as_str());
                    counter!("tradewind.queue.failures", "queue" => queue, "kind" => kind).increment(1);
                    tracing::warn!(queue = self.queue, %error, retry_in = ?pause, "messages cannot be received");
                    pause
                }
            };
            sleep(pause).await;
        }
    }

    /// Hands messages over, and waits until they are claimed or given back. `None` when nobody wants them any more.
    async fn announce(&self, messages: Vec<Received>) -> Option<bool> {
        if messages.is_empty() {
            return Some(true);
        }
        let (handled, outcome) = oneshot::channel();
        self.arrivals.send(Arrival { queue: self.queue.clone(), messages, handled }).await.ok()?;
        outcome.await.ok()
    }
}

/// Deletes messages, as many at once as there are.
async fn delete(broker: Arc<dyn Broker>, mut receipts: mpsc::Receiver<(String, String)>) {
    let mut batch = Vec::with_capacity(BATCH);
    while receipts.recv_many(&mut batch, BATCH).await > 0 {
        batch.sort_unstable();
        while let Some((queue, _)) = batch.last().cloned() {
            let first = batch.partition_point(|(of, _)| *of < queue);
            let of_queue: Vec<String> = batch.drain(first..).map(|(_, receipt)| receipt).collect();
            delete_of(broker.as_ref(), &queue, &of_queue).await;
        }
    }
}

async fn delete_of(broker: &dyn Broker, queue: &str, receipts: &[String]) {
    let mut back_off = BackOff::default();
    for _ in 1..DELETE_TRIES {
        match broker.delete(queue, receipts).await {
            Ok(()) => {
                counter!("mwaa.celery.task_executed").increment(receipts.len() as u64);
                return;
            }
            Err(error) => tracing::debug!(queue, %error, "messages will be deleted again"),
        }
        sleep(back_off.failed()).await;
    }
    match broker.delete(queue, receipts).await {
        Ok(()) => counter!("mwaa.celery.task_executed").increment(receipts.len() as u64),
        Err(error) => {
            tracing::warn!(queue, %error, "messages could not be deleted; they come back, and do no harm");
        }
    }
}
