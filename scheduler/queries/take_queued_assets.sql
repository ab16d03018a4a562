-- Takes the assets that are queued for a Dag. They are deleted, not held: an event of one of them that is recorded
-- meanwhile waits, and queues the asset anew.
WITH taken AS (
    DELETE FROM asset_dag_run_queue WHERE target_dag_id = $1 RETURNING asset_id, created_at
)
SELECT asset.name, asset.uri, taken.created_at
FROM taken
JOIN asset ON asset.id = taken.asset_id
