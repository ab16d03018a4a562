-- $1 the Dags; $2, $3, $4 Dag, type and message; $5 now. Warnings of other types have other writers.
WITH declared AS (
    SELECT * FROM unnest($2::text[], $3::text[], $4::text[]) AS declared (dag_id, warning_type, message)
),

removed AS (
    DELETE FROM dag_warning AS stored
    WHERE stored.dag_id = ANY($1)
        AND stored.warning_type IN ('non-existent pool', 'runtime varying value')
        AND (stored.dag_id, stored.warning_type) NOT IN (SELECT declared.dag_id, declared.warning_type FROM declared)
)

INSERT INTO dag_warning (dag_id, warning_type, message, "timestamp")
SELECT declared.dag_id, declared.warning_type, declared.message, $5
FROM declared
ON CONFLICT (dag_id, warning_type) DO UPDATE SET message = EXCLUDED.message
WHERE dag_warning.message <> EXCLUDED.message
