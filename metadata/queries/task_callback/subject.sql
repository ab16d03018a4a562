-- The attempt ($1) that a callback is about, and where the code of its Dag is. As in Airflow the callback is pinned to a
-- bundle version only where the run is; a mail names the version that the attempt ran.
SELECT
    ti.dag_id, ti.task_id, ti.max_tries, version.id AS dag_version_id,
    coalesce(version.bundle_name, dag.bundle_name) AS bundle_name,
    coalesce(dag.relative_fileloc, '') AS filepath,
    CASE WHEN dr.bundle_version IS NOT NULL THEN coalesce(version.bundle_version, dr.bundle_version) END AS bundle_version,
    CASE WHEN ti.dag_version_id IS NOT NULL THEN version.bundle_version ELSE dr.bundle_version END AS bundle_version_of_attempt,
    jsonb_build_object(
        'id', ti.id,
        'task_id', ti.task_id,
        'dag_id', ti.dag_id,
        'run_id', ti.run_id,
        'try_number', ti.try_number,
        'dag_version_id', version.id,
        'map_index', ti.map_index,
        'hostname', ti.hostname,
        'context_carrier', ti.context_carrier -> '__var',
        'queue', coalesce(ti.queue, 'default')
    ) AS ti
FROM task_instance ti
JOIN dag_run dr ON dr.dag_id = ti.dag_id AND dr.run_id = ti.run_id
JOIN dag ON dag.dag_id = ti.dag_id
JOIN LATERAL (
    SELECT id, bundle_name, bundle_version
    FROM dag_version
    WHERE dag_version.dag_id = ti.dag_id AND (ti.dag_version_id IS NULL OR dag_version.id = ti.dag_version_id)
    ORDER BY version_number DESC
    LIMIT 1
) AS version ON true
WHERE ti.id = $1
