//! What the tasks say about their attempts, which is not what the database says.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;
use sqlx::{PgPool, query_as};

use crate::limits::Slot;

/// A line that an attempt wrote.
#[derive(Debug)]
struct Record {
    task_instance: String,
    event: String,
    try_number: i64,
    id: String,
    at: f64,
}

/// All that was written.
pub(crate) struct Evidence {
    records: Vec<Record>,
}

impl Evidence {
    /// Reads the files of all task instances.
    pub(crate) fn read(folder: &Path) -> Self {
        let files = std::fs::read_dir(folder).expect("the folder").map(|entry| entry.expect("a file").path());
        let texts = files.map(|file| std::fs::read_to_string(file).expect("a text"));
        let records = texts.flat_map(|text| text.lines().map(Record::parse).collect::<Vec<_>>()).collect();
        Self { records }
    }

    fn of(&self, event: &str) -> impl Iterator<Item = &Record> {
        self.records.iter().filter(move |record| record.event == event)
    }

    /// Attempts that started.
    pub(crate) fn attempts(&self) -> usize {
        self.of("start").count()
    }

    /// Task instances that had an attempt.
    pub(crate) fn task_instances(&self) -> usize {
        self.of("start").map(|record| &record.task_instance).collect::<BTreeSet<_>>().len()
    }

    /// Asserts that no two attempts of a task instance overlapped, and that none started twice.
    pub(crate) fn assert_no_attempt_ran_twice(&self) {
        let overlaps: Vec<&Record> = self.of("overlap").collect();
        assert!(overlaps.is_empty(), "attempts of one task instance ran at once: {overlaps:?}");
        let mut seen = BTreeSet::new();
        for start in self.of("start") {
            assert!(seen.insert((&start.task_instance, start.try_number)), "an attempt started twice: {start:?}");
            assert!(seen.insert((&start.id, -1)), "an id was used twice: {start:?}");
        }
    }

    /// Asserts that of every task instance that succeeded, the last attempt came to its end, and no other followed.
    pub(crate) async fn assert_every_success_happened(&self, pool: &PgPool) {
        let succeeded: Vec<(String, i32)> = query_as(
            "SELECT concat_ws('.', dag_id, run_id, task_id, map_index), try_number FROM task_instance \
             WHERE state = 'success'",
        )
        .fetch_all(pool)
        .await
        .expect("the task instances");
        let ended: BTreeSet<(&str, i64)> =
            self.of("end").map(|record| (record.task_instance.as_str(), record.try_number)).collect();
        let mut last: BTreeMap<&str, i64> = BTreeMap::new();
        for start in self.of("start") {
            let last = last.entry(&start.task_instance).or_default();
            *last = start.try_number.max(*last);
        }
        for (task_instance, try_number) in &succeeded {
            let attempt = (task_instance.as_str(), i64::from(*try_number));
            assert!(ended.contains(&attempt), "a success that nobody saw: {attempt:?}");
            assert_eq!(last.get(attempt.0), Some(&attempt.1), "an attempt after the success: {attempt:?}");
        }
    }

    /// Asserts that attempts that came to their end never took more of a limit at once than there is.
    pub(crate) fn assert_limits(&self, limits: &[Slot]) {
        let starts: BTreeMap<&str, f64> = self.of("start").map(|start| (start.id.as_str(), start.at)).collect();
        for limit in limits {
            let mut changes: Vec<(f64, i64)> = Vec::new();
            for end in self.of("end") {
                let slots = limit.slots_of(&end.task_instance);
                changes.push((starts[end.id.as_str()], slots));
                changes.push((end.at, -slots));
            }
            changes.sort_by(|one, other| one.0.total_cmp(&other.0).then(one.1.cmp(&other.1)));
            let mut taken = 0;
            for (at, change) in changes {
                taken += change;
                assert!(taken <= limit.most, "{}: {taken} of {} were taken at {at}", limit.name, limit.most);
            }
        }
    }
}

impl Record {
    fn parse(line: &str) -> Self {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let text = |key: &str| value[key].as_str().unwrap_or_else(|| panic!("no {key}: {line}")).to_owned();
        Self {
            task_instance: text("task_instance"),
            event: text("event"),
            try_number: value["try_number"].as_i64().expect("a number"),
            id: text("id"),
            at: value["at"].as_f64().expect("a time"),
        }
    }
}
