-- The versions of Dag runs. A run of a versioned bundle keeps the version it was made with; any other has those of its
-- task instances, present and past.
SELECT
    used.dag_run_id,
    v.id AS version_id,
    v.version_number,
    v.dag_id AS version_dag_id,
    v.bundle_name AS version_bundle_name,
    v.bundle_version AS version_bundle_version,
    v.created_at AS version_created_at,
    COALESCE(d.dag_display_name, d.dag_id) AS version_dag_display_name
FROM (
    SELECT dr.id AS dag_run_id, dr.created_dag_version_id AS dag_version_id
    FROM dag_run dr
    WHERE dr.id = ANY($1) AND dr.bundle_version IS NOT NULL
    UNION
    SELECT dr.id, ti.dag_version_id
    FROM dag_run dr
    JOIN task_instance ti ON ti.dag_id = dr.dag_id AND ti.run_id = dr.run_id
    WHERE dr.id = ANY($1) AND dr.bundle_version IS NULL
    UNION
    SELECT dr.id, tih.dag_version_id
    FROM dag_run dr
    JOIN task_instance_history tih ON tih.dag_id = dr.dag_id AND tih.run_id = dr.run_id
    WHERE dr.id = ANY($1) AND dr.bundle_version IS NULL
) AS used
JOIN dag_version v ON v.id = used.dag_version_id
JOIN dag d ON d.dag_id = v.dag_id
ORDER BY used.dag_run_id, v.id
