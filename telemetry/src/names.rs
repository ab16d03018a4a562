//! Official Airflow's names: those with ids in them, which it tells beside each new name (`[metrics] legacy_names_on`), and
//! which names it tells at all.
//!
//! Source: `airflow/_shared/observability/metrics/metrics_template.yaml`, `stats.py` and `validators.py` there.

/// A name as official Airflow tells it, with the labels that are not within it.
pub(crate) type Named = (String, Vec<(String, String)>);

/// Metrics that have an older name, which holds the values of labels.
#[rustfmt::skip]
const LEGACY: &[(&str, &str)] = &[
    ("local_task_job.task_exit", "local_task_job.task_exit.{job_id}.{dag_id}.{task_id}.{return_code}"),
    ("operator_failures", "operator_failures_{operator_name}"),
    ("operator_successes", "operator_successes_{operator_name}"),
    ("ti.start", "ti.start.{dag_id}.{task_id}"),
    ("ti.finish", "ti.finish.{dag_id}.{task_id}.{state}"),
    ("task_removed_from_dag", "task_removed_from_dag.{dag_id}"),
    ("task_restored_to_dag", "task_restored_to_dag.{dag_id}"),
    ("task_instance_created", "task_instance_created_{task_type}"),
    ("dag_processing.last_run.seconds_ago", "dag_processing.last_run.seconds_ago.{file_name}"),
    ("executor.open_slots", "executor.open_slots.{executor_class_name}"),
    ("executor.queued_tasks", "executor.queued_tasks.{executor_class_name}"),
    ("executor.running_tasks", "executor.running_tasks.{executor_class_name}"),
    ("pool.open_slots", "pool.open_slots.{pool_name}"),
    ("pool.queued_slots", "pool.queued_slots.{pool_name}"),
    ("pool.running_slots", "pool.running_slots.{pool_name}"),
    ("pool.deferred_slots", "pool.deferred_slots.{pool_name}"),
    ("pool.scheduled_slots", "pool.scheduled_slots.{pool_name}"),
    ("pool.starving_tasks", "pool.starving_tasks.{pool_name}"),
    ("triggers.running", "triggers.running.{hostname}"),
    ("triggerer.capacity_left", "triggerer.capacity_left.{hostname}"),
    ("ti.scheduled", "ti.scheduled.{queue}.{dag_id}.{task_id}"),
    ("ti.queued", "ti.queued.{queue}.{dag_id}.{task_id}"),
    ("ti.running", "ti.running.{queue}.{dag_id}.{task_id}"),
    ("ti.deferred", "ti.deferred.{queue}.{dag_id}.{task_id}"),
    ("dagrun.dependency-check", "dagrun.dependency-check.{dag_id}"),
    ("task.duration", "dag.{dag_id}.{task_id}.duration"),
    ("task.scheduled_duration", "dag.{dag_id}.{task_id}.scheduled_duration"),
    ("task.queued_duration", "dag.{dag_id}.{task_id}.queued_duration"),
    ("dag_processing.last_duration", "dag_processing.last_duration.{bundle_name}.{file_name}"),
    ("dagrun.duration.success", "dagrun.duration.success.{dag_id}"),
    ("dagrun.duration.failed", "dagrun.duration.failed.{dag_id}"),
    ("dagrun.schedule_delay", "dagrun.schedule_delay.{dag_id}"),
    ("dagrun.first_task_scheduling_delay", "dagrun.{dag_id}.first_task_scheduling_delay"),
];

/// The older name of a metric; none where it has none, or a label is missing.
///
/// A dot within a value is written `__` there, since dots part the name.
pub(crate) fn legacy(name: &str, labels: &[(String, String)]) -> Option<Named> {
    let (_, template) = LEGACY.iter().find(|(known, _)| *known == name)?;
    let mut name = String::new();
    let mut used = Vec::new();
    let mut rest = *template;
    while let Some((before, (label, after))) = rest.split_once('{').and_then(|(a, b)| Some((a, b.split_once('}')?))) {
        let (_, value) = labels.iter().find(|(known, _)| known == label)?;
        name.push_str(before);
        name.push_str(&value.replace('.', "__"));
        used.push(label);
        rest = after;
    }
    name.push_str(rest);
    let others = labels.iter().filter(|(label, _)| !used.contains(&label.as_str()));
    Some((name, others.cloned().collect()))
}

/// All names of a metric: the older one first, if it is wanted.
pub(crate) fn all(name: &str, labels: &[(String, String)], with_legacy: bool) -> impl Iterator<Item = Named> {
    let legacy = legacy(name, labels).filter(|_| with_legacy);
    legacy.into_iter().chain([(name.to_owned(), labels.to_owned())])
}

/// Whether a name has only characters that official Airflow tells; `,` and `=` where they part tags.
pub(crate) fn has_valid_characters(name: &str, with_tags: bool) -> bool {
    let is_valid = |character: char| {
        character.is_ascii_alphanumeric()
            || matches!(character, '_' | '.' | '-' | '/')
            || (with_tags && matches!(character, ',' | '='))
    };
    name.chars().all(is_valid)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(labels: &[(&str, &str)]) -> Vec<(String, String)> {
        labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_older_name_takes_labels_in_and_leaves_the_others() {
        let given = labels(&[("dag_id", "a"), ("queue", "q"), ("task_id", "group.b")]);
        let (name, rest) = legacy("task.duration", &given).expect("it has one");
        assert_eq!((name.as_str(), rest), ("dag.a.group__b.duration", labels(&[("queue", "q")])));
        assert_eq!(legacy("task.duration", &labels(&[("dag_id", "a")])), None, "a label is missing");
        assert_eq!(legacy("scheduler_heartbeat", &[]), None);
    }

    #[test]
    fn characters_of_names_are_few() {
        assert!(has_valid_characters("dagrun.dependency-check.a_b/c", false));
        assert!(!has_valid_characters("ti.start,dag_id=a", false));
        assert!(has_valid_characters("ti.start,dag_id=a", true));
        assert!(!has_valid_characters("ti.start.größe", true) && !has_valid_characters("a b", true));
    }
}
