-- Task instances that have not ended and belong to no version of the Dag get the one of their run: without one they would
-- never be queued.
UPDATE task_instance
SET dag_version_id = $3
WHERE dag_id = $1 AND run_id = $2 AND dag_version_id IS NULL
  AND (state IS NULL OR state NOT IN ('success', 'failed', 'skipped', 'upstream_failed', 'removed'))
