//! Replays the answers of official Airflow's timetables, recorded by `tests/conformance/timetables/record.py`.

use std::fs;
use std::path::Path;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tradewind_model::state::DagRunType;
use tradewind_model::timetable::cron::{CronError, CronExpression, CronSchedule, describe};
use tradewind_model::timetable::zone::Zone;
use tradewind_model::timetable::{DagRunInfo, DataInterval, RunIdParts, TimeRestriction, Timetable, TimetableError};

#[derive(Deserialize)]
struct Occurrences {
    expressions: Vec<String>,
    descriptions: Vec<String>,
    refused: Vec<String>,
    never: Vec<String>,
    zones: serde_json::Map<String, Value>,
}

#[derive(Deserialize)]
struct ZoneRecord {
    zone: Value,
    middle: f64,
    chains: Vec<(i64, String, String, i64, i64)>,
}

#[derive(Deserialize)]
struct Recorded {
    situations: Vec<(Option<f64>, Option<f64>, bool, f64)>,
    nows: Vec<f64>,
    run_types: Vec<DagRunType>,
    timetables: Vec<TimetableRecord>,
}

#[derive(Deserialize)]
struct TimetableRecord {
    timetable: Value,
    attributes: Value,
    runs: Vec<Vec<Value>>,
    after_older_schedule: Vec<Value>,
    manual: Vec<Value>,
    run_ids: Vec<Vec<String>>,
}

fn load<T: DeserializeOwned>(name: &str) -> T {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/conformance/timetables").join(name);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn instant(seconds: f64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros((seconds * 1e6).round() as i64).expect("a recorded time")
}

/// As the recorder's `stamp`: whole seconds are integers.
fn stamp(at: DateTime<Utc>) -> Value {
    let micros = at.timestamp_micros();
    if micros % 1_000_000 == 0 { json!(micros / 1_000_000) } else { json!(micros as f64 / 1e6) }
}

fn schedule(expression: &str, zone: &Value) -> CronSchedule {
    let zone = match zone {
        Value::String(name) => Zone::named(name),
        offset => Zone::fixed(offset.as_i64().expect("an offset") as i32),
    };
    let expression = CronExpression::parse(expression).unwrap_or_else(|error| panic!("{error}"));
    CronSchedule::new(expression, zone.expect("a known zone"))
}

/// Walks a recorded chain and compares every step.
fn follow(
    chain: &str,
    start: DateTime<Utc>,
    step: impl Fn(DateTime<Utc>) -> Result<DateTime<Utc>, CronError>,
    mismatches: &mut Vec<String>,
    label: &str,
) {
    let mut expected = start;
    for run in chain.split_whitespace() {
        if run == "!" {
            if let Ok(found) = step(expected) {
                mismatches.push(format!("{label}: after {expected} nothing was expected, not {found}"));
            }
            return;
        }
        let (distance, count) = run.split_once('*').unwrap_or((run, "1"));
        let distance: f64 = distance.parse().expect("a distance");
        for _ in 0..count.parse().expect("a count") {
            let previous = expected;
            expected += TimeDelta::microseconds((distance * 1e6).round() as i64);
            let found = step(previous);
            if found.as_ref() != Ok(&expected) {
                mismatches.push(format!("{label}: {previous} is followed by {expected}, not {found:?}"));
                return;
            }
        }
    }
}

fn assert_none(mismatches: &[String], compared: usize) {
    assert!(compared > 0, "nothing was compared");
    let shown = mismatches.iter().take(30).cloned().collect::<Vec<_>>().join("\n");
    assert!(mismatches.is_empty(), "{} of {compared} differ:\n{shown}", mismatches.len());
}

#[test]
fn cron_occurrences_agree_with_official_airflow() {
    let recorded: Occurrences = load("occurrences.json");
    let (mut mismatches, mut compared) = (Vec::new(), 0);
    for (name, record) in recorded.zones {
        let record: ZoneRecord = serde_json::from_value(record).expect("a record of a zone");
        let middle = instant(record.middle);
        for (expression, (lead, forwards, backwards, to_next, to_previous)) in
            recorded.expressions.iter().zip(record.chains)
        {
            let schedule = schedule(expression, &record.zone);
            let label = format!("{expression:?} in {name}");
            let lead = TimeDelta::seconds(lead);
            follow(&forwards, middle - lead, |at| schedule.next(at), &mut mismatches, &label);
            follow(&backwards, middle + lead, |at| schedule.previous(at), &mut mismatches, &label);
            compared += 4;
            let first = schedule.next(middle).expect("an occurrence");
            let aligned = schedule.align_to_next(first).expect("an occurrence") - first;
            if aligned.num_seconds() != to_next {
                mismatches.push(format!("{label}: {first} aligns to the next by {to_next} s, not {aligned}"));
            }
            let aligned = schedule.align_to_previous(middle).expect("an occurrence").timestamp();
            if aligned - middle.timestamp() != to_previous {
                mismatches.push(format!("{label}: {middle} aligns to the previous by {to_previous} s"));
            }
        }
    }
    assert_none(&mismatches, compared);
}

#[test]
fn cron_descriptions_agree_with_official_airflow() {
    let recorded: Occurrences = load("occurrences.json");
    let mismatches: Vec<String> = recorded
        .expressions
        .iter()
        .zip(&recorded.descriptions)
        .filter_map(|(expression, expected)| {
            let found = describe(&CronExpression::parse(expression).expect("an accepted expression"));
            (found != *expected).then(|| format!("{expression:?}: expected {expected:?}, got {found:?}"))
        })
        .collect();
    assert_none(&mismatches, recorded.expressions.len());
}

#[test]
fn cron_expressions_refused_by_official_airflow_are_refused() {
    let recorded: Occurrences = load("occurrences.json");
    let accepted: Vec<String> = recorded
        .refused
        .iter()
        .filter(|expression| CronExpression::parse(expression).is_ok())
        .map(|expression| format!("{expression:?} is accepted"))
        .collect();
    assert_none(&accepted, recorded.refused.len());
}

#[test]
fn cron_expressions_without_a_date_end_in_an_error() {
    let recorded: Occurrences = load("occurrences.json");
    let at = instant(1_741_478_400.0).naive_utc();
    for expression in recorded.never {
        let parsed = CronExpression::parse(&expression).expect("an accepted expression");
        assert_eq!(parsed.next_after(at), Err(CronError::NoOccurrence { expression, at }));
    }
}

fn answer(found: Result<Option<DagRunInfo>, TimetableError>) -> Value {
    match found {
        Err(_) => json!("error"),
        Ok(None) => Value::Null,
        Ok(Some(info)) => json!([
            stamp(info.run_after),
            info.data_interval.map(|interval| stamp(interval.start)),
            info.data_interval.map(|interval| stamp(interval.end)),
            info.partition_date.map(stamp),
            info.partition_key,
        ]),
    }
}

/// Run after run at a fixed time; an error or the end closes the list.
fn runs(timetable: &Timetable, restriction: TimeRestriction, now: DateTime<Utc>, length: usize) -> Vec<Value> {
    let mut found = Vec::new();
    let mut last = None;
    while found.len() < length {
        let next = timetable.next_dagrun_info(last.as_ref(), restriction, now);
        found.push(answer(next.clone()));
        match next {
            Ok(Some(info)) => last = Some(info),
            _ => break,
        }
    }
    found
}

fn situations(recorded: &Recorded) -> Vec<(TimeRestriction, DateTime<Utc>)> {
    let restriction = |(earliest, latest, catchup, now): &(Option<f64>, Option<f64>, bool, f64)| {
        let (earliest, latest) = (earliest.map(instant), latest.map(instant));
        (TimeRestriction { earliest, latest, catchup: *catchup }, instant(*now))
    };
    recorded.situations.iter().map(restriction).collect()
}

#[test]
fn next_runs_agree_with_official_airflow() {
    let recorded: Recorded = load("timetables.json");
    let situations = situations(&recorded);
    let (mut mismatches, mut compared) = (Vec::new(), 0);
    for record in &recorded.timetables {
        let timetable = Timetable::from_serialized(&record.timetable).expect("a timetable of Airflow's own");
        for ((restriction, now), expected) in situations.iter().zip(&record.runs) {
            let found = runs(&timetable, *restriction, *now, 3);
            compared += 1;
            if found != *expected {
                mismatches.push(format!(
                    "{} at {now} with {restriction:?}\n  expected {}\n  got      {}",
                    record.timetable,
                    json!(expected),
                    json!(found)
                ));
            }
        }
    }
    assert_none(&mismatches, compared);
}

#[test]
fn runs_after_a_change_of_schedule_agree_with_official_airflow() {
    let recorded: Recorded = load("timetables.json");
    let interval = DataInterval { start: instant(1_741_494_600.0), end: instant(1_741_498_200.0) };
    let last = DagRunInfo::interval(interval.start, interval.end);
    let (mut mismatches, mut compared) = (Vec::new(), 0);
    for record in &recorded.timetables {
        let timetable = Timetable::from_serialized(&record.timetable).expect("a timetable of Airflow's own");
        let every_third = situations(&recorded).into_iter().step_by(3);
        for ((restriction, now), expected) in every_third.zip(&record.after_older_schedule) {
            let found = answer(timetable.next_dagrun_info(Some(&last), restriction, now));
            compared += 1;
            if found != *expected {
                mismatches.push(format!(
                    "{} at {now} with {restriction:?}: expected {expected}, got {found}",
                    record.timetable
                ));
            }
        }
    }
    assert_none(&mismatches, compared);
}

#[test]
fn manual_data_intervals_and_run_ids_agree_with_official_airflow() {
    let recorded: Recorded = load("timetables.json");
    let (mut mismatches, mut compared) = (Vec::new(), 0);
    for record in &recorded.timetables {
        let timetable = Timetable::from_serialized(&record.timetable).expect("a timetable of Airflow's own");
        for (now, expected) in recorded.nows.iter().zip(&record.manual) {
            let found = match timetable.infer_manual_data_interval(instant(*now)) {
                Ok(interval) => json!([stamp(interval.start), stamp(interval.end)]),
                Err(_) => json!("error"),
            };
            compared += 1;
            if found != *expected {
                mismatches.push(format!("{} at {now}: expected {expected}, got {found}", record.timetable));
            }
        }
        for (now, expected) in recorded.nows.iter().zip(&record.run_ids) {
            let run_after = instant(*now);
            let ids = recorded.run_types.iter().map(|run_type| {
                let parts = RunIdParts { run_type: *run_type, run_after: &run_after, partition_key: None };
                timetable.generate_run_id(parts, || "aB3dE6gH".to_owned())
            });
            let ids: Vec<String> = ids.collect();
            compared += 1;
            if ids != *expected {
                mismatches.push(format!("{}: expected {expected:?}, got {ids:?}", record.timetable));
            }
        }
    }
    assert_none(&mismatches, compared);
}

#[test]
fn attributes_agree_with_official_airflow() {
    let recorded: Recorded = load("timetables.json");
    let mut mismatches = Vec::new();
    for record in &recorded.timetables {
        let timetable = Timetable::from_serialized(&record.timetable).expect("a timetable of Airflow's own");
        let found = json!({
            "type_name": timetable.type_name(),
            "summary": timetable.summary(),
            "description": timetable.description(),
            "periodic": timetable.periodic(),
            "can_be_scheduled": timetable.can_be_scheduled(),
            "active_runs_limit": timetable.active_runs_limit(),
            "partitioned": timetable.partitioned(),
            "run_ordering": timetable.run_ordering(),
        });
        if found != record.attributes {
            mismatches.push(format!("{}\n  expected {}\n  got      {found}", record.timetable, record.attributes));
        }
    }
    assert_none(&mismatches, recorded.timetables.len());
}
