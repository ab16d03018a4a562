//! Points within transactions at which a test may hold a process up, break its connection or kill it.
//!
//! They lie between the statements of a transaction and its commit, where two processes or a crash can meet. Without the
//! feature `failpoints` there is nothing to reach.

#[cfg(feature = "failpoints")]
pub use control::{Control, Outcome};

use crate::Result;

/// Passes a point: at once, unless a test has put its [`Control`] around the caller and stops it here.
///
/// # Errors
/// When the test says that the connection is lost here.
#[cfg(feature = "failpoints")]
pub async fn reach(point: &'static str) -> Result<()> {
    control::reach(point).await
}

/// Passes a point.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub async fn reach(_: &'static str) -> Result<()> {
    Ok(())
}

#[cfg(feature = "failpoints")]
mod control {
    use std::sync::{Arc, Mutex, PoisonError};

    use tokio::sync::watch;

    use crate::{MetadataError, Result};

    tokio::task_local! {
        static CONTROL: Control;
    }

    /// What happens to a process that is held up.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Outcome {
        /// It goes on.
        GoesOn,
        /// It finds its connection lost.
        LosesConnection,
    }

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Progress {
        Runs,
        Held,
        Released(Outcome),
    }

    /// Holds a process up at the first passing of one point.
    #[derive(Debug, Clone)]
    pub struct Control {
        stop_at: Option<&'static str>,
        progress: watch::Sender<Progress>,
        passed: Arc<Mutex<Vec<&'static str>>>,
    }

    impl Control {
        /// Stops at a point, or with `None` nowhere.
        pub fn new(stop_at: Option<&'static str>) -> Self {
            Self { stop_at, progress: watch::Sender::new(Progress::Runs), passed: Arc::default() }
        }

        /// The process itself.
        pub async fn around<F: Future>(&self, process: F) -> F::Output {
            CONTROL.scope(self.clone(), process).await
        }

        /// Waits until the process is held up.
        pub async fn held(&self) {
            let mut progress = self.progress.subscribe();
            // This handle keeps the channel open.
            let _ = progress.wait_for(|progress| *progress != Progress::Runs).await;
        }

        /// Lets the process go on, now or as soon as it arrives.
        pub fn release(&self, outcome: Outcome) {
            self.progress.send_replace(Progress::Released(outcome));
        }

        /// Every point that the process came to, in order.
        pub fn passed(&self) -> Vec<&'static str> {
            self.passed.lock().unwrap_or_else(PoisonError::into_inner).clone()
        }

        async fn pass(&self, point: &'static str) -> Result<()> {
            let is_first = {
                let mut passed = self.passed.lock().unwrap_or_else(PoisonError::into_inner);
                let is_first = !passed.contains(&point);
                passed.push(point);
                is_first
            };
            if self.stop_at != Some(point) || !is_first {
                return Ok(());
            }
            self.progress.send_if_modified(|progress| {
                let runs = *progress == Progress::Runs;
                if runs {
                    *progress = Progress::Held;
                }
                runs
            });
            let mut progress = self.progress.subscribe();
            let released = progress.wait_for(|progress| matches!(progress, Progress::Released(_))).await;
            let lost = released.is_ok_and(|progress| *progress == Progress::Released(Outcome::LosesConnection));
            if lost { Err(lost_connection()) } else { Ok(()) }
        }
    }

    fn lost_connection() -> MetadataError {
        let reason = "a test broke the connection";
        MetadataError::Database(sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::ConnectionReset, reason)))
    }

    pub(super) async fn reach(point: &'static str) -> Result<()> {
        match CONTROL.try_with(Clone::clone) {
            Ok(control) => control.pass(point).await,
            Err(_) => Ok(()),
        }
    }
}
