-- $1 the Dags; $2 one object a reference; $3 now.
WITH declared AS (
    SELECT DISTINCT ON (dag_id, alias_id) *
    FROM json_to_recordset($2::json) AS declared (dag_id text, alias_id integer)
    ORDER BY dag_id, alias_id
),

removed AS (
    DELETE FROM dag_schedule_asset_alias_reference AS stored
    WHERE stored.dag_id = ANY($1)
        AND NOT EXISTS (
            SELECT FROM declared
            WHERE declared.dag_id = stored.dag_id AND declared.alias_id = stored.alias_id
        )
)

INSERT INTO dag_schedule_asset_alias_reference (dag_id, alias_id, created_at, updated_at)
SELECT declared.dag_id, declared.alias_id, $3, $3
FROM declared
ON CONFLICT DO NOTHING
