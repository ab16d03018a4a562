-- Adds an event ($5: its asset, $6: its id, $7: its partition) to partitions ($2, in order) of a Dag ($1), which are
-- made unless they wait already. $3 is the date that the event gives them, $4 the fingerprint of the Dag's mappers.
--
-- A waiting partition without a date takes the one of the event; dates that differ leave none, for which of them came
-- first is chance (`_get_or_create_apdr` in airflow/assets/manager.py).
WITH wanted AS (
    SELECT key, ordinal FROM unnest($2::text[]) WITH ORDINALITY AS wanted (key, ordinal)
),
latest AS (
    SELECT max(id) AS id
    FROM asset_partition_dag_run
    WHERE target_dag_id = $1 AND partition_key = ANY($2::text[])
    GROUP BY partition_key
),
-- Held: a scheduler that makes a run of one has done so before, and then it waits no more, or waits for us.
waiting AS (
    SELECT partition.id, partition.partition_key, partition.partition_date
    FROM asset_partition_dag_run partition
    WHERE partition.id IN (SELECT id FROM latest) AND partition.created_dag_run_id IS NULL
    ORDER BY partition.id
    FOR NO KEY UPDATE
),
dated AS (
    UPDATE asset_partition_dag_run
    SET partition_date = CASE WHEN waiting.partition_date IS NULL THEN $3 END, updated_at = clock_timestamp()
    FROM waiting
    WHERE asset_partition_dag_run.id = waiting.id
      AND $3 IS NOT NULL
      AND waiting.partition_date IS DISTINCT FROM $3
),
created AS (
    INSERT INTO asset_partition_dag_run
        (target_dag_id, partition_key, partition_date, rollup_fingerprint, created_at, updated_at)
    SELECT $1, key, $3, $4, clock_timestamp(), clock_timestamp()
    FROM wanted
    WHERE key NOT IN (SELECT partition_key FROM waiting)
    GROUP BY key
    ORDER BY min(ordinal)
    RETURNING id, partition_key
),
target AS (
    SELECT id, partition_key FROM waiting
    UNION ALL
    SELECT id, partition_key FROM created
)
INSERT INTO partitioned_asset_key_log
    (asset_id, asset_event_id, asset_partition_dag_run_id, source_partition_key, target_dag_id, target_partition_key,
     created_at)
SELECT $5, $6, target.id, $7, $1, wanted.key, clock_timestamp()
FROM wanted
JOIN target ON target.partition_key = wanted.key
ORDER BY wanted.ordinal
