-- $1 Dags that wait for their plugin.
SELECT min(next_dagrun_create_after)
FROM dag
WHERE NOT is_paused
  AND NOT is_stale
  AND NOT coalesce(has_import_errors, false)
  AND NOT exceeds_max_non_backfill
  AND dag_id <> ALL ($1)
