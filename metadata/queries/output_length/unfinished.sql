-- Which of these tasks ($3) have an instance in the run that has not ended.
SELECT DISTINCT task_id
FROM task_instance
WHERE dag_id = $1 AND run_id = $2 AND task_id = ANY ($3)
  AND (state IS NULL OR state NOT IN ('success', 'failed', 'skipped', 'upstream_failed', 'removed'))
