-- Dags that had all the runs they may have, and have room again: a run that a user ends or deletes is counted by nobody.
UPDATE dag
SET exceeds_max_non_backfill = false
WHERE dag_id IN (
    SELECT dag.dag_id
    FROM dag
    WHERE dag.exceeds_max_non_backfill
      AND NOT dag.is_paused
      AND NOT dag.is_stale
      AND coalesce(dag.max_active_runs, 0) > (
          SELECT count(*)
          FROM dag_run
          WHERE dag_run.dag_id = dag.dag_id AND state IN ('queued', 'running') AND run_type <> 'backfill'
      )
    ORDER BY dag.dag_id
    FOR NO KEY UPDATE OF dag SKIP LOCKED
)
