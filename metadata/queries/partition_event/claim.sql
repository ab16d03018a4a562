-- Takes events that wait for the partition mapper of a plugin: of one Dag ($1), the oldest, $2 at most, for $3 seconds.
WITH free AS (
    SELECT asset_event_id
    FROM tradewind.partition_event
    WHERE target_dag_id = $1 AND (claimed_until IS NULL OR claimed_until <= clock_timestamp())
    ORDER BY asset_event_id
    LIMIT $2
    FOR UPDATE SKIP LOCKED
),
claimed AS (
    UPDATE tradewind.partition_event AS waiting
    SET claimed_until = clock_timestamp() + make_interval(secs => $3)
    FROM free
    WHERE waiting.target_dag_id = $1 AND waiting.asset_event_id = free.asset_event_id
    RETURNING waiting.asset_event_id, waiting.target_dag_id, waiting.partition_date, waiting.max_keys
)
SELECT
    claimed.asset_event_id, claimed.target_dag_id, claimed.partition_date, claimed.max_keys, event.asset_id,
    event.partition_key, asset.name, asset.uri, event.source_dag_id, event.source_run_id, event.source_task_id,
    event.source_map_index
FROM claimed
JOIN asset_event AS event ON event.id = claimed.asset_event_id
JOIN asset ON asset.id = event.asset_id
ORDER BY claimed.asset_event_id
