//! Names of SQS queues.

/// What SQS allows at most.
const LONGEST: usize = 80;

/// What is added to the name of a queue to name its dead-letter queue.
const DEAD_LETTERS: &str = "-dead-letter";

/// The name of the SQS queue that stands for a queue of Airflow. As Celery's transport does it: a point becomes a hyphen, and
/// what else SQS does not allow an underscore.
///
/// Source: `Channel.entity_name` in `kombu/transport/SQS`.
pub(super) fn of(prefix: &str, queue: &str) -> String {
    let allowed = |character: char| match character {
        '.' => '-',
        '-' | '_' => character,
        _ if character.is_ascii_alphanumeric() => character,
        _ => '_',
    };
    // Room is left for the name of the dead-letter queue.
    format!("{prefix}{queue}").chars().map(allowed).take(LONGEST - DEAD_LETTERS.len()).collect()
}

/// The name of a queue's dead-letter queue.
pub(super) fn of_dead_letters(name: &str) -> String {
    format!("{name}{DEAD_LETTERS}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_ones_that_sqs_allows() {
        assert_eq!(of("airflow-celery-", "default"), "airflow-celery-default");
        assert_eq!(of("airflow-celery-", "gpu.large/eu west"), "airflow-celery-gpu-large_eu_west");
        let longest = of_dead_letters(&of("airflow-celery-", &"q".repeat(256)));
        assert_eq!(longest.len(), LONGEST);
    }
}
