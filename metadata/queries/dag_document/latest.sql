-- The stored Dag of the latest version.
SELECT stored.data::text, stored.data_compressed
FROM dag_version version
JOIN serialized_dag stored ON stored.dag_version_id = version.id
WHERE version.dag_id = $1
ORDER BY version.version_number DESC
LIMIT 1
