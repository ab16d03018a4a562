-- $1 one object a Dag; $2 now.
WITH fresh AS (
    SELECT *
    FROM json_to_recordset($1::json) AS fresh (
        dag_id text,
        exceeds_max_non_backfill boolean,
        next_run_is_known boolean,
        next_dagrun timestamptz,
        next_dagrun_data_interval_start timestamptz,
        next_dagrun_data_interval_end timestamptz,
        next_dagrun_create_after timestamptz,
        next_dagrun_partition_key text,
        next_dagrun_partition_date timestamptz
    )
)

UPDATE dag
SET
    last_parsed_time = $2,
    exceeds_max_non_backfill = fresh.exceeds_max_non_backfill,
    next_dagrun = CASE WHEN fresh.next_run_is_known THEN fresh.next_dagrun ELSE dag.next_dagrun END,
    next_dagrun_data_interval_start = CASE
        WHEN fresh.next_run_is_known THEN fresh.next_dagrun_data_interval_start
        ELSE dag.next_dagrun_data_interval_start
    END,
    next_dagrun_data_interval_end = CASE
        WHEN fresh.next_run_is_known THEN fresh.next_dagrun_data_interval_end
        ELSE dag.next_dagrun_data_interval_end
    END,
    next_dagrun_create_after = CASE
        WHEN fresh.next_run_is_known THEN fresh.next_dagrun_create_after
        ELSE dag.next_dagrun_create_after
    END,
    next_dagrun_partition_key = CASE
        WHEN fresh.next_run_is_known THEN fresh.next_dagrun_partition_key
        ELSE dag.next_dagrun_partition_key
    END,
    next_dagrun_partition_date = CASE
        WHEN fresh.next_run_is_known THEN fresh.next_dagrun_partition_date
        ELSE dag.next_dagrun_partition_date
    END
FROM fresh
WHERE dag.dag_id = fresh.dag_id AND NOT dag.is_stale
RETURNING dag.dag_id
