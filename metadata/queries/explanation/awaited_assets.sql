-- Assets that a Dag is scheduled by, and whether each was updated since the last run that asset events made.
SELECT
    asset.name, asset.uri,
    EXISTS (
        SELECT FROM asset_dag_run_queue
        WHERE asset_dag_run_queue.asset_id = asset.id AND asset_dag_run_queue.target_dag_id = $1
    ) AS has_event
FROM dag_schedule_asset_reference
JOIN asset ON asset.id = dag_schedule_asset_reference.asset_id
WHERE dag_schedule_asset_reference.dag_id = $1
ORDER BY asset.name, asset.uri
