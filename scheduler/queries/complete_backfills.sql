-- Backfills of which no run is left to run; one without any run may still be in the making. Two runs that end at the same
-- moment do not see each other's end, and a run that a user marks has no scheduler to see it.
UPDATE backfill
SET completed_at = $1, updated_at = $1
WHERE completed_at IS NULL
  AND (
      EXISTS (SELECT FROM backfill_dag_run WHERE backfill_dag_run.backfill_id = backfill.id)
      OR created_at < $1 - interval '2 minutes'
  )
  AND NOT EXISTS (
      SELECT FROM dag_run WHERE dag_run.backfill_id = backfill.id AND dag_run.state IN ('queued', 'running')
  )
