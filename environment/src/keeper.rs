//! Keeps the interpreter of a process in the environment that counts: a Dag processor decides which that is, workers follow.

use std::time::Duration;

use chrono::Utc;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tradewind_bundle::configuration::DEFAULT_BUNDLE;
use tradewind_metadata::{Database, MetadataError, bundle_snapshot, environment};
use tradewind_supervisor::pyhost::{Idle, PyHost, PyHostError};

use crate::build::{BuildError, Builder};
use crate::health::EnvironmentHealth;
use crate::logs::BuildLogs;
use crate::manifest::Manifest;
use crate::store::Environment;

/// How long a version that was found wrong is left alone: the network may have been the reason.
const PAUSE: Duration = Duration::from_secs(300);

/// How long a worker waits before it tries again to get the environment that it cannot begin without.
const RETRY: Duration = Duration::from_secs(10);

/// How often a worker looks which environment counts.
const FOLLOW_INTERVAL: Duration = Duration::from_secs(1);

/// Why a version is not in use.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// It cannot be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// No interpreter starts in it.
    #[error("no interpreter starts in the environment: {0}")]
    Host(#[from] PyHostError),
    /// The database cannot be asked.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
}

impl KeepError {
    /// Whether another attempt may well go otherwise, soon.
    fn is_passing(&self) -> bool {
        matches!(self, Self::Metadata(_))
    }
}

/// Keeps an interpreter in the environment that counts.
#[derive(Debug)]
pub struct Keeper {
    builder: Builder,
    database: Database,
    idle: Idle,
    health: EnvironmentHealth,
    current: Option<(Manifest, Environment)>,
    /// A version that was found wrong, until when it is left alone.
    refused: Option<(String, Instant)>,
    /// What is wrong, where that is not shown yet.
    unshown: Option<Shown>,
    /// Whether rows that tell of failures may be there; an earlier process may have left some.
    may_be_shown: bool,
}

/// A row that tells of a failure.
#[derive(Debug)]
struct Shown {
    url: String,
    text: String,
}

impl Keeper {
    /// A keeper of an interpreter with so many children in reserve; nothing is started yet.
    #[must_use]
    pub fn new(builder: Builder, database: Database, idle: Idle) -> Self {
        let health = EnvironmentHealth::default();
        Self { builder, database, idle, health, current: None, refused: None, unshown: None, may_be_shown: true }
    }

    /// How the environment is, now and later.
    #[must_use]
    pub fn health(&self) -> EnvironmentHealth {
        self.health.clone()
    }

    /// What is said while environments are built, now and later.
    #[must_use]
    pub fn logs(&self) -> BuildLogs {
        self.builder.logs().clone()
    }

    /// The environment in use; none: the installed packages.
    #[must_use]
    pub fn environment(&self) -> Option<&Environment> {
        self.current.as_ref().map(|(_, environment)| environment)
    }

    /// Starts an interpreter for who decides: in the newest environment, else in the one that counted last, else on the installed
    /// packages.
    ///
    /// # Errors
    /// It does not start on these either.
    pub async fn start_leading(&mut self) -> Result<PyHost, PyHostError> {
        match self.start_newest().await {
            Ok(host) => return Ok(host),
            Err(error) => self.note_failure(&error),
        }
        match self.start_published().await {
            Ok(Some(host)) => return Ok(host),
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "the Python environment that was last in use cannot be taken up"),
        }
        tracing::warn!("the installed packages are the Python environment for now");
        PyHost::start(self.builder.host_options(None).with_idle(self.idle)).await
    }

    /// Starts an interpreter for who follows: in the environment that counts, for which it waits; on the installed packages where
    /// none has been published. `None` when `shutdown` comes first.
    ///
    /// # Errors
    /// It does not start on the installed packages.
    pub async fn start_following(&mut self, shutdown: &CancellationToken) -> Result<Option<PyHost>, PyHostError> {
        loop {
            match self.start_published().await {
                Ok(Some(host)) => return Ok(Some(host)),
                Ok(None) => return PyHost::start(self.builder.host_options(None).with_idle(self.idle)).await.map(Some),
                Err(error) => {
                    tracing::error!(%error, pause = ?RETRY, "the Python environment that counts cannot be had yet");
                }
            }
            tokio::select! {
                () = shutdown.cancelled() => return Ok(None),
                () = sleep(RETRY) => {}
            }
        }
    }

    async fn start_newest(&mut self) -> Result<PyHost, KeepError> {
        let manifest = self.builder.describe().await?;
        self.start_in(manifest).await
    }

    async fn start_published(&mut self) -> Result<Option<PyHost>, KeepError> {
        match environment::current::<Manifest>(self.database.pool()).await? {
            Some(manifest) => self.start_in(manifest).await.map(Some),
            None => Ok(None),
        }
    }

    async fn start_in(&mut self, manifest: Manifest) -> Result<PyHost, KeepError> {
        let outcome = async {
            let environment = self.builder.provide(&manifest).await?;
            let host = PyHost::start(self.builder.host_options(Some(&environment)).with_idle(self.idle)).await?;
            Ok((environment, host))
        };
        match outcome.await {
            Ok((environment, host)) => {
                self.take(manifest, environment);
                Ok(host)
            }
            Err(error) => {
                self.refuse(&manifest, &error);
                Err(error)
            }
        }
    }

    /// Goes on with the newest environment that is good, and calls `switched` with each, until `shutdown`.
    pub async fn lead(mut self, host: PyHost, switched: impl Fn(&Environment) + Send, shutdown: CancellationToken) {
        let mut published: Option<Manifest> = None;
        loop {
            let next = Instant::now() + self.builder.options().interval;
            match self.look(&host).await {
                Ok(has_switched) => {
                    let is_new = published.as_ref() != self.current.as_ref().map(|(manifest, _)| manifest);
                    if is_new && let Some((manifest, environment)) = &self.current {
                        match environment::publish(self.database.pool(), manifest).await {
                            Ok(()) => published = Some(manifest.clone()),
                            Err(error) => {
                                tracing::error!(%error, "workers cannot be told of the Python environment yet")
                            }
                        }
                        if has_switched {
                            // Workers hear of it before there is anything to do for them in it.
                            sleep(FOLLOW_INTERVAL).await;
                            switched(environment);
                        }
                    }
                }
                Err(error) => self.note_failure(&error),
            }
            self.show().await;
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = sleep_until(next) => {}
            }
        }
    }

    /// Looks at the bucket, and switches when it has another version that is good; returns whether it did. A version that was found
    /// wrong a moment ago is passed over.
    async fn look(&mut self, host: &PyHost) -> Result<bool, KeepError> {
        let manifest = self.builder.describe().await?;
        let version = self.builder.version(&manifest)?;
        if self.is_refused(&version) {
            return Ok(false);
        }
        let has_switched = self.switch(host, manifest, &version).await?;
        self.note_success().await;
        Ok(has_switched)
    }

    /// Follows who decides, until `shutdown`. While another environment counts than the one in use, `is_ready` says so: what is
    /// begun meanwhile would lack what its Dag was parsed with.
    pub async fn follow(mut self, host: PyHost, is_ready: watch::Sender<bool>, shutdown: CancellationToken) {
        loop {
            let outcome = self.look_after(&host, &is_ready).await;
            is_ready.send_if_modified(|known| !std::mem::replace(known, true));
            if let Err(error) = outcome {
                tracing::error!(%error, "the Python environment that counts cannot be had; the last one stays in use");
                self.health.change(|state| state.error = Some(error.to_string()));
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = sleep(FOLLOW_INTERVAL) => {}
            }
        }
    }

    async fn look_after(&mut self, host: &PyHost, is_ready: &watch::Sender<bool>) -> Result<(), KeepError> {
        let Some(manifest) = environment::current::<Manifest>(self.database.pool()).await? else { return Ok(()) };
        let version = self.builder.version(&manifest)?;
        if self.is_refused(&version) {
            return Ok(());
        }
        let is_current = self.environment().is_some_and(|current| current.version() == version);
        is_ready.send_if_modified(|known| std::mem::replace(known, is_current) != is_current);
        self.switch(host, manifest, &version).await?;
        self.health.change(|state| {
            state.error = None;
            state.last_checked = Some(Utc::now());
        });
        Ok(())
    }

    async fn switch(&mut self, host: &PyHost, manifest: Manifest, version: &str) -> Result<bool, KeepError> {
        if self.environment().is_some_and(|current| current.version() == version) {
            return Ok(false);
        }
        let outcome = async {
            let environment = self.builder.provide(&manifest).await?;
            host.replace(self.builder.host_options(Some(&environment)).with_idle(self.idle)).await?;
            Ok(environment)
        };
        match outcome.await {
            Ok(environment) => {
                self.take(manifest, environment);
                self.builder.clean_up();
                Ok(true)
            }
            Err(error) => {
                self.refuse(&manifest, &error);
                Err(error)
            }
        }
    }

    fn take(&mut self, manifest: Manifest, environment: Environment) {
        tracing::info!(version = environment.version(), "the Python environment is in use");
        self.health.change(|state| {
            state.version = Some(environment.version().to_owned());
            state.last_checked = Some(Utc::now());
        });
        self.current = Some((manifest, environment));
        self.refused = None;
    }

    fn refuse(&mut self, manifest: &Manifest, error: &KeepError) {
        if !error.is_passing() {
            self.refused = self.builder.version(manifest).ok().map(|version| (version, Instant::now() + PAUSE));
        }
    }

    fn is_refused(&self, version: &str) -> bool {
        self.refused.as_ref().is_some_and(|(refused, until)| refused == version && Instant::now() < *until)
    }

    async fn note_success(&mut self) {
        self.unshown = None;
        if self.health.state().error.is_some() {
            tracing::info!("the Python environment is what the bucket describes again");
        }
        self.health.change(|state| {
            state.error = None;
            state.last_checked = Some(Utc::now());
        });
        if self.may_be_shown {
            self.may_be_shown = false;
            for url in self.builder.options().urls() {
                let cleared = bundle_snapshot::clear_failure(self.database.pool(), DEFAULT_BUNDLE, &url).await;
                self.may_be_shown |= cleared.is_err();
            }
        }
    }

    fn note_failure(&mut self, error: &KeepError) {
        let text = error.to_string();
        if self.health.state().error.as_ref() == Some(&text) {
            return;
        }
        let url = match error {
            KeepError::Build(error) => error.url.clone(),
            _ => self.builder.options().urls().into_iter().next().unwrap_or_default(),
        };
        tracing::error!(
            url,
            error = text,
            "the Python environment cannot be brought up to date; the last good one stays"
        );
        self.unshown = Some(Shown { text: self.failure_text(&url, &text), url });
        self.health.change(|state| state.error = Some(text));
    }

    fn failure_text(&self, url: &str, error: &str) -> String {
        let stays = match self.environment() {
            Some(environment) => format!("Version {} of the environment stays in use.", environment.version()),
            None => "The installed packages stay in use.".to_owned(),
        };
        let (problem, hint) = error.split_once("\nhint: ").unwrap_or((error, ""));
        let hint = if hint.is_empty() { String::new() } else { format!("\nHint: {hint}.") };
        format!("The Python environment cannot be brought up to date with {url}: {problem}.\n{stays}{hint}")
    }

    /// Shows among the import errors what is wrong, unless it is shown there.
    async fn show(&mut self) {
        let Some(Shown { url, text }) = self.unshown.take() else { return };
        let pool = self.database.pool();
        let mut shown = bundle_snapshot::set_failure(pool, DEFAULT_BUNDLE, &url, &text).await;
        self.may_be_shown = true;
        // One thing at a time is wrong.
        for other in self.builder.options().urls().iter().filter(|other| **other != url) {
            shown = shown.and(bundle_snapshot::clear_failure(pool, DEFAULT_BUNDLE, other).await);
        }
        if let Err(error) = shown {
            tracing::error!(%error, "the failure cannot be shown among the import errors");
            self.unshown = Some(Shown { url, text });
        }
    }
}
