-- Moves a run to a version of its Dag.
UPDATE dag_run
SET created_dag_version_id = version.id, bundle_version = version.bundle_version
FROM (SELECT id, bundle_version FROM dag_version WHERE id = $2) AS version
WHERE dag_run.id = $1
