//! Keeps the service of Amazon ECS that has started this worker from ending it while it is busy.
//!
//! One protection is for all attempts: it is set before the first one runs, renewed long before it expires, and ended when none has
//! run for a while. Whatever the agent answers, attempts go on: a failure is logged and asked again.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tradewind_airflow::config::{Config, ConfigError};
use tradewind_aws::agent::{Agent, AgentError};
use tradewind_broker::BackOff;

/// When a protection is asked for, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// After so long a protection ends by itself: the worker may be dead. Whole minutes.
    pub expires_in: Duration,
    /// After so long it is renewed.
    pub renewed_after: Duration,
    /// For so long a worker without attempts stays protected (`[tradewind] ecs_protection_linger`).
    pub linger: Duration,
    /// So long attempts wait for the protection before they run without.
    pub patience: Duration,
}

impl Pace {
    /// As configured.
    ///
    /// # Errors
    /// The option has a wrong value.
    pub fn from_config(config: &Config) -> Result<Self, ConfigError> {
        Ok(Self {
            expires_in: Duration::from_secs(60 * 60),
            renewed_after: Duration::from_secs(20 * 60),
            linger: config.seconds("tradewind", "ecs_protection_linger")?,
            patience: Duration::from_secs(5),
        })
    }
}

/// What attempts and the one who asks the agent know of each other.
#[derive(Debug, Default)]
struct State {
    /// Attempts that run, or wait to.
    attempts: usize,
    /// Whether attempts may run: the worker is protected, or cannot be now.
    is_settled: bool,
}

/// The protection of a worker. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Protection(Option<Arc<Shared>>);

#[derive(Debug)]
struct Shared {
    agent: Agent,
    pace: Pace,
    state: watch::Sender<State>,
}

/// An attempt that must not be ended from outside; dropped at its end.
#[derive(Debug)]
pub struct Lease(Option<Arc<Shared>>);

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(shared) = &self.0 {
            shared.state.send_modify(|state| state.attempts -= 1);
        }
    }
}

impl Lease {
    /// Waits until the worker is protected, or has been told that it cannot be, but not for long.
    pub async fn settled(&self) {
        let Some(shared) = &self.0 else { return };
        let mut state = shared.state.subscribe();
        let settled = timeout(shared.pace.patience, state.wait_for(|state| state.is_settled)).await;
        if settled.is_err() {
            tracing::warn!(
                "the agent of ECS does not answer; a task runs while the worker is not protected from scale-in"
            );
        }
    }
}

impl Protection {
    /// A protection by the agent of the task that this process runs in.
    #[must_use]
    pub fn new(agent: Agent, pace: Pace) -> Self {
        let (state, _) = watch::channel(State::default());
        Self(Some(Arc::new(Shared { agent, pace, state })))
    }

    /// Notes an attempt, which is to wait until this is [settled](Lease::settled).
    #[must_use]
    pub fn lease(&self) -> Lease {
        if let Some(shared) = &self.0 {
            shared.state.send_modify(|state| state.attempts += 1);
        }
        Lease(self.0.clone())
    }

    /// Asks the agent for what attempts need, until the stop, or until it turns out that nothing scales this task in.
    pub async fn keep(self, stop: CancellationToken) {
        let Some(shared) = self.0 else { return };
        tokio::select! {
            () = stop.cancelled() => {}
            () = Keeper::new(&shared).run() => {}
        }
    }
}

/// Who asks the agent.
#[derive(Debug)]
struct Keeper<'a> {
    shared: &'a Shared,
    /// Whether there may be a protection that nobody has ended.
    is_protected: bool,
    /// Whether attempts may run without waiting.
    is_settled: bool,
    /// When the agent is asked next.
    due: Instant,
    /// Since when none runs.
    idle_since: Option<Instant>,
    back_off: BackOff,
}

impl<'a> Keeper<'a> {
    fn new(shared: &'a Shared) -> Self {
        let (due, back_off) = (Instant::now(), BackOff::default());
        Self { shared, is_protected: false, is_settled: false, due, idle_since: None, back_off }
    }

    async fn run(mut self) {
        let mut state = self.shared.state.subscribe();
        loop {
            let is_busy = state.borrow_and_update().attempts > 0;
            let next = if is_busy { self.busy().await } else { self.idle().await };
            let Ok(next) = next else {
                self.settle(true);
                return;
            };
            tokio::select! {
                // Who changes it lives as long as this.
                _ = state.changed() => {}
                () = until(next) => {}
            }
        }
    }

    /// Sets or renews the protection when that is due. Returns when to look again.
    async fn busy(&mut self) -> Result<Option<Instant>, ()> {
        self.idle_since = None;
        if !self.is_settled || Instant::now() >= self.due {
            // Also where the answer gets lost.
            self.is_protected = true;
            let is_granted = self.ask(Some(self.shared.pace.expires_in)).await?;
            let pause = if is_granted { self.shared.pace.renewed_after } else { self.back_off.failed() };
            self.due = Instant::now() + pause;
            self.settle(true);
        }
        Ok(Some(self.due))
    }

    /// Ends the protection when no attempt has run for a while. Returns when to look again.
    async fn idle(&mut self) -> Result<Option<Instant>, ()> {
        let mut end = *self.idle_since.get_or_insert_with(Instant::now) + self.shared.pace.linger;
        if self.back_off.is_failing() {
            end = end.max(self.due);
        }
        if self.is_protected && Instant::now() < end {
            return Ok(Some(end));
        }
        // From here on an attempt waits for a new protection; one that has just come has the present one.
        if !self.settle(false) || !self.is_protected {
            return Ok(None);
        }
        if self.ask(None).await? {
            self.is_protected = false;
            return Ok(None);
        }
        // At the latest, it ends by itself.
        self.due = Instant::now() + self.back_off.failed();
        Ok(Some(self.due))
    }

    /// Asks the agent; returns whether it did what was asked. The error is that it never will.
    async fn ask(&mut self, expires_in: Option<Duration>) -> Result<bool, ()> {
        match self.shared.agent.protect(expires_in).await {
            Ok(()) => {
                if self.back_off.succeeded() {
                    tracing::info!("the agent of ECS protects this worker again");
                }
                Ok(true)
            }
            Err(error @ AgentError::NotOfService(_)) => {
                tracing::info!(%error, "the worker needs no protection");
                Err(())
            }
            Err(error) => {
                metrics::counter!("tradewind.worker.failed_protections").increment(1);
                if !self.back_off.is_failing() {
                    tracing::warn!(%error, "the worker's protection from scale-in cannot be changed; its tasks go on");
                }
                Ok(false)
            }
        }
    }

    /// Lets attempts run, or has them wait if there are none. Returns whether it is so now.
    fn settle(&mut self, is_settled: bool) -> bool {
        let mut is_so = true;
        self.shared.state.send_if_modified(|state| {
            is_so = is_settled || state.attempts == 0;
            is_so && std::mem::replace(&mut state.is_settled, is_settled) != is_settled
        });
        if is_so {
            self.is_settled = is_settled;
        }
        is_so
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
