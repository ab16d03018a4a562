//! Rows of `dag_version`, `serialized_dag` and `dag_code`: what a Dag looked like when its runs were made.
//!
//! The rules are those of `SerializedDagModel.write_dag`: an unchanged Dag writes nothing; a changed one makes a new
//! version, unless no task instance belongs to the newest version, which then takes the change.

use std::collections::{BTreeMap, HashMap};
use std::io::Write as _;

use chrono::{DateTime, Utc};
use flate2::Compression;
use flate2::write::ZlibEncoder;
use md5::{Digest, Md5};
use serde_json::Value;
use sqlx::{PgConnection, query};
use tradewind_airflow::serialized_dag;
use uuid::Uuid;

use super::deadline_alert::{self, DeadlineAlert};
use super::facts::{DagFacts, LatestVersion};
use super::{ParsedDag, ParsedFile, WriteOptions};
use crate::Result;

/// What writing the versions did.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) changed: Vec<String>,
    pub(super) postponed: Option<DateTime<Utc>>,
    /// Dags that could not be written: file and text of the import error.
    pub(super) errors: BTreeMap<String, String>,
}

/// A Dag whose serialisation is to be stored.
struct Change<'a> {
    dag: &'a ParsedDag,
    data: Value,
    hash: String,
    /// Alerts to store with it, in place of those of the row it replaces.
    alerts: Vec<DeadlineAlert>,
    source_code: &'a str,
    target: Target,
}

enum Target {
    /// A version after the newest.
    NewVersion { number: i32 },
    /// The newest version, which no task instance has seen.
    Latest(Uuid),
    /// Nothing but the code, or the version of the bundle, changed.
    CodeOnly,
}

/// Writes what changed.
pub(super) async fn write(
    connection: &mut PgConnection,
    file: &ParsedFile,
    facts: &HashMap<String, DagFacts>,
    options: &WriteOptions,
    now: DateTime<Utc>,
) -> Result<Written> {
    let mut written = Written::default();
    let mut changes = Vec::new();
    for dag in &file.dags {
        let facts = &facts[dag.dag_id()];
        let source_code = match &dag.source_code {
            Ok(source_code) => source_code,
            Err(error) => {
                written.errors.insert(error_path(file, dag), error.clone());
                continue;
            }
        };
        if !facts.is_active {
            written.changed.push(dag.dag_id().to_owned());
        }
        if let Some(change) = plan(connection, file, dag, source_code, facts, options, now, &mut written).await? {
            if !matches!(change.target, Target::CodeOnly) && facts.is_active {
                written.changed.push(dag.dag_id().to_owned());
            }
            changes.push(change);
        }
    }
    store_versions(connection, file, &changes, options, now).await?;
    store_code(connection, &changes, facts, now).await?;
    Ok(written)
}

fn error_path(file: &ParsedFile, dag: &ParsedDag) -> String {
    dag.relative_fileloc.clone().unwrap_or_else(|| file.relative_fileloc.clone())
}

#[expect(clippy::too_many_arguments, reason = "one decision over all that is known of a Dag")]
async fn plan<'a>(
    connection: &mut PgConnection,
    file: &ParsedFile,
    dag: &'a ParsedDag,
    source_code: &'a str,
    facts: &DagFacts,
    options: &WriteOptions,
    now: DateTime<Utc>,
    written: &mut Written,
) -> Result<Option<Change<'a>>> {
    let code_only = || {
        let target = Target::CodeOnly;
        Some(Change { dag, data: Value::Null, hash: String::new(), alerts: Vec::new(), source_code, target })
    };
    let mut data = dag.data.clone();
    let resolved = deadline_alert::resolve(connection, dag, &mut data).await?;
    let hash = serialized_dag::dag_hash(&data);
    let same_content = facts.serialized.as_ref().is_some_and(|(stored, _)| *stored == hash);
    let same_bundle =
        facts.version.as_ref().is_some_and(|version| version.bundle_name.as_deref() == Some(&file.bundle_name));
    if same_content && same_bundle {
        refresh_bundle_version(connection, file, facts.version.as_ref(), now).await?;
        return Ok(code_only());
    }
    if let Some((_, last_updated)) = &facts.serialized
        && now - options.min_update_interval < *last_updated
    {
        let writable = *last_updated + options.min_update_interval;
        written.postponed = Some(written.postponed.map_or(writable, |earlier| earlier.min(writable)));
        return Ok(code_only());
    }
    let target = match &facts.version {
        Some(version) if !version.is_used && facts.serialized.is_some() => Target::Latest(version.id),
        Some(version) if !version.is_used => return Ok(None),
        Some(version) => Target::NewVersion { number: version.number + 1 },
        None => Target::NewVersion { number: 1 },
    };
    let (alerts, hash) = resolved.for_target(matches!(target, Target::NewVersion { .. }), &mut data, hash);
    Ok(Some(Change { dag, data, hash, alerts, source_code, target }))
}

/// An unchanged Dag of a bundle that moved on: tasks take their code from the version the row names.
async fn refresh_bundle_version(
    connection: &mut PgConnection,
    file: &ParsedFile,
    version: Option<&LatestVersion>,
    now: DateTime<Utc>,
) -> Result<()> {
    let Some(version) = version.filter(|version| version.bundle_version != file.bundle_version) else {
        return Ok(());
    };
    query("UPDATE dag_version SET bundle_version = $2, last_updated = $3 WHERE id = $1")
        .bind(version.id)
        .bind(&file.bundle_version)
        .bind(now)
        .execute(connection)
        .await?;
    Ok(())
}

/// The columns of the rows to write, one element a Dag.
#[derive(Default)]
struct Columns<'a> {
    versions: Vec<Uuid>,
    numbers: Vec<i32>,
    serialized: Vec<Uuid>,
    dag_ids: Vec<&'a str>,
    data: Vec<Option<&'a Value>>,
    compressed: Vec<Option<Vec<u8>>>,
    hashes: Vec<&'a str>,
}

impl<'a> Columns<'a> {
    fn push(&mut self, change: &'a Change<'_>, version: Uuid, number: i32, compress: bool) {
        self.versions.push(version);
        self.numbers.push(number);
        self.serialized.push(Uuid::now_v7());
        self.dag_ids.push(change.dag.dag_id());
        self.data.push((!compress).then_some(&change.data));
        self.compressed.push(compress.then(|| compressed(&change.data)));
        self.hashes.push(&change.hash);
    }
}

/// `zlib.compress` of the JSON text.
fn compressed(data: &Value) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    let written = encoder.write_all(data.to_string().as_bytes()).and_then(|()| encoder.try_finish());
    debug_assert!(written.is_ok(), "writing into memory does not fail");
    encoder.get_ref().clone()
}

async fn store_versions(
    connection: &mut PgConnection,
    file: &ParsedFile,
    changes: &[Change<'_>],
    options: &WriteOptions,
    now: DateTime<Utc>,
) -> Result<()> {
    let (mut new, mut latest) = (Columns::default(), Columns::default());
    for change in changes {
        match change.target {
            Target::NewVersion { number } => new.push(change, Uuid::now_v7(), number, options.compress),
            Target::Latest(version) => latest.push(change, version, 0, options.compress),
            Target::CodeOnly => {}
        }
    }
    for (statement, columns) in [
        (include_str!("../../queries/parse_result/insert_versions.sql"), new),
        (include_str!("../../queries/parse_result/update_latest_versions.sql"), latest),
    ] {
        if columns.versions.is_empty() {
            continue;
        }
        query(statement)
            .bind(columns.versions)
            .bind(columns.numbers)
            .bind(columns.serialized)
            .bind(&columns.dag_ids)
            .bind(columns.data)
            .bind(columns.compressed)
            .bind(columns.hashes)
            .bind(&file.bundle_name)
            .bind(&file.bundle_version)
            .bind(now)
            .execute(&mut *connection)
            .await?;
    }
    deadline_alert::store(connection, changes.iter().map(|change| (change.dag.dag_id(), &change.alerts[..])), now).await
}

/// Stores the code of new versions, and of old ones whose file changed without changing the Dag (a comment, say).
async fn store_code(
    connection: &mut PgConnection,
    changes: &[Change<'_>],
    facts: &HashMap<String, DagFacts>,
    now: DateTime<Utc>,
) -> Result<()> {
    let (mut ids, mut dag_ids, mut filelocs, mut sources, mut hashes) = (vec![], vec![], vec![], vec![], vec![]);
    for change in changes {
        let hash = source_hash(change.source_code);
        let is_new = matches!(change.target, Target::NewVersion { .. });
        if is_new || facts[change.dag.dag_id()].code_hash.as_ref().is_some_and(|stored| *stored != hash) {
            ids.push(Uuid::now_v7());
            dag_ids.push(change.dag.dag_id());
            filelocs.push(change.dag.fileloc.as_str());
            sources.push(change.source_code);
            hashes.push(hash);
        }
    }
    if ids.is_empty() {
        return Ok(());
    }
    query(include_str!("../../queries/parse_result/upsert_dag_code.sql"))
        .bind(ids)
        .bind(dag_ids)
        .bind(filelocs)
        .bind(sources)
        .bind(hashes)
        .bind(now)
        .execute(connection)
        .await?;
    Ok(())
}

/// `DagCode.dag_source_hash`.
fn source_hash(source_code: &str) -> String {
    Md5::digest(source_code.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}
