    d.dag_id,
    COALESCE(d.dag_display_name, d.dag_id) AS dag_display_name,
    d.is_paused,
    d.is_stale,
    d.last_parsed_time,
    d.last_parse_duration,
    d.last_expired,
    d.bundle_name,
    d.bundle_version,
    d.relative_fileloc,
    d.fileloc,
    d.description,
    NULLIF(d.timetable_summary, 'None') AS timetable_summary,
    d.timetable_description,
    d.timetable_partitioned,
    d.timetable_periodic,
    COALESCE(
        (
            SELECT json_agg(
                json_build_object(
                    'name', t.name, 'dag_id', t.dag_id, 'dag_display_name', COALESCE(d.dag_display_name, d.dag_id)
                )
                ORDER BY t.name COLLATE "C"
            )
            FROM dag_tag t
            WHERE t.dag_id = d.dag_id
        ),
        '[]'
    ) AS tags,
    d.max_active_tasks,
    d.max_active_runs,
    d.max_consecutive_failed_dag_runs,
    d.has_task_concurrency_limits,
    d.has_import_errors,
    d.next_dagrun AS next_dagrun_logical_date,
    d.next_dagrun_data_interval_start,
    d.next_dagrun_data_interval_end,
    d.next_dagrun_create_after AS next_dagrun_run_after,
    d.allowed_run_types,
    CASE WHEN d.owners IS NULL THEN '{}' ELSE regexp_split_to_array(btrim(d.owners), '\s*,\s*') END AS owners,
    d.asset_expression
