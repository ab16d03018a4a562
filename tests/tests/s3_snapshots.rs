//! Snapshots of a bucket, without Dags: what is fetched, what is shared, what is removed.
#![forbid(unsafe_code)]

use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use tempfile::TempDir;
use tradewind_airflow::config::{Config, Environment};
use tradewind_bundle::configuration::{Place, declared};
use tradewind_bundle::health::BundleHealth;
use tradewind_bundle::retention::Retention;
use tradewind_bundle::s3::S3Bundle;
use tradewind_bundle::store::{Snapshot, SnapshotStore};
use tradewind_metadata::dag_bundle;
use tradewind_metadata::testing::TestDatabase;
use tradewind_tests::aws::AwsEmulator;
use tradewind_tests::s3::TestBucket;

const BUNDLE: &str = "dags-folder";

/// Keeps nothing that is not needed.
const NONE: Retention = Retention { min_versions: 1, age_threshold: Duration::ZERO, interval: Duration::from_secs(1) };

#[tokio::test]
async fn only_what_has_changed_is_fetched() {
    let mut machine = Machine::new().await;
    let bucket = &machine.bucket;
    bucket.put("dags/same.py", "same").await;
    bucket.put("dags/team/changing.py", "old").await;
    bucket.put("dags/deleted.py", "").await;
    bucket.put("dags-of-others/x.py", "").await;
    let first = machine.bundle.sync().await.expect("a look").expect("a snapshot");
    assert!(machine.bundle.sync().await.expect("a look").is_none());

    machine.bucket.put("dags/team/changing.py", "new").await;
    machine.bucket.delete("dags/deleted.py").await;
    let second = machine.bundle.sync().await.expect("a look").expect("a snapshot");
    assert_eq!((read(&first, "team/changing.py"), read(&second, "team/changing.py")), ("old".into(), "new".into()));
    assert_eq!((inode(&first, "same.py"), mode(&second, "same.py")), (inode(&second, "same.py"), 0o444));
    assert!(first.path().join("deleted.py").exists() && !second.path().join("deleted.py").exists());

    // A state that was there before is the same version.
    machine.bucket.put("dags/team/changing.py", "old").await;
    machine.bucket.put("dags/deleted.py", "").await;
    let third = machine.bundle.sync().await.expect("a look").expect("a snapshot");
    assert_eq!((third.version(), third.path()), (first.version(), first.path()));
}

#[tokio::test]
async fn what_no_work_needs_is_removed() {
    let mut machine = Machine::new().await;
    let mut versions = Vec::new();
    for content in ["pinned", "named", "used", "old", "newest"] {
        machine.bucket.put("dags/a.py", content).await;
        versions.push(machine.bundle.sync().await.expect("a look").expect("a snapshot"));
    }
    let names: Vec<String> = versions.iter().map(|snapshot| snapshot.version().to_owned()).collect();
    let [pinned, named, used, old, newest] = &names[..] else { panic!("five versions") };
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!(
        "INSERT INTO dag (dag_id, is_paused, is_stale, bundle_name, bundle_version, timetable_type, max_active_tasks,
             max_active_runs, max_consecutive_failed_dag_runs, has_task_concurrency_limits, fail_fast, partition_mapper_info)
         VALUES ('a', false, false, '{BUNDLE}', '{named}', 'T', 16, 16, 0, false, false, '{{}}');
         INSERT INTO dag_run (dag_id, run_id, run_type, run_after, state, conf, bundle_version)
         VALUES ('a', 'pinned', 'manual', now(), 'running', '{{}}', '{pinned}')"
    )))
    .execute(machine.database.pool())
    .await
    .expect("rows");
    let still_used = machine.store.open(used).expect("an answer").expect("a snapshot");
    machine.bundle = machine.bundle_of().await;
    machine.bundle.take_up().await;
    drop(versions);

    NONE.remove_old(machine.database.database(), BUNDLE, &machine.store).await.expect("removed");
    assert_eq!(machine.versions(), sorted(&[pinned, named, used, newest]));
    drop(still_used);
    NONE.remove_old(machine.database.database(), BUNDLE, &machine.store).await.expect("removed");
    assert_eq!(machine.versions(), sorted(&[pinned, named, newest]));

    // A run that has ended needs no files, but may be cleared.
    sqlx::query("UPDATE dag_run SET state = 'success'").execute(machine.database.pool()).await.expect("a run");
    NONE.remove_old(machine.database.database(), BUNDLE, &machine.store).await.expect("removed");
    NONE.forget(machine.database.database(), BUNDLE).await.expect("forgotten");
    assert_eq!(machine.versions(), sorted(&[named, newest]));
    let known: Vec<String> = sqlx::query_scalar("SELECT version FROM tradewind.bundle_snapshot ORDER BY version")
        .fetch_all(machine.database.pool())
        .await
        .expect("versions");
    assert_eq!(known, sorted(&[pinned, named, newest]));
    assert!(!known.contains(old));
}

/// A Dag processor's view of a bucket.
struct Machine {
    aws: AwsEmulator,
    bucket: TestBucket,
    database: TestDatabase,
    storage: TempDir,
    store: SnapshotStore,
    bundle: S3Bundle,
}

impl Machine {
    async fn new() -> Self {
        let aws = AwsEmulator::start();
        let bucket = TestBucket::create(&aws, "bbb").await;
        let database = TestDatabase::migrated().await;
        dag_bundle::sync(database.pool(), &[BUNDLE.to_owned()]).await.expect("a bundle");
        let storage = tempfile::tempdir().expect("a folder");
        let store = SnapshotStore::new(storage.path(), BUNDLE);
        let bundle = bundle(&aws, &store, &database).await;
        Self { aws, bucket, database, storage, store, bundle }
    }

    /// The bundle as a new process sees it.
    async fn bundle_of(&self) -> S3Bundle {
        bundle(&self.aws, &self.store, &self.database).await
    }

    fn versions(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.storage.path().join(BUNDLE).join("versions")).expect("a folder");
        let mut names: Vec<_> =
            entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

async fn bundle(aws: &AwsEmulator, store: &SnapshotStore, database: &TestDatabase) -> S3Bundle {
    let environment = Environment::default()
        .with("AIRFLOW_HOME", "/nowhere")
        .with("AIRFLOW__TRADEWIND__SOURCE_BUCKET_ARN", "arn:aws:s3:::bbb");
    let config = Config::from_environment(&environment).expect("a configuration");
    let bundles = declared(&config).expect("a bundle");
    let Place::S3(place) = bundles[0].place.clone() else { panic!("not in S3") };
    let account = aws.account().await;
    S3Bundle::new(BUNDLE, place, &account, store.clone(), NONE, database.database().clone(), BundleHealth::default())
}

fn sorted(versions: &[&String]) -> Vec<String> {
    let mut versions: Vec<String> = versions.iter().map(|version| (*version).clone()).collect();
    versions.sort();
    versions
}

fn read(snapshot: &Snapshot, path: &str) -> String {
    std::fs::read_to_string(snapshot.path().join(path)).expect("a file")
}

fn inode(snapshot: &Snapshot, path: &str) -> u64 {
    std::fs::metadata(snapshot.path().join(path)).expect("a file").ino()
}

fn mode(snapshot: &Snapshot, path: &str) -> u32 {
    std::fs::metadata(snapshot.path().join(path)).expect("a file").mode() & 0o777
}
