-- Keeps `exceeds_max_non_backfill` true to the number of active runs.
UPDATE dag
SET exceeds_max_non_backfill = active.runs >= coalesce(dag.max_active_runs, 0)
FROM (
    SELECT count(*) AS runs
    FROM dag_run
    WHERE dag_id = $1 AND state IN ('queued', 'running') AND run_type <> 'backfill'
) AS active
WHERE dag.dag_id = $1
  AND dag.exceeds_max_non_backfill <> (active.runs >= coalesce(dag.max_active_runs, 0))
