-- $1 the Dags; $2 one object a reference; $3 now.
WITH declared AS (
    SELECT DISTINCT ON (dag_id, asset_id, task_id) *
    FROM json_to_recordset($2::json) AS declared (dag_id text, asset_id integer, task_id text)
    ORDER BY dag_id, asset_id, task_id
),

removed AS (
    DELETE FROM task_inlet_asset_reference AS stored
    WHERE stored.dag_id = ANY($1)
        AND NOT EXISTS (
            SELECT FROM declared
            WHERE declared.dag_id = stored.dag_id AND declared.asset_id = stored.asset_id AND declared.task_id = stored.task_id
        )
)

INSERT INTO task_inlet_asset_reference (dag_id, asset_id, task_id, created_at, updated_at)
SELECT declared.dag_id, declared.asset_id, declared.task_id, $3, $3
FROM declared
ON CONFLICT DO NOTHING
