-- Whether a Dag that is held may get a run from assets.
SELECT
    NOT is_paused
    AND NOT is_stale
    AND NOT coalesce(has_import_errors, false)
    AND NOT exceeds_max_non_backfill
    AND (
        SELECT count(*) FROM dag_run WHERE dag_run.dag_id = dag.dag_id AND dag_run.state IN ('queued', 'running')
    ) < coalesce(max_active_runs, 2147483647)
FROM dag
WHERE dag_id = $1
