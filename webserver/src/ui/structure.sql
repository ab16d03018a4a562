-- The tasks of a Dag that produced assets by way of an alias, in runs of one version.
SELECT DISTINCT e.asset_id, e.source_task_id
FROM asset_event e
JOIN asset_alias_asset_event ae ON ae.event_id = e.id
JOIN dag_run dr ON dr.dag_id = e.source_dag_id AND dr.run_id = e.source_run_id
WHERE e.source_dag_id = $1 AND dr.created_dag_version_id = $2
