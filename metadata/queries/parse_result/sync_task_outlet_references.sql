-- $1 the Dags; $2 one object a reference; $3 now.
WITH declared AS (
    SELECT DISTINCT ON (dag_id, asset_id, task_id) *
    FROM json_to_recordset($2::json) AS declared (dag_id text, asset_id integer, task_id text, allow_consumer_teams json, allow_global_consumers boolean)
    ORDER BY dag_id, asset_id, task_id
),

removed AS (
    DELETE FROM task_outlet_asset_reference AS stored
    WHERE stored.dag_id = ANY($1)
        AND NOT EXISTS (
            SELECT FROM declared
            WHERE declared.dag_id = stored.dag_id AND declared.asset_id = stored.asset_id AND declared.task_id = stored.task_id
        )
)

INSERT INTO task_outlet_asset_reference (dag_id, asset_id, task_id, allow_consumer_teams, allow_global_consumers, created_at, updated_at)
SELECT declared.dag_id, declared.asset_id, declared.task_id, COALESCE(declared.allow_consumer_teams, 'null'), declared.allow_global_consumers, $3, $3
FROM declared
ON CONFLICT (asset_id, dag_id, task_id) DO UPDATE SET
    allow_consumer_teams = EXCLUDED.allow_consumer_teams,
    allow_global_consumers = EXCLUDED.allow_global_consumers,
    updated_at = EXCLUDED.updated_at
WHERE (task_outlet_asset_reference.allow_consumer_teams::text, task_outlet_asset_reference.allow_global_consumers) IS DISTINCT FROM (EXCLUDED.allow_consumer_teams::text, EXCLUDED.allow_global_consumers)
