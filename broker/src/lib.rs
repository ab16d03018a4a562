//! What scheduler and worker ask of a message broker, and the messages they exchange over it.
//!
//! A broker may lose, repeat, delay and reorder messages. None of that matters: the row in `tradewind.outbox` is the task
//! instance's place in the queue, and a message only says to a worker that it may look there.
#![forbid(unsafe_code)]

mod back_off;
mod error;
mod message;

use std::fmt::Debug;
use std::time::Duration;

use futures::future::BoxFuture;

pub use back_off::BackOff;
pub use error::{BrokerError, Kind};
pub use message::{Message, Unreadable, VERSION};

/// Messages that one request may carry, of SQS's and of ours.
pub const BATCH: usize = 10;

/// The result of a request.
pub type Result<T> = std::result::Result<T, BrokerError>;

/// What was received: not deleted yet, and hidden from other receivers until its visibility timeout is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// What the sender wrote.
    pub body: String,
    /// What names this delivery to the broker.
    pub receipt: String,
}

/// How many messages a queue has. Brokers count roughly.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Depth {
    /// Those that can be received, now or after a delay.
    pub waiting: u64,
    /// Those that somebody has received and not deleted.
    pub in_flight: u64,
}

/// A message broker. Queues have Airflow's names; no call takes more than [`BATCH`] messages.
pub trait Broker: Debug + Send + Sync {
    /// Sends messages, and returns for each whether the broker took it.
    fn send<'a>(&'a self, queue: &'a str, bodies: &'a [String]) -> BoxFuture<'a, Result<Vec<bool>>>;

    /// Waits for up to `limit` messages, and for no longer than `wait` when there are none.
    fn receive<'a>(
        &'a self,
        queue: &'a str,
        limit: usize,
        wait: Duration,
        visibility: Duration,
    ) -> BoxFuture<'a, Result<Vec<Received>>>;

    /// Deletes what was received. Messages that are deleted already are no error.
    fn delete<'a>(&'a self, queue: &'a str, receipts: &'a [String]) -> BoxFuture<'a, Result<()>>;

    /// Hides what was received for so long from now on; with zero it goes back at once.
    fn set_visibility<'a>(
        &'a self,
        queue: &'a str,
        receipts: &'a [String],
        visibility: Duration,
    ) -> BoxFuture<'a, Result<()>>;

    /// Counts the messages of a queue.
    fn depth<'a>(&'a self, queue: &'a str) -> BoxFuture<'a, Result<Depth>>;
}
