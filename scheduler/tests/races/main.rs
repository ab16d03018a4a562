//! Two schedulers that meet at every pair of points within their transactions, and schedulers that die at every point.
//!
//! Afterwards no limit is exceeded, every queued task instance has its message, what has ended is whole, and a scheduler
//! that lives brings every run to its end, each attempt run once.

mod attempts;
mod installation;
mod schedulers;
#[expect(dead_code, reason = "what only scheduling.rs needs")]
#[path = "../support/mod.rs"]
mod support;

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tradewind_metadata::failpoint::{Control, Outcome};

/// How long a process may wait for a lock before it counts as waiting for the other one.
const UNTIL_BLOCKED: Duration = Duration::from_millis(60);

/// How long a process may take once nobody keeps it.
const UNTIL_OVER: Duration = Duration::from_secs(20);

/// A process that may be held up at a point.
struct Process<T> {
    control: Control,
    task: JoinHandle<T>,
}

impl<T: Send + 'static> Process<T> {
    fn start(stop_at: Option<&'static str>, work: impl Future<Output = T> + Send + 'static) -> Self {
        let control = Control::new(stop_at);
        let task = tokio::spawn({
            let control = control.clone();
            async move { control.around(work).await }
        });
        Self { control, task }
    }

    /// Waits until it is held up. Nobody else may be in its way.
    async fn arrive(&self, point: &'static str) {
        tokio::select! {
            () = self.control.held() => {}
            () = sleep(UNTIL_OVER) => panic!("{point} was not reached"),
            () = self.over() => panic!("{point} was passed by: {:?}", self.control.passed()),
        }
    }

    /// Waits until it is held up, is over, or waits for somebody else.
    async fn settle(&self) {
        tokio::select! {
            () = self.control.held() => {}
            () = sleep(UNTIL_BLOCKED) => {}
            () = self.over() => {}
        }
    }

    /// Lets it go on, and waits until it is over or waits for somebody else.
    async fn release(&self, outcome: Outcome) {
        self.control.release(outcome);
        // The time-out means that it waits.
        let _ = timeout(UNTIL_BLOCKED, self.over()).await;
    }

    async fn over(&self) {
        while !self.task.is_finished() {
            sleep(Duration::from_millis(2)).await;
        }
    }

    /// Kills it, wherever it is.
    async fn kill(self) {
        self.task.abort();
        // It ends as cancelled, unless it was over already.
        let _ = self.task.await;
    }

    /// What it came to.
    async fn end(self) -> T {
        timeout(UNTIL_OVER, self.task).await.expect("a process that ends").expect("no panic")
    }
}
