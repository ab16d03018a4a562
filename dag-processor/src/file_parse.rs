//! One file from the queue to the database: parsed, written, judged.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::Utc;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tradewind_bundle::provider::SnapshotProvider;
use tradewind_metadata::parse_result::{self, ParsedDag, ParsedFile, Schedule, WriteOptions, WriteOutcome};
use tradewind_metadata::{Database, MetadataError};
use tradewind_supervisor::evaluator::Evaluator;

use crate::bundle::DagBundle;
use crate::custom_timetable;
use crate::parse::{Parse, Parser};
use crate::parsed_dag::DagDefaults;
use crate::parsing_result;
use crate::queue::{FileKey, LastParse, Verdict};

/// How often a write is tried again after a deadlock or a lost connection.
const WRITE_TRIES: u32 = 3;

/// What files are parsed and written with. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct FileParser {
    pub(crate) database: Database,
    pub(crate) parser: Parser,
    pub(crate) snapshots: Arc<SnapshotProvider>,
    pub(crate) evaluator: Evaluator,
    pub(crate) defaults: DagDefaults,
    pub(crate) write: WriteOptions,
}

/// A file to parse.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) key: FileKey,
    pub(crate) bundle: DagBundle,
    /// Callbacks to run instead of parsing, all in one version of the bundle.
    pub(crate) callbacks: Vec<Value>,
    /// The Dags that the file gave last time.
    pub(crate) known: HashSet<String>,
    pub(crate) cancelled: CancellationToken,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) key: FileKey,
    pub(crate) duration: Duration,
    pub(crate) timed_out: bool,
    pub(crate) end: End,
}

/// How a parse ended.
#[derive(Debug)]
pub(crate) enum End {
    /// Callbacks ran.
    Callbacks,
    /// The result is in the database.
    Written { verdict: Verdict, last: LastParse, schedules: Vec<Schedule> },
    /// Nothing came of it.
    GivenUp,
}

impl FileParser {
    /// Parses a file and writes what it gave.
    pub(crate) async fn run(self, job: Job) -> Finished {
        let started = Instant::now();
        let bundle = self.bundle_of(&job).await;
        let parse = self.parser.parse(&bundle, &job.key, job.callbacks, &job.cancelled).await;
        let finished = |end, timed_out| Finished { key: job.key.clone(), duration: started.elapsed(), timed_out, end };
        let parse = match parse {
            Ok(parse) => parse,
            Err(error) => {
                tracing::error!(file = %job.key.path.display(), %error, "the file cannot be parsed now");
                return finished(End::GivenUp, false);
            }
        };
        let Parse { result, asked, timed_out, duration } = parse;
        let Some(result) = result else {
            return finished(End::Callbacks, timed_out);
        };
        // The file is gone, or this process is about to end: what a killed child left unsaid is no error of the file.
        if job.cancelled.is_cancelled() {
            return finished(End::GivenUp, timed_out);
        }
        let mut file = match result {
            Ok(result) => parsing_result::read(result, &job.key, &bundle, duration, &self.defaults),
            Err(error) => parsing_result::failed(&job.key, &bundle, duration, error),
        };
        match self.store(&mut file).await {
            Ok(outcome) => {
                let verdict = verdict(&file, &outcome, asked, &job.known);
                let last =
                    LastParse { finished: Utc::now(), dags: file.dags.len(), import_errors: outcome.import_errors };
                let schedules = if outcome.import_errors == 0 { schedules(file.dags) } else { Vec::new() };
                finished(End::Written { verdict, last, schedules }, timed_out)
            }
            Err(error) => {
                tracing::error!(file = %job.key.path.display(), %error, "the result of parsing cannot be written");
                finished(End::GivenUp, timed_out)
            }
        }
    }

    /// The bundle to take the file from: callbacks run in the version that their run is pinned to. Where that cannot be had
    /// they run in the newest, so that somebody hears of the failure that they tell of.
    async fn bundle_of(&self, job: &Job) -> DagBundle {
        let pinned =
            job.callbacks.first().and_then(bundle_version).filter(|version| job.bundle.version() != Some(*version));
        let Some(version) = pinned.filter(|_| job.bundle.origin.is_some()) else { return job.bundle.clone() };
        match self.snapshots.provide(&job.bundle.name, Some(version)).await {
            Ok(Some(snapshot)) => job.bundle.clone().at(snapshot),
            Ok(None) => job.bundle.clone(),
            Err(error) => {
                tracing::warn!(file = %job.key.path.display(), %error, "callbacks run in the newest version of their bundle");
                job.bundle.clone()
            }
        }
    }

    /// Asks the plugins whose timetables are used, and writes all there is.
    async fn store(&self, file: &mut ParsedFile) -> Result<WriteOutcome, MetadataError> {
        custom_timetable::ask(&self.database, &self.evaluator, &mut file.dags).await?;
        self.write(file).await
    }

    async fn write(&self, file: &ParsedFile) -> Result<WriteOutcome, MetadataError> {
        let mut tries = 1;
        loop {
            match parse_result::write(self.database.pool(), file, &self.write).await {
                Err(error) if error.is_transient() && tries < WRITE_TRIES => {
                    tracing::warn!(file = file.relative_fileloc, %error, tries, "write failed, trying again");
                    tokio::time::sleep(Duration::from_millis(100) * tries).await;
                    tries += 1;
                }
                done => return done,
            }
        }
    }
}

/// The version of its bundle that a callback is to run in.
pub(crate) fn bundle_version(callback: &Value) -> Option<&str> {
    callback["bundle_version"].as_str().filter(|version| !version.is_empty())
}

fn schedules(dags: Vec<ParsedDag>) -> Vec<Schedule> {
    dags.into_iter().map(|dag| dag.schedule).collect()
}

/// A file is settled when the next parse can hardly give anything else: nothing new came, it asked nothing of the
/// database, no Dag of it has gone, no timetable of a plugin is used, which only a parse asks anew, and none of its assets
/// has watchers, which depend on Dags being paused.
fn verdict(file: &ParsedFile, outcome: &WriteOutcome, asked: bool, known: &HashSet<String>) -> Verdict {
    if let Some(writable) = outcome.postponed {
        let wait = (writable - Utc::now()).to_std().unwrap_or_default();
        return Verdict::Again(wait + Duration::from_millis(100));
    }
    let gone = known.iter().any(|known| !file.dags.iter().any(|dag| dag.dag_id() == known));
    let watched = file.dags.iter().flat_map(ParsedDag::assets).any(|asset| !asset.watchers.is_empty());
    let custom = file.dags.iter().any(|dag| custom_timetable::is_custom(&dag.schedule));
    if outcome.changed.is_empty() && outcome.import_errors == 0 && !asked && !gone && !custom && !watched {
        Verdict::Settled
    } else {
        Verdict::Unsettled
    }
}
