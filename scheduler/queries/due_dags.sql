-- $1 now, $2 how many, $3 Dags that wait for their plugin.
-- Dags whose timetable wants a run now. Another scheduler that looks at the same Dag is passed over.
SELECT
    dag_id, next_dagrun, next_dagrun_data_interval_start, next_dagrun_data_interval_end, next_dagrun_partition_key,
    next_dagrun_partition_date, next_dagrun_create_after, timetable_partitioned,
    -- No restriction is stored as SQL's or as JSON's null.
    jsonb_typeof(allowed_run_types::jsonb) IS DISTINCT FROM 'array'
        OR allowed_run_types::jsonb ? 'scheduled' AS may_be_scheduled
FROM dag
WHERE NOT is_paused
  AND NOT is_stale
  AND NOT coalesce(has_import_errors, false)
  AND NOT exceeds_max_non_backfill
  AND next_dagrun_create_after <= $1
  AND dag_id <> ALL ($3)
ORDER BY next_dagrun_create_after
LIMIT $2
FOR NO KEY UPDATE OF dag SKIP LOCKED
