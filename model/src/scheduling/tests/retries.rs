use super::*;

/// What an attempt looks like, and how long Airflow waits after it.
struct Recorded {
    /// Microseconds of the logical date; `None` is no logical date.
    fraction: Option<i64>,
    tries: i32,
    /// Seconds.
    delay: f64,
    factor: f64,
    /// Seconds.
    longest: Option<i64>,
    /// Seconds.
    wait: f64,
}

const fn recorded(
    fraction: Option<i64>,
    tries: i32,
    delay: f64,
    factor: f64,
    longest: Option<i64>,
    wait: f64,
) -> Recorded {
    Recorded { fraction, tries, delay, factor, longest, wait }
}

/// Recorded from `TaskInstance.next_retry_datetime` of Airflow 3.3.2, for Dag `d` and task `t`.
const RECORDED: &[Recorded] = &[
    recorded(Some(0), 1, 300.0, 2.0, None, 453.0),
    recorded(Some(0), 2, 300.0, 2.0, None, 812.0),
    recorded(Some(0), 5, 300.0, 2.0, None, 4936.0),
    recorded(Some(0), 12, 300.0, 2.0, None, 86400.0),
    recorded(Some(0), 3, 0.4, 1.5, None, 1.0),
    recorded(Some(0), 4, 10.0, 3.0, Some(60), 60.0),
    recorded(Some(0), 4, 10.0, 3.0, Some(0), 496.0),
    recorded(Some(0), 2000, 10.0, 2.0, None, 86400.0),
    recorded(Some(0), 1, 7.5, 0.0, None, 7.5),
    recorded(Some(0), 3, 7.5, 1.0, None, 7.5),
    recorded(Some(0), 1, 0.0, 2.0, None, 1.0),
    recorded(Some(0), 3, 300.0, 0.5, None, 148.0),
    recorded(Some(1200), 1, 300.0, 2.0, None, 406.0),
    recorded(Some(1200), 5, 300.0, 2.0, None, 8449.0),
    recorded(Some(1200), 4, 10.0, 3.0, Some(0), 525.0),
    recorded(None, 1, 300.0, 2.0, None, 313.0),
    recorded(None, 5, 300.0, 2.0, None, 9062.0),
    recorded(None, 4, 10.0, 3.0, Some(0), 398.0),
];

#[test]
fn waits_are_those_of_airflow() {
    for &Recorded { fraction, tries, delay, factor, longest, wait } in RECORDED {
        let mut world = world("t", |task| {
            task.retry_delay = TimeDelta::milliseconds((delay * 1000.0) as i64);
            task.retry_exponential_backoff = factor;
            task.max_retry_delay = longest.map(TimeDelta::seconds);
        });
        let date = Utc.with_ymd_and_hms(2024, 5, 6, 7, 8, 9).single();
        world.run.logical_date = date.zip(fraction).map(|(date, micros)| date + TimeDelta::microseconds(micros));
        let facts = world.find("t", -1);
        facts.try_number = tries;
        facts.end_date = Some(start());
        let task = world.dag.task("t").unwrap_or_else(|| panic!("t"));
        let until = retry_at("d", task, &world.run, &world.instances[0], TimeDelta::days(1));
        let waited = until.map(|until| (until - start()).as_seconds_f64());
        assert_eq!(waited, Some(wait), "{tries} tries, {delay} s × {factor}");
    }
}

#[test]
fn a_policy_has_the_last_word_on_the_wait() {
    let mut world = world("t", |task| task.retry_exponential_backoff = 2.0);
    let facts = world.find("t", -1);
    (facts.try_number, facts.end_date, facts.retry_delay_override) = (1, Some(start()), Some(1.5));
    let task = world.dag.task("t").unwrap_or_else(|| panic!("t"));
    let until = retry_at("d", task, &world.run, &world.instances[0], TimeDelta::days(1));
    assert_eq!(until, Some(start() + TimeDelta::milliseconds(1500)));
}

#[test]
fn attempts_are_counted() {
    let mut world = world("t", |task| task.retries = 2);
    let task = world.dag.task("t").cloned();
    let facts = world.find("t", -1);
    let mut may = |tries, state| {
        (facts.try_number, facts.state) = (tries, Some(state));
        may_retry(task.as_ref(), facts)
    };
    assert!(may(2, TaskInstanceState::Running));
    assert!(!may(3, TaskInstanceState::Running));
    assert!(may(3, TaskInstanceState::Restarting));
}
