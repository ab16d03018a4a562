//! Asks timetables and weight rules of plugins, and what else only Python knows, in children that load the official packages and the plugins.
//!
//! A child is forked when the first question comes, kept for the next ones, and ended when none came for a while. One that
//! takes too long, crashes or speaks nonsense is killed, and its Dag is not asked about again for a while: a plugin costs
//! only its own Dag. Nothing here runs in the way of a scheduler's turn.

mod conversation;
pub mod service;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use metrics::{counter, histogram};
use nix::sys::signal::Signal;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};
use tradewind_airflow::config::{Config, ConfigError};
use tradewind_airflow::evaluation::{Ask, PythonError, Question, Reply, Secret, SecretAnswer};
use tradewind_airflow::secrets_masker::SecretsMasker;

use crate::pyhost::{self, ChildKind, PyHost, PyHostError};
use conversation::Conversation;

/// Questions answered at the same time: a plugin that hangs leaves room for others.
const CHILDREN: usize = 4;

/// Connections tested at the same time, besides: what they wait for is slow as a rule, and no plugin shall wait for it.
const CONNECTION_TESTS: usize = 4;

/// How long a child waits for the next question, and an interpreter for the next child.
const IDLE: Duration = Duration::from_secs(60);

/// How long a Dag whose plugin hung or killed its process is left alone; doubled each time.
const FIRST_REST: Duration = Duration::from_secs(10);
const LONGEST_REST: Duration = Duration::from_secs(600);

/// How long a killed child may take to be gone.
const KILL_PATIENCE: Duration = Duration::from_secs(5);

/// How long a plugin may take, and what is kept for the next question.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// `[tradewind] evaluation_timeout`.
    pub timeout: Duration,
    /// How long a child and an interpreter wait for work.
    pub idle: Duration,
}

impl Options {
    /// Reads the configuration.
    ///
    /// # Errors
    /// When the time-out is not a number of seconds above 0.
    pub fn from_config(config: &Config) -> Result<Self, ConfigError> {
        let timeout = config.seconds("tradewind", "evaluation_timeout")?;
        if timeout.is_zero() {
            return Err(config.invalid("tradewind", "evaluation_timeout", "a number of seconds above 0"));
        }
        Ok(Self { timeout, idle: IDLE })
    }
}

/// Why a plugin gives no answer.
#[derive(Debug, thiserror::Error)]
pub enum EvaluationError {
    /// The plugin, or Airflow on its behalf, raised an error.
    #[error("{0}")]
    Raised(PythonError),
    /// It took too long.
    #[error("the plugin did not answer within {0:?} ([tradewind] evaluation_timeout) and was stopped")]
    TimedOut(Duration),
    /// A test of a connection took too long.
    #[error("Connection test timed out after {0}s")]
    ConnectionTestTimedOut(u64),
    /// Its process ended.
    #[error("the process that evaluated the plugin ended with {0}")]
    Died(crate::child::ExitStatus),
    /// It did not keep to the protocol.
    #[error("the process that evaluated the plugin broke off: {0}")]
    Broken(String),
    /// It failed so a moment ago.
    #[error("the plugin failed a moment ago ({failure}); it is asked again in {left:?}")]
    Resting {
        /// How it failed.
        failure: String,
        /// Until when.
        left: Duration,
    },
    /// There is no Python.
    #[error(transparent)]
    Host(#[from] PyHostError),
}

impl EvaluationError {
    /// As an answer to who asked from another process.
    fn into_python(self) -> PythonError {
        match self {
            Self::Raised(error) => error,
            Self::Resting { .. } | Self::Host(_) => {
                PythonError { was_not_asked: true, ..PythonError::new(self.to_string()) }
            }
            other => PythonError::new(other.to_string()),
        }
    }

    /// Whether a process was lost over it.
    fn cost_a_process(&self) -> bool {
        matches!(self, Self::TimedOut(_) | Self::Died(_) | Self::Broken(_))
    }
}

/// Where children come from.
#[derive(Debug)]
enum Source {
    /// An interpreter that is there anyway.
    Shared(PyHost),
    /// One that is started for the first question and stopped when it is idle.
    OnDemand(Box<pyhost::Options>, tokio::sync::Mutex<Option<PyHost>>),
}

/// A Dag whose plugin is left alone.
#[derive(Debug)]
struct Rest {
    until: Instant,
    length: Duration,
    failure: String,
}

/// A child without work.
#[derive(Debug)]
struct Waiting {
    conversation: Conversation,
    /// The interpreter it comes from: one that was replaced knows other plugins.
    generation: u64,
    /// The time of its last answer.
    since: Instant,
}

#[derive(Debug)]
struct Shared {
    source: Source,
    options: Options,
    slots: Semaphore,
    test_slots: Semaphore,
    /// Children without work.
    idle: Mutex<Vec<Waiting>>,
    resting: Mutex<HashMap<String, Rest>>,
    /// Hides secrets in what children write.
    masker: OnceLock<SecretsMasker>,
}

/// Asks plugins. Clones share the children.
#[derive(Debug, Clone)]
pub struct Evaluator(Arc<Shared>);

impl Evaluator {
    /// One whose children are forked by an interpreter that is there anyway.
    pub fn sharing(host: PyHost, options: Options) -> Self {
        Self::new(Source::Shared(host), options)
    }

    /// One that starts an interpreter of its own when it is first asked.
    pub fn on_demand(host: pyhost::Options, options: Options) -> Self {
        Self::new(Source::OnDemand(Box::new(host), tokio::sync::Mutex::new(None)), options)
    }

    fn new(source: Source, options: Options) -> Self {
        Self(Arc::new(Shared {
            source,
            options,
            slots: Semaphore::new(CHILDREN),
            test_slots: Semaphore::new(CONNECTION_TESTS),
            idle: Mutex::default(),
            resting: Mutex::default(),
            masker: OnceLock::new(),
        }))
    }

    /// The same, hiding secrets in what children write.
    #[must_use]
    pub fn with_masker(self, masker: SecretsMasker) -> Self {
        // There is none yet, or it stays.
        let _ = self.0.masker.set(masker);
        self
    }

    /// Asks about a Dag.
    ///
    /// # Errors
    /// See [`EvaluationError`].
    pub async fn ask<Q: Ask>(&self, dag_id: &str, question: Q) -> Result<Q::Answer, EvaluationError> {
        match self.reply(dag_id, &question.into()).await? {
            Reply::Answer(answer) => serde_json::from_value(answer)
                .map_err(|error| EvaluationError::Broken(format!("its answer cannot be read: {error}"))),
            Reply::Error(error) => Err(EvaluationError::Raised(error)),
        }
    }

    /// Asks the secrets backend. It is asked again at once when it has failed: that nothing is found would be wrong. The caller logs,
    /// since it knows what is secret.
    ///
    /// # Errors
    /// See [`EvaluationError`].
    pub async fn ask_secret(&self, question: Secret) -> Result<SecretAnswer, EvaluationError> {
        let started = Instant::now();
        let patience = self.0.options.timeout;
        // Others may have to be waited for, but not for ever.
        let reply = timeout(2 * patience, self.0.reply(&question.into())).await;
        histogram!("tradewind.evaluation.duration").record(started.elapsed().as_secs_f64());
        match reply.unwrap_or(Err(EvaluationError::TimedOut(patience)))? {
            // What the parser says might tell of the secret.
            Reply::Answer(answer) => serde_json::from_value(answer)
                .map_err(|_| EvaluationError::Broken("its answer cannot be read".to_owned())),
            Reply::Error(error) => Err(EvaluationError::Raised(error)),
        }
    }

    async fn reply(&self, dag_id: &str, question: &Question) -> Result<Reply, EvaluationError> {
        self.check_rest(dag_id)?;
        let started = Instant::now();
        let reply = self.0.reply(question).await;
        histogram!("tradewind.evaluation.duration").record(started.elapsed().as_secs_f64());
        match &reply {
            Ok(_) => drop(lock(&self.0.resting).remove(dag_id)),
            Err(error) => {
                counter!("tradewind.evaluation.failures", "dag_id" => dag_id.to_owned()).increment(1);
                tracing::error!(dag_id, %error, "a plugin could not be evaluated");
                // Another test may well work: what is tested differs.
                if error.cost_a_process() && !matches!(question, Question::ConnectionTest(_)) {
                    self.rest(dag_id, error.to_string());
                }
            }
        }
        reply
    }

    fn check_rest(&self, dag_id: &str) -> Result<(), EvaluationError> {
        let resting = lock(&self.0.resting);
        let Some(rest) = resting.get(dag_id) else { return Ok(()) };
        let left = rest.until.saturating_duration_since(Instant::now());
        if left.is_zero() { Ok(()) } else { Err(EvaluationError::Resting { failure: rest.failure.clone(), left }) }
    }

    fn rest(&self, dag_id: &str, failure: String) {
        let mut resting = lock(&self.0.resting);
        let length = resting.get(dag_id).map_or(FIRST_REST, |rest| (rest.length * 2).min(LONGEST_REST));
        resting.insert(dag_id.to_owned(), Rest { until: Instant::now() + length, length, failure });
    }

    /// The process ids of the children that wait for a question.
    pub fn idle_children(&self) -> Vec<i32> {
        lock(&self.0.idle).iter().map(|waiting| waiting.conversation.process().pid()).collect()
    }
}

impl Shared {
    async fn reply(self: &Arc<Self>, question: &Question) -> Result<Reply, EvaluationError> {
        // It is never closed.
        let is_test = matches!(question, Question::ConnectionTest(_));
        let slots = if is_test { &self.test_slots } else { &self.slots };
        let Ok(_slot) = slots.acquire().await else { return Err(PyHostError::Stopped.into()) };
        let (mut conversation, generation) = match self.take_idle() {
            Some(waiting) => (waiting.conversation, waiting.generation),
            None => {
                let host = self.host().await?;
                // Looked at first: a child may know more than its generation says, not less.
                let generation = host.generation();
                let child = host.spawn(ChildKind::Evaluator).await?;
                (Conversation::new(child, self.masker.get().cloned()), generation)
            }
        };
        let (patience, late) = match question {
            Question::ConnectionTest(test) => {
                (Duration::from_secs(test.timeout), EvaluationError::ConnectionTestTimedOut(test.timeout))
            }
            _ => (self.options.timeout, EvaluationError::TimedOut(self.options.timeout)),
        };
        let reply = timeout(patience, conversation.reply(&json!(question))).await.unwrap_or(Err(late));
        // A child that tested a connection knows its secrets, and may go on with what a hook has begun.
        if reply.is_ok() && !is_test {
            self.keep(conversation, generation);
        } else {
            conversation.process().terminate(Signal::SIGKILL, KILL_PATIENCE).await;
        }
        reply
    }

    fn take_idle(&self) -> Option<Waiting> {
        let mut idle = lock(&self.idle);
        while let Some(waiting) = idle.pop() {
            let is_current = match &self.source {
                Source::Shared(host) => host.generation() == waiting.generation,
                Source::OnDemand(..) => true,
            };
            if is_current && waiting.conversation.process().status().is_none() {
                return Some(waiting);
            }
        }
        None
    }

    fn keep(self: &Arc<Self>, conversation: Conversation, generation: u64) {
        let mut idle = lock(&self.idle);
        if idle.is_empty() {
            tokio::spawn(end_idle(Arc::downgrade(self), self.options.idle));
        }
        idle.push(Waiting { conversation, generation, since: Instant::now() });
    }

    async fn host(&self) -> Result<PyHost, PyHostError> {
        match &self.source {
            Source::Shared(host) => Ok(host.clone()),
            Source::OnDemand(options, started) => {
                let mut started = started.lock().await;
                if let Some(host) = &*started {
                    return Ok(host.clone());
                }
                tracing::info!("an interpreter is started, because a plugin has to be evaluated");
                let host = PyHost::start((**options).clone()).await?;
                Ok(started.insert(host).clone())
            }
        }
    }

    /// Ends an interpreter of its own.
    async fn end_host(&self) {
        if let Source::OnDemand(_, started) = &self.source
            && let Some(host) = started.lock().await.take()
        {
            host.stop().await;
        }
    }
}

/// Ends children that have had no question for `idle`, and, after the last one, the interpreter.
async fn end_idle(shared: Weak<Shared>, idle: Duration) {
    loop {
        sleep(idle / 2).await;
        let Some(shared) = shared.upgrade() else { return };
        let is_empty = {
            let mut waiting = lock(&shared.idle);
            // Their sockets close, upon which they end.
            waiting.retain(|child| child.since.elapsed() < idle);
            waiting.is_empty()
        };
        if is_empty {
            // A question under way needs the interpreter; its child comes back and starts this anew.
            let is_busy = shared.slots.available_permits() < CHILDREN;
            if !is_busy && shared.test_slots.available_permits() == CONNECTION_TESTS {
                shared.end_host().await;
            }
            return;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
