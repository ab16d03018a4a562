-- Records an event of an asset. The time is the clock's, not the transaction's: the Dags queued for the event must be
-- queued later than it.
INSERT INTO asset_event
    (asset_id, extra, source_task_id, source_dag_id, source_run_id, source_map_index, partition_key, timestamp)
VALUES ($1, $2, $3, $4, $5, $6, $7, clock_timestamp())
RETURNING id
