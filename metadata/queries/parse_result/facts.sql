-- $1 dag ids, $2 whether their timetables make runs, $3 whether those runs are partitioned.
-- The latest automated run is the one of the newest logical date, or of the newest partition
-- (`_get_latest_runs_stmt*` in airflow/dag_processing/collection.py).
SELECT
    wanted.dag_id,
    COALESCE(NOT dag.is_stale, false) AS is_active,
    run.run_after,
    run.data_interval_start,
    run.data_interval_end,
    run.partition_key,
    COALESCE(active.runs, 0) AS active_runs,
    version.id AS version_id,
    version.version_number,
    version.bundle_name,
    version.bundle_version,
    version.id IS NOT NULL AND EXISTS (
        SELECT FROM task_instance AS ti WHERE ti.dag_id = wanted.dag_id AND ti.dag_version_id = version.id
    ) AS version_is_used,
    serialized.dag_hash,
    serialized.last_updated,
    code.source_code_hash,
    EXISTS (SELECT FROM dag_schedule_asset_reference AS r WHERE r.dag_id = wanted.dag_id)
    OR EXISTS (SELECT FROM dag_schedule_asset_alias_reference AS r WHERE r.dag_id = wanted.dag_id)
    OR EXISTS (SELECT FROM dag_schedule_asset_name_reference AS r WHERE r.dag_id = wanted.dag_id)
    OR EXISTS (SELECT FROM dag_schedule_asset_uri_reference AS r WHERE r.dag_id = wanted.dag_id)
    OR EXISTS (SELECT FROM task_inlet_asset_reference AS r WHERE r.dag_id = wanted.dag_id)
    OR EXISTS (SELECT FROM task_outlet_asset_reference AS r WHERE r.dag_id = wanted.dag_id) AS has_references
FROM unnest($1::text[], $2::boolean[], $3::boolean[]) AS wanted (dag_id, scheduled, partitioned)
LEFT JOIN dag ON dag.dag_id = wanted.dag_id
LEFT JOIN LATERAL (
    SELECT dr.run_after, dr.data_interval_start, dr.data_interval_end, dr.partition_key
    FROM dag_run AS dr
    WHERE wanted.scheduled
        AND dr.dag_id = wanted.dag_id
        AND dr.run_type IN ('scheduled', 'backfill')
        AND CASE WHEN wanted.partitioned THEN dr.partition_key IS NOT NULL ELSE dr.logical_date IS NOT NULL END
    ORDER BY
        CASE WHEN NOT wanted.partitioned THEN dr.logical_date END DESC,
        dr.partition_date DESC NULLS LAST,
        dr.run_after DESC
    LIMIT 1
) AS run ON true
LEFT JOIN LATERAL (
    SELECT count(*) AS runs
    FROM dag_run AS dr
    WHERE wanted.scheduled
        AND dr.dag_id = wanted.dag_id
        AND dr.state IN ('queued', 'running')
        AND dr.run_type <> 'backfill'
) AS active ON true
LEFT JOIN LATERAL (
    SELECT v.id, v.version_number, v.bundle_name, v.bundle_version
    FROM dag_version AS v
    WHERE v.dag_id = wanted.dag_id
    ORDER BY v.version_number DESC
    LIMIT 1
) AS version ON true
LEFT JOIN LATERAL (
    SELECT s.dag_hash, s.last_updated
    FROM dag_version AS v
    JOIN serialized_dag AS s ON s.dag_version_id = v.id
    WHERE v.dag_id = wanted.dag_id
    ORDER BY v.version_number DESC
    LIMIT 1
) AS serialized ON true
LEFT JOIN LATERAL (
    SELECT c.source_code_hash
    FROM dag_version AS v
    JOIN dag_code AS c ON c.dag_version_id = v.id
    WHERE v.dag_id = wanted.dag_id
    ORDER BY c.last_updated DESC
    LIMIT 1
) AS code ON true
