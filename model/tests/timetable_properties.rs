//! Properties of timetables that hold for any schedule (invariant I8).

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use serde_json::{Value, json};
use tradewind_model::timetable::{
    AutomatedRun, DagRunInfo, DateRange, TimeRestriction, Timetable, TimetableError, next_run,
};

const ZONES: [&str; 7] = [
    "UTC",
    "America/New_York",
    "Europe/Berlin",
    "Australia/Sydney",
    "Australia/Lord_Howe",
    "America/Sao_Paulo",
    "Asia/Kathmandu",
];

fn cron_expression() -> impl Strategy<Value = String> {
    let minute = prop::sample::select(vec!["*", "0", "30", "*/15", "0,45", "59"]);
    let hour = prop::sample::select(vec!["*", "0", "1", "2", "3", "*/2", "1-3", "22-2", "*/6"]);
    let days = prop::sample::select(vec![
        ("*", "*"),
        ("1", "*"),
        ("31", "*"),
        ("L", "*"),
        ("15W", "*"),
        ("*", "1-5"),
        ("*", "MON#1"),
        ("*", "L5"),
        ("1-7", "SUN"),
        ("*/2", "5#3"),
    ]);
    let month = prop::sample::select(vec!["*", "*/3", "jan,jul", "NOV-FEB"]);
    (minute, hour, days, month).prop_map(|(minute, hour, (month_day, week_day), month)| {
        format!("{minute} {hour} {month_day} {month} {week_day}")
    })
}

fn delta() -> impl Strategy<Value = Value> {
    prop_oneof![
        (1_u32..2_000_000).prop_map(|seconds| json!(seconds)),
        (1_u32..15).prop_map(|months| json!({ "months": months })),
        (1_u32..40, 0_u32..7).prop_map(|(days, weekday)| json!({ "days": days, "weekday": [weekday] })),
    ]
}

fn serialized() -> impl Strategy<Value = Value> {
    let zone = prop::sample::select(ZONES.to_vec());
    let cron = (cron_expression(), zone, prop::bool::ANY).prop_map(|(expression, timezone, interval)| {
        if interval {
            json!({
                "__type": "airflow.timetables.interval.CronDataIntervalTimetable",
                "__var": { "expression": expression, "timezone": timezone },
            })
        } else {
            json!({
                "__type": "airflow.timetables.trigger.CronTriggerTimetable",
                "__var": { "expression": expression, "timezone": timezone, "interval": 0.0, "run_immediately": false },
            })
        }
    });
    let delta = (delta(), prop::bool::ANY).prop_map(|(delta, interval)| {
        let class = if interval { "interval.DeltaDataIntervalTimetable" } else { "trigger.DeltaTriggerTimetable" };
        json!({ "__type": format!("airflow.timetables.{class}"), "__var": { "delta": delta, "interval": 3600.0 } })
    });
    prop_oneof![3 => cron, 1 => delta]
}

/// Any instant of the years 2015 to 2035, on a quarter of an hour.
fn instant() -> impl Strategy<Value = DateTime<Utc>> {
    (1_600_000_i64..2_300_000)
        .prop_map(|quarter| DateTime::from_timestamp(quarter * 900, 0).expect("inside the calendar"))
}

fn automated(info: &DagRunInfo) -> AutomatedRun {
    AutomatedRun {
        run_after: info.run_after,
        data_interval: info.data_interval,
        partition_key: info.partition_key.clone(),
    }
}

proptest! {
    /// I8: run after run, time advances, and no empty interval comes twice.
    #[test]
    fn a_catch_up_strictly_increases(serialized in serialized(), start in instant()) {
        check_catch_up(&serialized, start);
    }

    /// Without catch-up, a scheduler that looks late and irregularly never repeats a run or goes back.
    #[test]
    fn without_catch_up_time_never_goes_back(
        serialized in serialized(),
        start in instant(),
        pauses in prop::collection::vec(1_i64..200_000, 1..12),
    ) {
        let timetable = Timetable::from_serialized(&serialized).expect("a timetable");
        let restriction = TimeRestriction { earliest: Some(start), latest: None, catchup: false };
        let (mut now, mut last): (_, Option<DagRunInfo>) = (start, None);
        for pause in pauses {
            now += TimeDelta::seconds(pause);
            let next = match next_run(&timetable, restriction, last.as_ref().map(automated).as_ref(), now) {
                Ok(next) => next.expect("a run"),
                // Every minute of some months only: across a change of the clock the last occurrence is off
                // by an hour, which official Airflow refuses as well.
                Err(TimetableError::NoAdvance { .. }) => break,
                Err(error) => panic!("{error}"),
            };
            if let Some(last) = last {
                prop_assert!(next.run_after > last.run_after, "{last:?} is followed by {next:?}");
            }
            last = Some(next);
        }
    }

    /// No run starts after the end date.
    #[test]
    fn the_end_date_holds(serialized in serialized(), start in instant(), days in 0_i64..400, catchup: bool) {
        let timetable = Timetable::from_serialized(&serialized).expect("a timetable");
        let end = start + TimeDelta::days(days);
        let restriction = TimeRestriction { earliest: Some(start), latest: Some(end), catchup };
        let now = start + TimeDelta::days(days / 2);
        if let Ok(Some(next)) = next_run(&timetable, restriction, None, now) {
            prop_assert!(next.logical_date() <= Some(end));
        }
    }
}

fn check_catch_up(serialized: &Value, start: DateTime<Utc>) {
    let timetable = Timetable::from_serialized(serialized).expect("a timetable");
    let restriction = TimeRestriction { earliest: Some(start), latest: None, catchup: true };
    let mut last: Option<DagRunInfo> = None;
    for _ in 0..25 {
        let next = next_run(&timetable, restriction, last.as_ref().map(automated).as_ref(), start);
        let next = next.expect("an answer").expect("a run");
        let interval = next.data_interval.expect("an interval");
        assert!(next.run_after >= start);
        assert!(interval.start <= interval.end);
        if let Some(last) = last {
            assert!(next.run_after > last.run_after, "{last:?} is followed by {next:?}");
            assert!(next.logical_date() > last.logical_date(), "{last:?} is followed by {next:?}");
        }
        last = Some(next);
    }
}

/// Months apart, with a change of the clocks in between: where Airflow gives up.
#[test]
fn a_schedule_of_every_hour_on_rare_days_goes_on() {
    let serialized = json!({
        "__type": "airflow.timetables.interval.CronDataIntervalTimetable",
        "__var": { "expression": "0 * 1 jan,jul *", "timezone": "Australia/Sydney" },
    });
    check_catch_up(&serialized, at("2029-07-01T13:00:00Z"));
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("a time")
}

/// Facts of `SerializedDAG._time_restriction`.
#[test]
fn tasks_widen_the_bounds_of_their_dag() {
    let january = Some(at("2025-01-01T00:00:00Z"));
    let june = Some(at("2025-06-01T00:00:00Z"));
    let december = Some(at("2025-12-01T00:00:00Z"));
    let bounds = |dag, tasks: &[DateRange]| {
        let restriction = TimeRestriction::of_dag(dag, true, tasks.iter().copied());
        (restriction.earliest, restriction.latest)
    };
    let range = |start, end| DateRange { start, end };

    assert_eq!(bounds(range(june, None), &[]), (june, None));
    assert_eq!(bounds(range(june, june), &[range(january, december)]), (january, december));
    // A task without an end leaves the end to the Dag; one with the Dag's end does not shorten another's.
    assert_eq!(bounds(range(june, None), &[range(None, december), range(None, None)]), (june, None));
    assert_eq!(bounds(range(june, june), &[range(None, december), range(None, None)]), (june, december));
}

/// A class of a plugin is kept by name and asked in Python.
#[test]
fn a_plugin_timetable_is_not_evaluated_here() {
    let serialized = json!({ "__type": "workday.AfterWorkdayTimetable", "__var": {} });
    let timetable = Timetable::from_serialized(&serialized).expect("a timetable");
    assert_eq!(timetable.type_name(), "workday.AfterWorkdayTimetable");
    let error = timetable.infer_manual_data_interval(at("2025-01-01T00:00:00Z")).expect_err("Python only");
    assert!(error.to_string().contains("workday.AfterWorkdayTimetable"), "{error}");
}
