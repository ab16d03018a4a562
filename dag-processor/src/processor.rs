//! The Dag processor: looks at the bundles, keeps children busy, and keeps the rows of Dags true.

use std::collections::{HashMap, HashSet};
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::Utc;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tradewind_airflow::config::{Config, ConfigError};
use tradewind_airflow::secrets_masker::SecretsMasker;
use tradewind_bundle::configuration::Place;
use tradewind_bundle::health::BundleHealth;
use tradewind_bundle::provider::SnapshotProvider;
use tradewind_metadata::job::{Job as ComponentJob, JobType};
use tradewind_metadata::parse_result::{self, Schedule, request};
use tradewind_metadata::{Database, MetadataError, dag_bundle};
use tradewind_remote_log::{self as remote_log, Kind, Shipping};
use tradewind_supervisor::evaluator::{self, Evaluator, service};
use tradewind_supervisor::pyhost::PyHost;
use tradewind_supervisor::requests::{Answers, SetUpError};

use crate::bundle::DagBundle;
use crate::connection_test;
use crate::deadline_callback::{self, Caller};
use crate::deadline_request::{self, Evaluation};
use crate::environment::{self, Places};
use crate::file_parse::{End, FileParser, Finished, Job, bundle_version};
use crate::metric;
use crate::options::Options;
use crate::parse::Parser;
use crate::queue::{FileKey, FileQueue, Verdict};
use crate::snapshots::Snapshots;
use crate::watch::{BundleNews, BundleWatch, LOOK_INTERVAL};

/// How often the database is asked whether anybody wants a file parsed or a callback run.
const REQUEST_INTERVAL: Duration = Duration::from_secs(2);

/// Dags whose rows are refreshed in one transaction.
const REFRESH_BATCH: usize = 500;

/// How long the ends of logs may take to be sent.
const LOG_TIMEOUT: Duration = Duration::from_secs(2);

/// Why there can be no Dag processor.
#[derive(Debug, thiserror::Error)]
pub enum DagProcessorError {
    /// A setting is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Requests of Dag files cannot be answered.
    #[error(transparent)]
    SetUp(#[from] SetUpError),
    /// The database refused.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
}

/// What parsing everything once gave.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Files parsed.
    pub files: usize,
    /// Dags in them.
    pub dags: usize,
    /// Files or Dags with an error.
    pub import_errors: usize,
}

/// A Dag processor.
#[derive(Debug, Clone)]
pub struct DagProcessor {
    database: Database,
    options: Arc<Options>,
    parser: FileParser,
    bundle_health: BundleHealth,
    environments: Option<watch::Receiver<Places>>,
}

impl DagProcessor {
    /// A processor that has its files parsed by `host`.
    ///
    /// # Errors
    /// When a setting is wrong.
    pub fn new(database: Database, host: PyHost, config: &Config, options: Options) -> Result<Self, DagProcessorError> {
        let evaluator = Evaluator::sharing(host.clone(), evaluator::Options::from_config(config)?);
        let parser = FileParser {
            database: database.clone(),
            snapshots: Arc::new(SnapshotProvider::from_config(config, database.clone())?),
            evaluator,
            parser: Parser {
                answers: Answers::new(database.clone(), config)?.with_interpreter(&host, config)?,
                host,
                masker: SecretsMasker::from_config(config)?,
                timeout: options.file_timeout,
                log_directory: options.log_directory.clone(),
                shipping: remote_log::group(config, Kind::DagProcessing)?.map(Shipping::to_group),
            },
            defaults: options.defaults.clone(),
            write: options.write.clone(),
        };
        Ok(Self {
            database,
            options: Arc::new(options),
            parser,
            bundle_health: BundleHealth::default(),
            environments: None,
        })
    }

    /// The same, in an environment that changes while it runs: this tells where packages and plugins are from then on.
    #[must_use]
    pub fn with_environments(self, environments: watch::Receiver<Places>) -> Self {
        Self { environments: Some(environments), ..self }
    }

    /// How the bundles in S3 are, now and later.
    #[must_use]
    pub fn bundle_health(&self) -> BundleHealth {
        self.bundle_health.clone()
    }

    /// Sends what is left of the logs of files to where they go besides files, for a while. Nothing is parsed any more.
    pub async fn send_logs(&self) {
        if let Some(shipping) = &self.parser.parser.shipping {
            shipping.stop(LOG_TIMEOUT).await;
        }
    }

    /// Parses until `shutdown`. Trouble with the database or with files is logged and does not end it.
    ///
    /// # Errors
    /// When the processor cannot register in the database at its start.
    pub async fn run(&self, shutdown: CancellationToken) -> Result<(), DagProcessorError> {
        self.sync_bundles().await?;
        let host = host_name();
        let job = ComponentJob::start(self.database.pool(), JobType::DagProcessor, &host, &user_name()).await?;
        let fernet = Arc::clone(&self.options.write.fernet);
        let tests = self.options.connection_tests.map(|options| {
            let evaluator = self.parser.evaluator.clone();
            tokio::spawn(connection_test::serve(self.database.clone(), evaluator, Arc::clone(&fernet), options))
        });
        let deadlines = tokio::spawn(deadline_request::serve(self.deadline_evaluation()));
        let callbacks = tokio::spawn(deadline_callback::serve(self.deadline_caller(), shutdown.clone()));
        let questions = service::serve(self.database.clone(), self.parser.evaluator.clone(), fernet, shutdown.clone());
        let questions = tokio::spawn(questions);
        let mut environments = self.environments.clone();
        let places = environments.as_mut().map(|it| it.borrow_and_update().clone());
        let mut published = self.publish(places.unwrap_or_else(|| self.options.places.clone()));
        let mut work = Work::new(self.clone(), host);
        let options = Arc::clone(&self.options);
        let mut snapshots = Snapshots::keep(options, &self.database, &self.bundle_health, &shutdown).await;
        let mut tick = interval(LOOK_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                _ = tick.tick() => work.tick(job, &snapshots).await,
                Some(finished) = work.parses.join_next_with_id() => work.take_finished(finished),
                Some(bundle) = snapshots.next() => {
                    work.take_bundle(bundle);
                    work.tick(job, &snapshots).await;
                }
                Some(places) = next_environment(&mut environments) => {
                    published.abort();
                    published = self.publish(places);
                    work.parse_all(Instant::now());
                }
            }
            work.start_parses(Instant::now());
        }
        work.stop().await;
        published.abort();
        tests.inspect(JoinHandle::abort);
        deadlines.abort();
        callbacks.await.ok();
        questions.await.ok();
        let mut connection = self.database.pool().acquire().await.map_err(MetadataError::from)?;
        job.end(&mut connection).await?;
        Ok(())
    }

    /// Parses every file of every bundle once.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn parse_once(&self) -> Result<Summary, DagProcessorError> {
        self.sync_bundles().await?;
        let mut work = Work::new(self.clone(), host_name());
        for bundle in Snapshots::once(&self.options, &self.database, &self.bundle_health).await {
            work.take_bundle(bundle);
        }
        work.look().await?;
        let due = Instant::now();
        let mut summary = Summary::default();
        work.start_parses(due);
        while let Some(finished) = work.parses.join_next_with_id().await {
            if let Ok((_, Finished { end: End::Written { last, .. }, .. })) = &finished {
                summary.files += 1;
                summary.dags += last.dags;
                summary.import_errors += last.import_errors;
            }
            work.take_finished(finished);
            work.start_parses(due);
        }
        work.clean_up().await?;
        Ok(summary)
    }

    /// Has it published what only Python knows of packages and plugins.
    fn publish(&self, places: Places) -> JoinHandle<()> {
        tokio::spawn(environment::publish(self.database.clone(), self.parser.evaluator.clone(), places))
    }

    /// What makes deadlines that need plugins or secrets.
    fn deadline_evaluation(&self) -> Evaluation {
        Evaluation {
            database: self.database.clone(),
            answers: self.parser.parser.answers.clone(),
            evaluator: self.parser.evaluator.clone(),
            bundles: self.bundle_names(),
        }
    }

    /// What calls the callbacks of missed deadlines.
    fn deadline_caller(&self) -> Caller {
        let Parser { host, answers, masker, .. } = self.parser.parser.clone();
        Caller {
            database: self.database.clone(),
            host,
            answers,
            masker,
            snapshots: Arc::clone(&self.parser.snapshots),
            bundles: self.options.bundles.clone().into(),
            options: self.options.deadline_callbacks.clone(),
            most: self.options.parsing_processes,
        }
    }

    async fn sync_bundles(&self) -> Result<(), MetadataError> {
        let removed = dag_bundle::sync(self.database.pool(), &self.bundle_names()).await?;
        for name in removed {
            tracing::warn!(bundle = name, "Dag bundle is no longer configured; its Dags become stale");
        }
        Ok(())
    }

    fn bundle_names(&self) -> Vec<String> {
        self.options.bundles.iter().map(|bundle| bundle.name.clone()).collect()
    }
}

/// Everything that changes while the processor runs.
struct Work {
    processor: DagProcessor,
    /// Bundles whose folder is known; one in S3 is not before its first snapshot is there.
    watches: Vec<BundleWatch>,
    queue: FileQueue,
    parses: JoinSet<Finished>,
    /// Which file a task of `parses` is about, for one that breaks off.
    running: HashMap<Id, FileKey>,
    cancels: HashMap<FileKey, CancellationToken>,
    callbacks: HashMap<FileKey, Vec<Value>>,
    /// What the last parse of each file gave.
    schedules: HashMap<FileKey, Vec<Schedule>>,
    round_started: Option<Instant>,
    next_requests: Instant,
    next_heartbeat: Instant,
    next_clean_up: Instant,
}

impl Work {
    fn new(processor: DagProcessor, host: String) -> Self {
        let options = &processor.options;
        let now = Instant::now();
        let folders = options.bundles.iter().filter_map(|bundle| match &bundle.place {
            Place::Folder(path) => Some(DagBundle {
                name: bundle.name.clone(),
                path: path.clone(),
                refresh_interval: bundle.refresh_interval,
                origin: None,
            }),
            Place::S3(_) => None,
        });
        Self {
            watches: folders.map(|bundle| BundleWatch::new(bundle, options.discovery)).collect(),
            queue: FileQueue::new(options.sort_mode.clone(), options.pace, host),
            parses: JoinSet::new(),
            running: HashMap::new(),
            cancels: HashMap::new(),
            callbacks: HashMap::new(),
            schedules: HashMap::new(),
            round_started: None,
            next_requests: now,
            next_heartbeat: now + options.heartbeat_interval,
            next_clean_up: now + options.cleanup_interval,
            processor,
        }
    }

    /// Has every file parsed at once: what it imports may be another.
    fn parse_all(&mut self, now: Instant) {
        for bundle in self.processor.bundle_names() {
            self.queue.parse_all(&bundle, now);
        }
        for key in self.running.values() {
            self.queue.push_front(key.clone());
        }
    }

    /// Goes on with a bundle in a new snapshot.
    fn take_bundle(&mut self, bundle: DagBundle) {
        match self.watches.iter_mut().find(|watch| watch.bundle().name == bundle.name) {
            Some(watch) => watch.replace(bundle),
            None => self.watches.push(BundleWatch::new(bundle, self.processor.options.discovery)),
        }
    }

    /// What has to be done from time to time.
    async fn tick(&mut self, job: ComponentJob, snapshots: &Snapshots) {
        let done = async {
            self.look().await?;
            self.refresh_quiet().await?;
            let now = Instant::now();
            if now >= self.next_requests {
                self.next_requests = now + REQUEST_INTERVAL;
                self.take_requests(snapshots).await?;
            }
            if now >= self.next_heartbeat {
                self.next_heartbeat = now + self.processor.options.heartbeat_interval;
                job.heartbeat(self.processor.database.pool()).await?;
                metric::heartbeat();
            }
            if now >= self.next_clean_up {
                self.next_clean_up = now + self.processor.options.cleanup_interval;
                self.clean_up().await?;
            }
            Ok::<_, MetadataError>(())
        };
        if let Err(error) = done.await {
            tracing::error!(%error, "Dag processor: trying again in a moment");
        }
    }

    /// Looks for new, changed and removed files.
    async fn look(&mut self) -> Result<(), MetadataError> {
        let bundles: Vec<DagBundle> = self.watches.iter().map(|watch| watch.bundle().clone()).collect();
        let mut watches = mem::take(&mut self.watches);
        let looked = tokio::task::spawn_blocking(move || {
            let now = Instant::now();
            let news: Vec<BundleNews> = watches.iter_mut().filter_map(|watch| watch.look(now)).collect();
            (watches, news)
        });
        let news = match looked.await {
            Ok((watches, news)) => {
                self.watches = watches;
                news
            }
            Err(error) => {
                tracing::error!(%error, "looking at the bundles failed; they are searched again");
                let rules = self.processor.options.discovery;
                self.watches = bundles.into_iter().map(|bundle| BundleWatch::new(bundle, rules)).collect();
                return Ok(());
            }
        };
        for news in news {
            self.take_news(news).await?;
        }
        Ok(())
    }

    async fn take_news(&mut self, news: BundleNews) -> Result<(), MetadataError> {
        for gone in self.queue.set_files(&news.bundle, &news.dag_files, Instant::now()) {
            self.schedules.remove(&gone);
            if let Some(cancel) = self.cancels.remove(&gone) {
                cancel.cancel();
            }
        }
        // A run goes on with the version that its Dag was last parsed in.
        if news.others_changed && news.is_new_version {
            self.queue.parse_all(&news.bundle, Instant::now());
        } else if news.others_changed || news.is_new_version {
            self.queue.hurry(&news.bundle);
        }
        let pool = self.processor.database.pool();
        if news.is_refresh || news.files_gone {
            let retired = parse_result::retire_removed(pool, &news.bundle, &news.filelocs).await?;
            if !retired.is_empty() {
                tracing::info!(bundle = news.bundle, dags = ?retired, "Dags whose file is gone became stale");
            }
            parse_result::clear_orphaned_import_errors(pool, &news.bundle, &news.filelocs).await?;
        }
        if news.is_refresh {
            dag_bundle::set_refreshed(pool, &news.bundle, Utc::now()).await?;
        }
        Ok(())
    }

    /// Takes what others asked for: files to parse at once, callbacks to run.
    async fn take_requests(&mut self, snapshots: &Snapshots) -> Result<(), MetadataError> {
        let names = self.processor.bundle_names();
        let pool = self.processor.database.pool().clone();
        let (parsing_requests, callbacks) = request::any(&pool, &names).await?;
        if parsing_requests {
            for asked in request::take_parsing_requests(&pool, &names).await? {
                if let Some(watch) = self.watches.iter_mut().find(|watch| watch.bundle().name == asked.bundle_name) {
                    watch.request_refresh();
                }
                snapshots.look_at(&asked.bundle_name);
                if let Some(key) = self.known_file(&asked.bundle_name, &asked.relative_fileloc) {
                    self.queue.push_front(key);
                }
            }
        }
        if callbacks {
            for asked in request::take_callbacks(&pool, &names, self.processor.options.max_callbacks).await? {
                let Some(key) = self.known_file(&asked.bundle_name, &asked.relative_fileloc) else {
                    tracing::error!(
                        bundle = asked.bundle_name,
                        file = asked.relative_fileloc,
                        "a callback is dropped, because the file of its Dag is gone"
                    );
                    continue;
                };
                metric::callback_queued();
                self.callbacks.entry(key.clone()).or_default().push(asked.request);
                self.queue.push_front(key);
            }
        }
        Ok(())
    }

    /// The file that a Dag comes from; for one in an archive the archive.
    fn known_file(&self, bundle: &str, relative_fileloc: &str) -> Option<FileKey> {
        let path = std::path::Path::new(relative_fileloc);
        path.ancestors()
            .map(|path| FileKey { bundle: bundle.to_owned(), path: path.to_owned() })
            .find(|key| self.queue.knows(key))
    }

    /// Does for Dags of files that are not parsed now what parsing them would do.
    async fn refresh_quiet(&mut self) -> Result<(), MetadataError> {
        let quiet = self.queue.take_quiet(Instant::now());
        let schedules: Vec<(&FileKey, &Schedule)> = quiet
            .iter()
            .flat_map(|key| self.schedules.get(key).into_iter().flatten().map(move |schedule| (key, schedule)))
            .collect();
        let mut missing = HashSet::new();
        for batch in schedules.chunks(REFRESH_BATCH) {
            let dags: Vec<Schedule> = batch.iter().map(|(_, schedule)| (*schedule).clone()).collect();
            let gone = parse_result::refresh(self.processor.database.pool(), &dags).await?;
            let files = batch.iter().filter(|(_, schedule)| gone.contains(&schedule.dag_id)).map(|(key, _)| *key);
            missing.extend(files.cloned());
        }
        for key in missing {
            self.queue.push_front(key);
        }
        Ok(())
    }

    /// Retires Dags that nobody defines any more.
    async fn clean_up(&mut self) -> Result<(), MetadataError> {
        let parsed: Vec<_> = self
            .queue
            .parsed()
            .map(|(key, last)| (key.bundle.clone(), key.path.to_string_lossy().into_owned(), last.finished))
            .collect();
        let pool = self.processor.database.pool();
        let retired = parse_result::retire_unseen(pool, &parsed, self.processor.options.stale_dag_threshold).await?;
        if !retired.is_empty() {
            tracing::info!(dags = ?retired, "Dags that their files no longer hold became stale");
        }
        parse_result::purge_warnings_of_stale_dags(pool).await
    }

    /// Starts parsing as many files as may be parsed at once.
    fn start_parses(&mut self, now: Instant) {
        while self.parses.len() < self.processor.options.parsing_processes {
            let Some(key) = self.queue.start_next(now) else { break };
            let Some(bundle) = self.bundle(&key) else { continue };
            self.round_started.get_or_insert(now);
            metric::parse_started(&key, self.queue.len());
            let cancelled = CancellationToken::new();
            self.cancels.insert(key.clone(), cancelled.clone());
            let job = Job {
                callbacks: self.take_callbacks(&key),
                known: self.schedules.get(&key).into_iter().flatten().map(|dag| dag.dag_id.clone()).collect(),
                bundle,
                cancelled,
                key,
            };
            let file = job.key.clone();
            let task = self.parses.spawn(self.processor.parser.clone().run(job));
            self.running.insert(task.id(), file);
        }
    }

    /// The callbacks of a file that run in one version of its bundle; the others come after them.
    fn take_callbacks(&mut self, key: &FileKey) -> Vec<Value> {
        let Some(mut callbacks) = self.callbacks.remove(key) else { return Vec::new() };
        let version = callbacks.first().and_then(bundle_version).map(str::to_owned);
        let others =
            callbacks.extract_if(.., |callback| bundle_version(callback) != version.as_deref()).collect::<Vec<_>>();
        if !others.is_empty() {
            self.callbacks.insert(key.clone(), others);
            self.queue.push_front(key.clone());
        }
        callbacks
    }

    fn bundle(&self, key: &FileKey) -> Option<DagBundle> {
        let mut bundles = self.watches.iter().map(BundleWatch::bundle);
        bundles.find(|bundle| bundle.name == key.bundle).cloned()
    }

    fn take_finished(&mut self, finished: Result<(Id, Finished), JoinError>) {
        let (key, duration, timed_out, end) = match finished {
            Ok((id, finished)) => {
                self.running.remove(&id);
                (finished.key, finished.duration, finished.timed_out, finished.end)
            }
            Err(error) => {
                let Some(key) = self.running.remove(&error.id()) else { return };
                tracing::error!(file = %key.path.display(), %error, "a parse broke off");
                (key, Duration::ZERO, false, End::GivenUp)
            }
        };
        self.cancels.remove(&key);
        metric::parse_ended(&key, duration, timed_out);
        let now = Instant::now();
        match end {
            End::Callbacks => {
                metric::callbacks_ran();
                self.queue.finish_callbacks(&key);
            }
            End::GivenUp => self.queue.finish(&key, Verdict::Unsettled, None, now),
            End::Written { verdict, last, schedules } => {
                tracing::debug!(file = %key.path.display(), dags = last.dags, ?verdict, ?duration, "parsed");
                if self.queue.knows(&key) {
                    self.schedules.insert(key.clone(), schedules);
                }
                self.queue.finish(&key, verdict, Some(last), now);
            }
        }
        if self.parses.is_empty()
            && self.queue.is_empty()
            && let Some(started) = self.round_started.take()
        {
            metric::round_ended(started.elapsed(), &self.queue);
        }
    }

    /// Kills the children and waits for their end.
    async fn stop(&mut self) {
        self.cancels.values().for_each(CancellationToken::cancel);
        let ended =
            tokio::time::timeout(Duration::from_secs(8), async { while self.parses.join_next().await.is_some() {} });
        if ended.await.is_err() {
            self.parses.abort_all();
        }
    }
}

/// The next environment; `None` when there will be none.
async fn next_environment(environments: &mut Option<watch::Receiver<Places>>) -> Option<Places> {
    let receiver = environments.as_mut()?;
    if receiver.changed().await.is_ok() {
        return Some(receiver.borrow_and_update().clone());
    }
    *environments = None;
    None
}

fn host_name() -> String {
    hostname::get().map_or_else(|_| "localhost".to_owned(), |name| name.to_string_lossy().into_owned())
}

fn user_name() -> String {
    let uid = nix::unistd::Uid::current();
    nix::unistd::User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name)
}
