//! That the emulator serves what the clients of Rust's SDK ask of it.
#![forbid(unsafe_code)]

use aws_sdk_cloudwatch::types::{MetricDatum, StandardUnit};
use serde_json::json;
use tradewind_aws::s3::{Bucket, S3Error, Wanted};
use tradewind_tests::aws::AwsEmulator;
use tradewind_tests::s3::TestBucket;

#[tokio::test]
async fn objects_are_listed_and_fetched_by_version() {
    let emulator = AwsEmulator::start();
    let versioned = TestBucket::create(&emulator, "versioned").await.with_versions().await;
    let first = versioned.put("dags/a b+ü.py", "1").await;
    versioned.put("dags/a b+ü.py", "22").await;
    versioned.put("other", "").await;
    versioned.put("odd/+ %\u{1}", "").await;
    let bucket = Bucket::new(&emulator.account().await, "versioned");
    assert!(bucket.keeps_versions().await.expect("an answer"));
    let listed = bucket.list("dags/").await.expect("a listing");
    assert_eq!(
        listed.iter().map(|object| (object.key.as_str(), object.size)).collect::<Vec<_>>(),
        [("dags/a b+ü.py", 2)]
    );

    assert_eq!(bucket.list("odd/").await.expect("a listing")[0].key, "odd/+ %\u{1}");

    let folder = tempfile::tempdir().expect("a folder");
    let newest = Wanted { key: "dags/a b+ü.py", etag: &listed[0].etag, size: 2, version_id: None };
    let version = bucket.fetch(newest, &folder.path().join("new")).await.expect("the newest");
    assert_eq!(std::fs::read(folder.path().join("new")).expect("a file"), b"22");
    // MD5 of "1".
    let old = Wanted { etag: "c4ca4238a0b923820dcc509a6f75849b", size: 1, version_id: first.as_deref(), ..newest };
    bucket.fetch(old, &folder.path().join("old")).await.expect("the old version");
    assert_eq!(std::fs::read(folder.path().join("old")).expect("a file"), b"1");
    assert!(version.is_some() && version != first);
}

#[tokio::test]
async fn a_listing_may_have_several_pages() {
    let emulator = AwsEmulator::start();
    let large = TestBucket::create(&emulator, "large").await;
    for number in 0..1001 {
        large.put(&format!("{number:04}"), "").await;
    }
    let listed = Bucket::new(&emulator.account().await, "large").list("").await.expect("a listing");
    assert_eq!((listed.len(), listed[1000].key.as_str()), (1001, "1000"));
}

#[tokio::test]
async fn what_s3_refuses_is_told_apart() {
    let emulator = AwsEmulator::start();
    let unversioned = TestBucket::create(&emulator, "unversioned").await;
    unversioned.put("k", "12345").await;
    let bucket = Bucket::new(&emulator.account().await, "unversioned");
    assert!(!bucket.keeps_versions().await.expect("an answer"));
    let folder = tempfile::tempdir().expect("a folder");
    let etag = bucket.list("").await.expect("a listing")[0].etag.clone();
    let wanted = Wanted { key: "k", etag: &etag, size: 5, version_id: None };

    let missing = Bucket::new(&emulator.account().await, "missing").list("").await;
    assert!(matches!(missing, Err(S3Error::NoBucket { .. })), "{missing:?}");
    for changed in [Wanted { etag: "other", ..wanted }, Wanted { key: "gone", ..wanted }] {
        let error = bucket.fetch(changed, &folder.path().join("changed")).await;
        assert!(matches!(error, Err(S3Error::Changed { .. })), "{error:?}");
    }
    let error = bucket.fetch(Wanted { size: 6, ..wanted }, &folder.path().join("longer")).await;
    assert!(matches!(error, Err(S3Error::Incomplete { announced: 6, came: 5, .. })), "{error:?}");
    emulator.set_faults(&json!([{"path": "/unversioned/k", "bytes": 2}])).await;
    let error = bucket.fetch(wanted, &folder.path().join("cut")).await;
    assert!(matches!(error, Err(S3Error::BrokeOff { .. })), "{error:?}");
    emulator.set_faults(&json!([{"path": "/unversioned", "status": 403, "code": "AccessDenied"}])).await;
    let error = bucket.list("").await.expect_err("a refusal");
    assert!(
        error.to_string().starts_with("s3:ListBucket on bucket \"unversioned\" was refused (AccessDenied)"),
        "{error}"
    );
}

/// CloudWatch's clients speak CBOR alone, which moto does not.
#[tokio::test]
async fn metrics_are_published_and_read() {
    let emulator = AwsEmulator::start();
    let client = aws_sdk_cloudwatch::Client::new(emulator.account().await.config());
    let datum = MetricDatum::builder().metric_name("depth").unit(StandardUnit::Count).value(2.5).build();
    client.put_metric_data().namespace("Tests").metric_data(datum).send().await.expect("published");
    let listed = client.list_metrics().namespace("Tests").send().await.expect("a list");
    assert_eq!(listed.metrics().iter().map(|metric| metric.metric_name()).collect::<Vec<_>>(), [Some("depth")]);
    let error = client.get_dashboard().dashboard_name("none").send().await.expect_err("there is none");
    assert!(error.into_service_error().is_dashboard_not_found_error());
}

#[tokio::test]
async fn protection_of_ecs_tasks_is_answered() {
    let emulator = AwsEmulator::start();
    let client = aws_sdk_ecs::Client::new(emulator.account().await.config());
    client.create_cluster().cluster_name("fleet").send().await.expect("a cluster");
    let protect = client.update_task_protection().cluster("fleet").tasks("arn:none").protection_enabled(true);
    let protected = protect.send().await.expect("an answer");
    assert_eq!(protected.failures()[0].reason(), Some("MISSING"));
    let asked = client.get_task_protection().cluster("fleet").send().await.expect("an answer");
    assert!(asked.protected_tasks().is_empty());
}
