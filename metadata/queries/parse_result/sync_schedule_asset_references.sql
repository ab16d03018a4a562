-- $1 the Dags; $2 one object a reference; $3 now.
WITH declared AS (
    SELECT DISTINCT ON (dag_id, asset_id) *
    FROM json_to_recordset($2::json) AS declared (dag_id text, asset_id integer, allow_producer_teams json, allow_global_producers boolean)
    ORDER BY dag_id, asset_id
),

removed AS (
    DELETE FROM dag_schedule_asset_reference AS stored
    WHERE stored.dag_id = ANY($1)
        AND NOT EXISTS (
            SELECT FROM declared
            WHERE declared.dag_id = stored.dag_id AND declared.asset_id = stored.asset_id
        )
)

INSERT INTO dag_schedule_asset_reference (dag_id, asset_id, allow_producer_teams, allow_global_producers, created_at, updated_at)
SELECT declared.dag_id, declared.asset_id, COALESCE(declared.allow_producer_teams, 'null'), declared.allow_global_producers, $3, $3
FROM declared
ON CONFLICT (asset_id, dag_id) DO UPDATE SET
    allow_producer_teams = EXCLUDED.allow_producer_teams,
    allow_global_producers = EXCLUDED.allow_global_producers,
    updated_at = EXCLUDED.updated_at
WHERE (dag_schedule_asset_reference.allow_producer_teams::text, dag_schedule_asset_reference.allow_global_producers) IS DISTINCT FROM (EXCLUDED.allow_producer_teams::text, EXCLUDED.allow_global_producers)
