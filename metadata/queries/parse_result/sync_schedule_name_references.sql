-- $1 the Dags; $2 one object a reference; $3 now.
WITH declared AS (
    SELECT DISTINCT ON (dag_id, name) *
    FROM json_to_recordset($2::json) AS declared (dag_id text, name text)
    ORDER BY dag_id, name
),

removed AS (
    DELETE FROM dag_schedule_asset_name_reference AS stored
    WHERE stored.dag_id = ANY($1)
        AND NOT EXISTS (
            SELECT FROM declared
            WHERE declared.dag_id = stored.dag_id AND declared.name = stored.name
        )
)

INSERT INTO dag_schedule_asset_name_reference (dag_id, name, created_at)
SELECT declared.dag_id, declared.name, $3
FROM declared
ON CONFLICT DO NOTHING
