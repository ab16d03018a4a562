-- A backfill is complete when none of its runs is left to run.
UPDATE backfill
SET completed_at = $2, updated_at = $2
WHERE id = $1
  AND completed_at IS NULL
  AND NOT EXISTS (SELECT FROM dag_run WHERE dag_run.backfill_id = $1 AND dag_run.state IN ('queued', 'running'))
