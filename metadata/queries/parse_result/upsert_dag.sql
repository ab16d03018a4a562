-- $1 one object a Dag. A new Dag starts paused or not as told; the columns `is_paused` and `last_expired` of an existing one
-- belong to its users. Airflow stores JSON `null` where a Dag names no allowed run types.
WITH parsed AS (
    SELECT *
    FROM json_to_recordset($1::json) AS parsed (
        dag_id text,
        is_paused boolean,
        exceeds_max_non_backfill boolean,
        last_parsed_time timestamptz,
        last_parse_duration double precision,
        fileloc text,
        relative_fileloc text,
        bundle_name text,
        bundle_version text,
        owners text,
        dag_display_name text,
        description text,
        timetable_type text,
        timetable_summary text,
        timetable_description text,
        timetable_partitioned boolean,
        timetable_periodic boolean,
        partition_mapper_info json,
        asset_expression json,
        deadline json,
        max_active_tasks integer,
        max_active_runs integer,
        max_consecutive_failed_dag_runs integer,
        has_task_concurrency_limits boolean,
        fail_fast boolean,
        allowed_run_types json,
        next_dagrun timestamptz,
        next_dagrun_data_interval_start timestamptz,
        next_dagrun_data_interval_end timestamptz,
        next_dagrun_create_after timestamptz,
        next_dagrun_partition_key text,
        next_dagrun_partition_date timestamptz,
        next_run_is_known boolean
    )
)
INSERT INTO dag (
    is_stale,
    has_import_errors,
    dag_id,
    is_paused,
    exceeds_max_non_backfill,
    last_parsed_time,
    last_parse_duration,
    fileloc,
    relative_fileloc,
    bundle_name,
    bundle_version,
    owners,
    dag_display_name,
    description,
    timetable_type,
    timetable_summary,
    timetable_description,
    timetable_partitioned,
    timetable_periodic,
    partition_mapper_info,
    asset_expression,
    deadline,
    max_active_tasks,
    max_active_runs,
    max_consecutive_failed_dag_runs,
    has_task_concurrency_limits,
    fail_fast,
    allowed_run_types,
    next_dagrun,
    next_dagrun_data_interval_start,
    next_dagrun_data_interval_end,
    next_dagrun_create_after,
    next_dagrun_partition_key,
    next_dagrun_partition_date
)
SELECT
    false,
    false,
    dag_id,
    is_paused,
    exceeds_max_non_backfill,
    last_parsed_time,
    last_parse_duration,
    fileloc,
    relative_fileloc,
    bundle_name,
    bundle_version,
    owners,
    dag_display_name,
    description,
    timetable_type,
    timetable_summary,
    timetable_description,
    timetable_partitioned,
    timetable_periodic,
    partition_mapper_info,
    asset_expression,
    deadline,
    max_active_tasks,
    max_active_runs,
    max_consecutive_failed_dag_runs,
    has_task_concurrency_limits,
    fail_fast,
    COALESCE(allowed_run_types, 'null'),
    next_dagrun,
    next_dagrun_data_interval_start,
    next_dagrun_data_interval_end,
    next_dagrun_create_after,
    next_dagrun_partition_key,
    next_dagrun_partition_date
FROM parsed
ORDER BY dag_id
ON CONFLICT (dag_id) DO UPDATE SET
    is_stale = false,
    has_import_errors = false,
    exceeds_max_non_backfill = EXCLUDED.exceeds_max_non_backfill,
    last_parsed_time = EXCLUDED.last_parsed_time,
    last_parse_duration = EXCLUDED.last_parse_duration,
    fileloc = EXCLUDED.fileloc,
    relative_fileloc = EXCLUDED.relative_fileloc,
    bundle_name = EXCLUDED.bundle_name,
    bundle_version = EXCLUDED.bundle_version,
    owners = EXCLUDED.owners,
    dag_display_name = EXCLUDED.dag_display_name,
    description = EXCLUDED.description,
    timetable_type = EXCLUDED.timetable_type,
    timetable_summary = EXCLUDED.timetable_summary,
    timetable_description = EXCLUDED.timetable_description,
    timetable_partitioned = EXCLUDED.timetable_partitioned,
    timetable_periodic = EXCLUDED.timetable_periodic,
    partition_mapper_info = EXCLUDED.partition_mapper_info,
    asset_expression = EXCLUDED.asset_expression,
    deadline = COALESCE(EXCLUDED.deadline, dag.deadline),
    max_active_tasks = EXCLUDED.max_active_tasks,
    max_active_runs = EXCLUDED.max_active_runs,
    max_consecutive_failed_dag_runs = EXCLUDED.max_consecutive_failed_dag_runs,
    has_task_concurrency_limits = EXCLUDED.has_task_concurrency_limits,
    fail_fast = EXCLUDED.fail_fast,
    allowed_run_types = EXCLUDED.allowed_run_types,
    next_dagrun = CASE
        WHEN (SELECT p.next_run_is_known FROM parsed AS p WHERE p.dag_id = dag.dag_id) THEN EXCLUDED.next_dagrun
        ELSE dag.next_dagrun
    END,
    next_dagrun_data_interval_start = CASE
        WHEN (SELECT p.next_run_is_known FROM parsed AS p WHERE p.dag_id = dag.dag_id) THEN EXCLUDED.next_dagrun_data_interval_start
        ELSE dag.next_dagrun_data_interval_start
    END,
    next_dagrun_data_interval_end = CASE
        WHEN (SELECT p.next_run_is_known FROM parsed AS p WHERE p.dag_id = dag.dag_id) THEN EXCLUDED.next_dagrun_data_interval_end
        ELSE dag.next_dagrun_data_interval_end
    END,
    next_dagrun_create_after = CASE
        WHEN (SELECT p.next_run_is_known FROM parsed AS p WHERE p.dag_id = dag.dag_id) THEN EXCLUDED.next_dagrun_create_after
        ELSE dag.next_dagrun_create_after
    END,
    next_dagrun_partition_key = CASE
        WHEN (SELECT p.next_run_is_known FROM parsed AS p WHERE p.dag_id = dag.dag_id) THEN EXCLUDED.next_dagrun_partition_key
        ELSE dag.next_dagrun_partition_key
    END,
    next_dagrun_partition_date = CASE
        WHEN (SELECT p.next_run_is_known FROM parsed AS p WHERE p.dag_id = dag.dag_id) THEN EXCLUDED.next_dagrun_partition_date
        ELSE dag.next_dagrun_partition_date
    END
