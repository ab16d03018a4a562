//! Publishers on a real database, before a broker that takes down what it is sent.
#![forbid(unsafe_code)]
#![expect(clippy::expect_used, reason = "a test ends where its set-up fails")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use sqlx::query_scalar;
use tokio::time::sleep;
use tradewind_broker::{BATCH, Broker, BrokerError, Depth, Kind, Message, Received, Result};
use tradewind_metadata::queue::{self, Carrier};
use tradewind_metadata::testing::TestDatabase;
use tradewind_scheduler::Publisher;
use uuid::Uuid;

const LONG: Duration = Duration::from_secs(3_600);

#[tokio::test]
async fn two_publishers_publish_everything_once_and_the_most_urgent_first() {
    let database = TestDatabase::migrated().await;
    let broker = Arc::new(Notebook::default());
    let ids = queue_messages(&database, 1_000, Carrier::Broker).await;
    let publishers = [(); 2].map(|()| publisher(&database, &broker, LONG));
    let [one, other] = &publishers;
    let (one, other) = tokio::join!(one.publish_due(false), other.publish_due(false));
    one.and(other).expect("all is published");
    let sent = broker.sent();
    let mut once: Vec<Uuid> = sent.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!((sent.len(), once.len()), (ids.len(), ids.len()));
    assert!(ids[..100].iter().all(|id| sent[..600].contains(id)), "the most urgent are among the first");
}

#[tokio::test]
async fn what_nobody_claims_is_published_again_after_ever_longer_times() {
    let database = TestDatabase::migrated().await;
    let broker = Arc::new(Notebook::default());
    let ids = queue_messages(&database, 2, Carrier::Broker).await;
    let publisher = publisher(&database, &broker, Duration::from_millis(600));
    for (pause, expected) in [(0, 2), (100, 2), (700, 4), (500, 4), (900, 6)] {
        sleep(Duration::from_millis(pause)).await;
        publisher.publish_due(false).await.expect("all is published");
        assert_eq!(broker.sent().len(), expected);
    }
    let mut connection = database.pool().acquire().await.expect("a connection");
    queue::revoke(&mut connection, &ids).await.expect("as a claim does it");
    sleep(Duration::from_millis(3_000)).await;
    publisher.publish_due(false).await.expect("all is published");
    assert_eq!(broker.sent().len(), 6, "what was claimed is not published again");
}

#[tokio::test]
async fn what_the_broker_refuses_waits_in_the_outbox() {
    let database = TestDatabase::migrated().await;
    let broker = Arc::new(Notebook::default());
    broker.refuses.store(true, Ordering::SeqCst);
    let ids = queue_messages(&database, 25, Carrier::Broker).await;
    let publisher = publisher(&database, &broker, LONG);
    publisher.publish_due(false).await.expect("the broker's refusal is no failure of the database");
    let waiting: i64 =
        query_scalar("SELECT count(*) FROM tradewind.outbox WHERE publications = 0 AND publish_at > now()")
            .fetch_one(database.pool())
            .await
            .expect("a count");
    assert_eq!((broker.sent().len(), waiting), (0, 25));
    broker.refuses.store(false, Ordering::SeqCst);
    sleep(Duration::from_millis(1_000)).await;
    publisher.publish_due(false).await.expect("all is published");
    assert_eq!(broker.sent().len(), ids.len());
}

#[tokio::test]
async fn messages_that_were_meant_for_workers_are_adopted() {
    let database = TestDatabase::migrated().await;
    let broker = Arc::new(Notebook::default());
    queue_messages(&database, 3, Carrier::Outbox).await;
    let publisher = publisher(&database, &broker, LONG);
    publisher.publish_due(false).await.expect("nothing is due");
    assert_eq!(broker.sent().len(), 0);
    publisher.publish_due(true).await.expect("all is published");
    assert_eq!(broker.sent().len(), 3);
}

fn publisher(database: &TestDatabase, broker: &Arc<Notebook>, republish_after: Duration) -> Publisher {
    let broker: Arc<dyn Broker> = Arc::<Notebook>::clone(broker);
    Publisher::new(database.database().clone(), broker, republish_after, LONG)
}

/// Queues messages, each less urgent than the one before.
async fn queue_messages(database: &TestDatabase, count: i32, carrier: Carrier) -> Vec<Uuid> {
    let message = |place: i32| queue::Message {
        ti_id: Uuid::now_v7(),
        queue: "default".to_owned(),
        priority_weight: count - place,
    };
    let messages: Vec<queue::Message> = (0..count).map(message).collect();
    let mut connection = database.pool().acquire().await.expect("a connection");
    queue::send(&mut connection, &messages, carrier).await.expect("messages");
    messages.into_iter().map(|message| message.ti_id).collect()
}

/// A broker that takes down what it is sent.
#[derive(Debug, Default)]
struct Notebook {
    sent: Mutex<Vec<Uuid>>,
    refuses: AtomicBool,
}

impl Notebook {
    fn sent(&self) -> Vec<Uuid> {
        self.sent.lock().expect("no panic").clone()
    }
}

impl Broker for Notebook {
    fn send<'a>(&'a self, queue: &'a str, bodies: &'a [String]) -> BoxFuture<'a, Result<Vec<bool>>> {
        async move {
            assert!((1..=BATCH).contains(&bodies.len()), "{} messages at once", bodies.len());
            if self.refuses.load(Ordering::SeqCst) {
                let (request, detail) = (format!("sending to {queue}"), "no".to_owned());
                return Err(BrokerError { kind: Kind::Refused, request, detail, hint: String::new() });
            }
            let ids = bodies.iter().map(|body| Message::read(body).expect("a message").ti_id);
            self.sent.lock().expect("no panic").extend(ids);
            Ok(vec![true; bodies.len()])
        }
        .boxed()
    }

    fn receive<'a>(&'a self, _: &'a str, _: usize, _: Duration, _: Duration) -> BoxFuture<'a, Result<Vec<Received>>> {
        async { Ok(Vec::new()) }.boxed()
    }

    fn delete<'a>(&'a self, _: &'a str, _: &'a [String]) -> BoxFuture<'a, Result<()>> {
        async { Ok(()) }.boxed()
    }

    fn set_visibility<'a>(&'a self, _: &'a str, _: &'a [String], _: Duration) -> BoxFuture<'a, Result<()>> {
        async { Ok(()) }.boxed()
    }

    fn depth<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Depth>> {
        async { Ok(Depth::default()) }.boxed()
    }
}
