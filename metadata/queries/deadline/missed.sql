-- Deadlines that have passed ($1: now), with their callback and their run as the REST API describes it. One that another
-- scheduler handles is passed over.
WITH passed AS (
    SELECT id, deadline_time, dagrun_id, callback_id
    FROM deadline
    WHERE NOT missed AND deadline_time < $1
    ORDER BY deadline_time, id
    LIMIT $2
    FOR UPDATE SKIP LOCKED
)
SELECT
    passed.id, passed.deadline_time, passed.callback_id, callback.type AS callback_type, callback.data::jsonb AS data,
    dr.id AS dag_run_id, dr.dag_id, dr.run_id,
    jsonb_build_object(
        'dag_run_id', dr.run_id,
        'dag_id', dr.dag_id,
        'logical_date', dr.logical_date,
        'queued_at', dr.queued_at,
        'start_date', dr.start_date,
        'end_date', dr.end_date,
        'duration', extract(epoch FROM dr.end_date - dr.start_date)::float8,
        'data_interval_start', dr.data_interval_start,
        'data_interval_end', dr.data_interval_end,
        'run_after', dr.run_after,
        'last_scheduling_decision', dr.last_scheduling_decision,
        'run_type', dr.run_type,
        'state', dr.state,
        'triggered_by', lower(dr.triggered_by),
        'triggering_user_name', dr.triggering_user_name,
        'conf', dr.conf,
        'note', (SELECT content FROM dag_run_note WHERE dag_run_note.dag_run_id = dr.id),
        'dag_versions', coalesce(versions.list, '[]'::jsonb),
        'bundle_version', dr.bundle_version,
        'dag_display_name', coalesce(dag.dag_display_name, dr.dag_id),
        'partition_key', dr.partition_key,
        'partition_date', dr.partition_date
    ) AS dag_run
FROM passed
JOIN callback ON callback.id = passed.callback_id
JOIN dag_run dr ON dr.id = passed.dagrun_id
LEFT JOIN dag ON dag.dag_id = dr.dag_id
CROSS JOIN LATERAL (
    SELECT jsonb_agg(
        jsonb_build_object(
            'id', version.id,
            'version_number', version.version_number,
            'dag_id', version.dag_id,
            'bundle_name', version.bundle_name,
            'bundle_version', version.bundle_version,
            'created_at', version.created_at,
            'dag_display_name', coalesce(dag.dag_display_name, dr.dag_id),
            'bundle_url', NULL
        )
        ORDER BY version.id
    ) AS list
    FROM dag_version version
    WHERE CASE
        WHEN coalesce(dr.bundle_version, '') <> '' THEN version.id = dr.created_dag_version_id
        ELSE version.id IN (
            SELECT dag_version_id FROM task_instance ti WHERE ti.dag_id = dr.dag_id AND ti.run_id = dr.run_id
            UNION
            SELECT dag_version_id FROM task_instance_history h WHERE h.dag_id = dr.dag_id AND h.run_id = dr.run_id
        )
    END
) AS versions
ORDER BY passed.deadline_time, passed.id
