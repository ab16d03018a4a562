//! Replays what the partition mappers of official Airflow answer (`tests/conformance/partition_mappers`).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};
use tradewind_model::partition::{Mapped, PartitionError, PartitionMapper, Satisfaction};
use tradewind_model::timetable::{Timetable, resolve_partition_date};

#[derive(Deserialize)]
struct Recorded {
    mapper: Value,
    is_rollup: bool,
    downstream: BTreeMap<String, Value>,
    upstream: BTreeMap<String, Value>,
    dates: BTreeMap<String, Value>,
}

/// An answer in the recorder's form. Which exception an error is, is Python's affair.
fn answer<T>(found: Result<T, PartitionError>, form: impl FnOnce(T) -> Value) -> Value {
    found.map_or_else(|error| json!(format!("error: {error}")), form)
}

fn differs(expected: &Value, found: &Value) -> bool {
    let is_error = |value: &Value| value.as_str().is_some_and(|text| text.starts_with("error: "));
    if is_error(expected) { !is_error(found) } else { expected != found }
}

#[test]
fn answers_are_those_of_official_airflow() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/conformance/partition_mappers/answers.json");
    let recorded: Vec<Recorded> = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let (mut compared, mut wrong) = (0, Vec::new());
    for entry in &recorded {
        let mapper = PartitionMapper::from_serialized(&entry.mapper).unwrap();
        assert_eq!(mapper.is_rollup(), entry.is_rollup);
        let mut compare = |what: &str, key: &str, expected: &Value, found: Value| {
            compared += 1;
            if differs(expected, &found) {
                wrong.push(format!("{what} of {key:?} by {}: {found} instead of {expected}", entry.mapper));
            }
        };
        for (key, expected) in &entry.downstream {
            let found = answer(mapper.to_downstream(key), |mapped| match mapped {
                Mapped::One(key) => json!(key),
                Mapped::Many(keys) => json!(keys),
            });
            compare("downstream", key, expected, found);
        }
        for (key, expected) in &entry.upstream {
            compare("upstream", key, expected, answer(mapper.to_upstream(key), |keys| json!(keys)));
        }
        for (key, expected) in &entry.dates {
            let found = answer(mapper.to_partition_date(key), |date| {
                json!(date.map(|date| date.format("%Y-%m-%dT%H:%M:%S%:z").to_string()))
            });
            compare("date", key, expected, found);
        }
    }
    assert!(compared > 5000, "only {compared} answers were compared");
    assert!(wrong.is_empty(), "{} of {compared} differ:\n{}", wrong.len(), wrong[..wrong.len().min(25)].join("\n"));
}

fn mapper(class: &str, arguments: Value) -> Value {
    json!({"__type": format!("airflow.partition_mappers.{class}"), "__var": arguments})
}

fn temporal(class: &str) -> Value {
    let output = match class {
        "Hour" => "%Y-%m-%dT%H",
        "Day" => "%Y-%m-%d",
        "Week" => "%Y-%m-%d (W%V)",
        "Month" => "%Y-%m",
        "Quarter" => "%Y-Q{quarter}",
        _ => "%Y",
    };
    let arguments = json!({"timezone": "UTC", "input_format": "%Y-%m-%dT%H:%M", "output_format": output});
    mapper(&format!("temporal.StartOf{class}Mapper"), arguments)
}

/// Every calendar period with the window of its parts.
fn rollup() -> impl Strategy<Value = PartitionMapper> {
    let period = prop::sample::select(vec!["Hour", "Day", "Week", "Month", "Quarter", "Year"]);
    let policy = prop_oneof![
        Just(mapper("wait_policy.WaitForAll", json!({}))),
        (1_i64..80).prop_map(|n| mapper("wait_policy.MinimumCount", json!({ "n": n }))),
        (-80_i64..0).prop_map(|n| mapper("wait_policy.MinimumCount", json!({ "n": n }))),
    ];
    (period, policy).prop_map(|(period, policy)| {
        let window = mapper(&format!("window.{period}Window"), json!({"direction": "forward"}));
        let arguments = json!({"upstream_mapper": temporal(period), "window": window, "wait_policy": policy});
        PartitionMapper::from_serialized(&mapper("base.RollupMapper", arguments)).expect("a mapper")
    })
}

fn moment() -> impl Strategy<Value = String> {
    (1900_u32..2200, 1_u32..=12, 1_u32..=28, 0_u32..24, 0_u32..60)
        .prop_map(|(year, month, day, hour, minute)| format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}"))
}

proptest! {
    /// Every part of a period leads back to the period: `key in to_upstream(D)` means `to_downstream(key) == D`.
    #[test]
    fn the_parts_of_a_period_are_mapped_to_it(mapper in rollup(), moment in moment()) {
        let Mapped::One(period) = mapper.to_downstream(&moment).unwrap() else { panic!("one period") };
        let parts = mapper.to_upstream(&period).unwrap();
        prop_assert!(!parts.is_empty());
        for part in &parts {
            prop_assert_eq!(mapper.to_downstream(part).unwrap(), Mapped::One(period.clone()));
        }
        let begins = mapper.to_partition_date(&period).unwrap().unwrap().format("%Y-%m-%dT%H:%M").to_string();
        prop_assert_eq!(parts.first(), Some(&begins));
    }

    /// More keys never make a partition that has enough wait again; all keys are enough, or nothing ever is.
    #[test]
    fn more_keys_are_never_worse(mapper in rollup(), moment in moment(), pick in prop::collection::vec(any::<bool>(), 60)) {
        let Mapped::One(period) = mapper.to_downstream(&moment).unwrap() else { panic!("one period") };
        let parts = mapper.to_upstream(&period).unwrap();
        let some: BTreeSet<String> = parts.iter().zip(&pick).filter(|(_, pick)| **pick).map(|(part, _)| part.clone()).collect();
        let with_some = mapper.satisfaction(&period, &some).unwrap();
        let with_all = mapper.satisfaction(&period, &parts).unwrap();
        match with_some {
            Satisfaction::Satisfied => prop_assert_eq!(with_all, Satisfaction::Satisfied),
            Satisfaction::Waiting => prop_assert_eq!(with_all, Satisfaction::Satisfied),
            Satisfaction::Unreachable { .. } => prop_assert_eq!(with_all, with_some),
        }
        // Keys of other periods count for nothing.
        let strangers = BTreeSet::from(["1800-01-01T00:00".to_owned()]);
        prop_assert_eq!(mapper.satisfaction(&period, &strangers).unwrap(), mapper.satisfaction(&period, &BTreeSet::new()).unwrap());
    }

    /// No text and no format makes a mapper panic.
    #[test]
    fn any_key_is_answered(key in "\\PC{0,30}", format in "[%a-zA-Z{}\\-: ]{0,12}") {
        for period in ["Hour", "Day", "Week", "Month", "Quarter", "Year"] {
            let arguments = json!({"timezone": "Europe/Berlin", "input_format": format, "output_format": format});
            if let Ok(mapper) = PartitionMapper::from_serialized(&mapper(&format!("temporal.StartOf{period}Mapper"), arguments)) {
                let _ = (mapper.to_downstream(&key), mapper.to_partition_date(&key));
            }
        }
    }
}

/// The date that a schedule reads from a key, or what it has against it.
fn resolved(class: &str, arguments: Value, key: &str) -> Result<Option<String>, String> {
    let serialized = json!({"__type": class, "__var": arguments});
    let timetable = Timetable::from_serialized(&serialized).expect("a timetable");
    let date = resolve_partition_date(&timetable, &serialized["__var"], key);
    date.map(|date| date.map(|date| date.to_rfc3339())).map_err(|error| error.to_string())
}

#[test]
fn keys_of_partitions_are_read_as_dates_by_the_clock_of_the_schedule() {
    let class = "airflow.timetables.trigger.CronPartitionTimetable";
    let of_berlin = |key_format: &str| {
        json!({"expression": "0 0 * * *", "timezone": "Europe/Berlin", "run_immediately": false, "run_offset": -1,
            "key_format": key_format})
    };
    let day = |key| resolved(class, of_berlin("%Y-%m-%d"), key);
    assert_eq!(day("2026-01-02"), Ok(Some("2026-01-01T23:00:00+00:00".to_owned())));
    assert_eq!(day("2026-07-02"), Ok(Some("2026-07-01T22:00:00+00:00".to_owned())));
    assert!(
        day("2026-07").is_err_and(|error| error.contains("does not match the timetable's key_format '%Y-%m-%d': "))
    );
    let with_offset = resolved(class, of_berlin("%Y-%m-%dT%H:%M%z"), "2026-01-02T00:00+0900");
    assert_eq!(
        with_offset,
        Err("ValueError: make_aware expects a naive datetime, got 2026-01-02 00:00:00+09:00".to_owned())
    );
}

#[test]
fn mappers_that_disagree_about_a_key_leave_it_without_a_date() {
    let asset = |name: &str| json!({"__type": "asset", "name": name, "uri": name, "group": "asset", "extra": {}});
    let mapper = |zone: &str| {
        json!({"__type": "airflow.partition_mappers.temporal.StartOfDayMapper",
            "__var": {"timezone": zone, "input_format": "%Y-%m-%d", "output_format": "%Y-%m-%d"}})
    };
    let date = |second: &str, key: &str| {
        let arguments = json!({
            "asset_condition": {"__type": "asset_all", "objects": [asset("a"), asset("b")]},
            "partition_mapper_config": [[asset("a"), mapper("UTC")], [asset("b"), mapper(second)]],
            "default_partition_mapper": {"__type": "airflow.partition_mappers.identity.IdentityMapper", "__var": {}},
        });
        resolved("airflow.timetables.simple.PartitionedAssetTimetable", arguments, key)
    };
    assert_eq!(date("UTC", "2026-01-02"), Ok(Some("2026-01-02T00:00:00+00:00".to_owned())));
    assert_eq!(date("Asia/Tokyo", "2026-01-02"), Ok(None));
    assert!(date("UTC", "x").is_err_and(|error| error.contains("is invalid for this timetable's mappers: ")));
}
