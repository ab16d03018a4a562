-- Events that wait for the partition mapper of a plugin, of one Dag, the oldest first.
SELECT
    waiting.asset_event_id, waiting.target_dag_id, waiting.partition_date, waiting.max_keys, event.asset_id,
    event.partition_key, asset.name, asset.uri, event.source_dag_id, event.source_run_id, event.source_task_id,
    event.source_map_index
FROM tradewind.partition_event AS waiting
JOIN asset_event AS event ON event.id = waiting.asset_event_id
JOIN asset ON asset.id = event.asset_id
WHERE waiting.target_dag_id = $1
ORDER BY waiting.asset_event_id
LIMIT $2
