//! Metrics under Airflow's names (`airflow/dag_processing/manager.py`).

use std::path::Path;
use std::time::Duration;

use metrics::{counter, gauge, histogram};

use crate::queue::{FileKey, FileQueue};

/// A parse started.
pub(crate) fn parse_started(key: &FileKey, waiting: usize) {
    gauge!("dag_processing.processes", "file_path" => normalized(&key.path)).increment(1);
    gauge!("dag_processing.file_path_queue_size").set(precise(waiting));
}

/// A parse ended.
pub(crate) fn parse_ended(key: &FileKey, duration: Duration, timed_out: bool) {
    gauge!("dag_processing.processes", "file_path" => normalized(&key.path)).decrement(1);
    if timed_out {
        counter!("dag_processing.processor_timeouts", "file_path" => normalized(&key.path)).increment(1);
    }
    let stem = key.path.file_stem().map(Path::new).map(normalized).unwrap_or_default();
    let bundle = normalized(Path::new(&key.bundle));
    histogram!("dag_processing.last_duration", "bundle_name" => bundle, "file_name" => stem).record(duration);
}

/// Callbacks ran instead of a parse.
pub(crate) fn callbacks_ran() {
    counter!("dag_processing.callback_only_count").increment(1);
}

/// A callback was taken from the database.
pub(crate) fn callback_queued() {
    counter!("dag_processing.other_callback_count").increment(1);
}

/// The processor said that it lives.
pub(crate) fn heartbeat() {
    counter!("dag_processor_heartbeat").increment(1);
}

/// All files that were due have been parsed.
pub(crate) fn round_ended(duration: Duration, queue: &FileQueue) {
    gauge!("dag_processing.total_parse_time").set(duration.as_secs_f64());
    gauge!("dagbag_size").set(precise(queue.parsed().map(|(_, last)| last.dags).sum()));
    gauge!("dag_processing.import_errors").set(precise(queue.parsed().map(|(_, last)| last.import_errors).sum()));
    counter!("dag_processing.file_path_queue_update_count").increment(1);
}

/// `normalize_name_for_stats`.
fn normalized(path: &Path) -> String {
    let allowed = |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | '.' | '-');
    path.to_string_lossy().chars().map(|character| if allowed(character) { character } else { '_' }).collect()
}

fn precise(count: usize) -> f64 {
    // Counts of files stay far below the 2^53 that a float holds exactly.
    u32::try_from(count).map_or(f64::MAX, f64::from)
}
