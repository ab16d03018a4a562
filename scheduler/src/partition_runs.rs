//! Makes the Dag runs of partitions that have received all the asset events they need.
//!
//! An event of a partition adds itself to the partitions of the Dags that listen (`metadata::asset_partition`). Here each
//! of them that waits is asked whether it has enough; it then gets its one run.
//! Source: `SchedulerJobRunner._create_dagruns_for_partitioned_asset_dags`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use metrics::counter;
use serde_json::Value;
use sqlx::{FromRow, PgConnection, query, query_as};
use tradewind_airflow::evaluation::{PartitionState, PartitionStateAnswer};
use tradewind_metadata::{Database, MetadataError, Result, asset, dag_run, serialized_dag};
use tradewind_model::asset::{AssetCondition, AssetKey, KnownAssets};
use tradewind_model::dag::Dag;
use tradewind_model::partition::{AssetIdentity, PartitionError, PartitionMappers, Satisfaction};

use crate::asset_runs::{condition_of, new_run};
use crate::custom_partition::States;

/// Partitions looked at in one transaction. Who adds an event to one of them waits for its end.
const BATCH: i64 = 50;

/// Looks at waiting partitions; one per scheduler.
#[derive(Debug)]
pub(crate) struct PartitionRuns {
    pub(crate) database: Database,
    pub(crate) dags: serialized_dag::Cache,
    pub(crate) job_id: i32,
    /// What mappers of plugins say.
    states: States,
    /// Dags and assets that an operator was told about: their partitions can never have enough.
    told: Mutex<BTreeSet<(String, AssetKey)>>,
}

#[derive(FromRow)]
struct Waiting {
    id: i32,
    target_dag_id: String,
    partition_key: String,
    partition_date: Option<DateTime<Utc>>,
    rollup_fingerprint: Option<Value>,
    created_at: DateTime<Utc>,
}

/// Per asset the partitions of the events that arrived.
type Received = BTreeMap<AssetKey, BTreeSet<String>>;

/// What mappers of plugins say of a partition, per asset that has one.
type OfPlugins = BTreeMap<AssetKey, PartitionStateAnswer>;

/// What decides about the partitions of a Dag.
struct Schedule {
    dag: Arc<Dag>,
    condition: AssetCondition,
    mappers: Option<PartitionMappers>,
    known: KnownAssets,
}

impl PartitionRuns {
    pub(crate) fn new(database: Database, dags: serialized_dag::Cache, job_id: i32, states: States) -> Self {
        Self { database, dags, job_id, states, told: Mutex::default() }
    }

    /// Makes the runs of partitions that have what they need, of the Dags given or of any. Returns how many were made.
    pub(crate) async fn create(&self, of: Option<&BTreeSet<String>>, now: DateTime<Utc>) -> Result<usize> {
        let of: Option<Vec<&String>> = of.map(|dag_ids| dag_ids.iter().collect());
        if of.as_ref().is_some_and(Vec::is_empty) {
            return Ok(0);
        }
        let (mut made, mut from) = (0, (DateTime::<Utc>::UNIX_EPOCH, 0));
        loop {
            let mut transaction = self.database.pool().begin().await?;
            let waiting: Vec<Waiting> = query_as(include_str!("../queries/pending_partitions.sql"))
                .bind(&of)
                .bind(from.0)
                .bind(from.1)
                .bind(BATCH)
                .fetch_all(&mut *transaction)
                .await?;
            let Some(last) = waiting.last() else { break };
            from = (last.created_at, last.id);
            let is_last = waiting.len() < usize::try_from(BATCH).unwrap_or(usize::MAX);
            made += self.create_of(&mut transaction, waiting, of.is_none(), now).await?;
            transaction.commit().await?;
            if is_last {
                break;
            }
        }
        self.states.ask();
        Ok(made)
    }

    async fn create_of(
        &self,
        connection: &mut PgConnection,
        waiting: Vec<Waiting>,
        is_sweep: bool,
        now: DateTime<Utc>,
    ) -> Result<usize> {
        let schedules = self.schedules(connection, &waiting).await?;
        let (waiting, outdated): (Vec<_>, Vec<_>) = waiting
            .into_iter()
            .filter(|partition| schedules.contains_key(&partition.target_dag_id))
            .partition(|partition| schedules[&partition.target_dag_id].is_of_today(partition));
        forget(connection, &outdated).await?;
        let mut received = received(connection, &waiting).await?;
        let mut made = 0;
        for partition in waiting {
            let schedule = &schedules[&partition.target_dag_id];
            let received = received.remove(&partition.id).unwrap_or_default();
            let Some(of_plugins) = self.of_plugins(schedule, &partition, &received, is_sweep) else { continue };
            if self.has_enough(schedule, &partition, &received, &of_plugins) {
                let date = schedule.date_of(&partition, &received, &of_plugins);
                self.create_run(connection, schedule, &partition, date, now).await?;
                self.states.forget(&partition.target_dag_id, &partition.partition_key);
                made += 1;
            }
        }
        Ok(made)
    }

    async fn schedules(&self, connection: &mut PgConnection, waiting: &[Waiting]) -> Result<HashMap<String, Schedule>> {
        let mut schedules = HashMap::new();
        let dag_ids: BTreeSet<&str> = waiting.iter().map(|partition| partition.target_dag_id.as_str()).collect();
        for dag_id in dag_ids {
            let dag = match self.dags.latest(connection, dag_id).await {
                Ok(Some(dag)) => dag,
                Ok(None) => {
                    tracing::error!(dag_id, "a partition waits for a Dag that was never serialized");
                    continue;
                }
                Err(error @ MetadataError::Database(_)) => return Err(error),
                Err(error) => {
                    tracing::error!(dag_id, %error, "a partition waits for a Dag that cannot be read");
                    continue;
                }
            };
            let Some(condition) = condition_of(&dag) else { continue };
            let spec = &dag.settings.timetable;
            let mappers = if spec.type_name.ends_with(".PartitionedAssetTimetable") {
                match PartitionMappers::from_serialized(&spec.vars) {
                    Ok(mappers) => Some(mappers),
                    Err(error) => {
                        tracing::error!(dag_id, %error, "the partition mappers cannot be read");
                        continue;
                    }
                }
            } else {
                None
            };
            let known = asset::known(connection, std::iter::once(&condition)).await?;
            schedules.insert(dag_id.to_owned(), Schedule { dag, condition, mappers, known });
        }
        Ok(schedules)
    }

    /// What mappers of plugins say of the partition; `None` while one of them has still to be asked.
    fn of_plugins(
        &self,
        schedule: &Schedule,
        partition: &Waiting,
        received: &Received,
        is_sweep: bool,
    ) -> Option<OfPlugins> {
        let Some(mappers) = &schedule.mappers else { return Some(OfPlugins::new()) };
        let key = &partition.partition_key;
        let mut answers = Some(OfPlugins::new());
        for (asset, keys) in received {
            let identity = AssetIdentity::Asset(&asset.name, &asset.uri);
            let mapper = mappers.of(identity);
            if !is_foreign(&mapper.satisfaction(key, keys)) && !is_foreign(&mapper.to_partition_date(key)) {
                continue;
            }
            let asked = PartitionState {
                mapper: mappers.form_of(identity).clone(),
                partition_key: key.clone(),
                received: keys.clone(),
            };
            // All are asked for at once.
            answers = match (answers, self.states.take(&partition.target_dag_id, asked, is_sweep)) {
                (Some(mut answers), Some(answer)) => {
                    answers.insert(asset.clone(), answer);
                    Some(answers)
                }
                _ => None,
            };
        }
        answers
    }

    fn has_enough(
        &self,
        schedule: &Schedule,
        partition: &Waiting,
        received: &Received,
        of_plugins: &OfPlugins,
    ) -> bool {
        let mut satisfied = BTreeSet::new();
        for (asset, keys) in received {
            if self.is_satisfied(schedule, partition, (asset, keys), of_plugins) {
                satisfied.insert(asset.clone());
            }
        }
        schedule.condition.is_fulfilled(&satisfied, &schedule.known)
    }

    fn is_satisfied(
        &self,
        schedule: &Schedule,
        partition: &Waiting,
        (asset, keys): (&AssetKey, &BTreeSet<String>),
        of_plugins: &OfPlugins,
    ) -> bool {
        let Some(mappers) = &schedule.mappers else { return true };
        let (dag_id, key) = (&partition.target_dag_id, &partition.partition_key);
        let own = mappers.of(AssetIdentity::Asset(&asset.name, &asset.uri)).satisfaction(key, keys);
        let said = match own {
            Err(PartitionError::Foreign { .. }) => of_plugins.get(asset).map_or(own, satisfaction),
            own => own,
        };
        match said {
            Ok(Satisfaction::Satisfied) => true,
            Ok(Satisfaction::Waiting) => false,
            Ok(Satisfaction::Unreachable { reason }) => {
                let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
                if told.insert((dag_id.clone(), asset.clone())) {
                    tracing::warn!(dag_id, asset = asset.name, reason, "partitions can never have what they wait for");
                }
                false
            }
            Err(error) => {
                tracing::error!(
                    dag_id, partition_key = key, asset = asset.name, %error,
                    "it cannot be said whether a partition has what it waits for; check the Dag's partition mapper"
                );
                false
            }
        }
    }

    async fn create_run(
        &self,
        connection: &mut PgConnection,
        schedule: &Schedule,
        partition: &Waiting,
        date: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) -> Result<()> {
        let run = new_run(now, self.job_id, Some((partition.partition_key.clone(), date)));
        let created = dag_run::create(connection, &schedule.dag, &run, now).await?;
        query(include_str!("../queries/close_partition.sql"))
            .bind(partition.id)
            .bind(created.id)
            .bind(now)
            .execute(connection)
            .await?;
        counter!("asset.triggered_dagruns").increment(1);
        let (dag_id, key) = (&partition.target_dag_id, &partition.partition_key);
        tracing::info!(dag_id, run_id = run.run_id, partition_key = key, "assets triggered a run of a partition");
        Ok(())
    }
}

impl Schedule {
    /// Whether a partition was queued under the mappers that the Dag still has.
    fn is_of_today(&self, partition: &Waiting) -> bool {
        let today = self
            .mappers
            .as_ref()
            .map_or_else(|| Value::Object(serde_json::Map::new()), |mappers| mappers.fingerprint(&self.condition));
        partition.rollup_fingerprint.as_ref() == Some(&today)
    }

    /// The date of a partition: by its key, else the one that its events brought along. When mappers fail or disagree,
    /// it has none.
    fn date_of(&self, partition: &Waiting, received: &Received, of_plugins: &OfPlugins) -> Option<DateTime<Utc>> {
        let mappers = self.mappers.as_ref()?;
        let assets = received.keys().map(|asset| AssetIdentity::Asset(&asset.name, &asset.uri));
        let of_plugin = |asset: AssetIdentity<'_>, foreign| {
            let said = of_plugins.iter().find(|(key, _)| AssetIdentity::Asset(&key.name, &key.uri) == asset);
            match said.ok_or(foreign)?.1 {
                PartitionStateAnswer { date_error: Some(error), .. } => Err(PartitionError::Python(error.to_string())),
                answer => Ok(answer.date),
            }
        };
        match mappers.partition_date(assets, &partition.partition_key, of_plugin) {
            Ok(date) => date.or(partition.partition_date),
            Err(error) => {
                let (dag_id, key) = (&partition.target_dag_id, &partition.partition_key);
                tracing::warn!(dag_id, partition_key = key, %error, "a partition gets no date");
                None
            }
        }
    }
}

fn is_foreign<T>(answer: &std::result::Result<T, PartitionError>) -> bool {
    matches!(answer, Err(PartitionError::Foreign { .. }))
}

/// What the mapper of a plugin says, as one of Airflow's own would.
fn satisfaction(answer: &PartitionStateAnswer) -> std::result::Result<Satisfaction, PartitionError> {
    match answer {
        PartitionStateAnswer { error: Some(error), .. } => Err(PartitionError::Python(error.to_string())),
        PartitionStateAnswer { unreachable: Some(reason), .. } => {
            Ok(Satisfaction::Unreachable { reason: reason.clone() })
        }
        PartitionStateAnswer { satisfied: true, .. } => Ok(Satisfaction::Satisfied),
        _ => Ok(Satisfaction::Waiting),
    }
}

/// Forgets partitions that were queued under mappers which the Dag no longer has.
async fn forget(connection: &mut PgConnection, outdated: &[Waiting]) -> Result<()> {
    if outdated.is_empty() {
        return Ok(());
    }
    let dag_ids: BTreeSet<&str> = outdated.iter().map(|partition| partition.target_dag_id.as_str()).collect();
    tracing::info!(
        ?dag_ids,
        partitions = outdated.len(),
        "waiting partitions were queued under other mappers: forgotten"
    );
    let ids: Vec<i32> = outdated.iter().map(|partition| partition.id).collect();
    query(include_str!("../queries/forget_partitions.sql")).bind(ids).execute(connection).await?;
    Ok(())
}

async fn received(connection: &mut PgConnection, waiting: &[Waiting]) -> Result<HashMap<i32, Received>> {
    let ids: Vec<i32> = waiting.iter().map(|partition| partition.id).collect();
    let rows: Vec<(i32, String, String, Vec<String>)> =
        query_as(include_str!("../queries/received_partitions.sql")).bind(ids).fetch_all(connection).await?;
    let mut received: HashMap<i32, Received> = HashMap::new();
    for (id, name, uri, keys) in rows {
        received.entry(id).or_default().insert(AssetKey { name, uri }, keys.into_iter().collect());
    }
    Ok(received)
}
