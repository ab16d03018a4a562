-- $1 the Dags; $2, $3 Dag and tag.
WITH declared AS (
    SELECT DISTINCT * FROM unnest($2::text[], $3::text[]) AS declared (dag_id, name)
),

removed AS (
    DELETE FROM dag_tag
    WHERE dag_tag.dag_id = ANY($1)
        AND (dag_tag.dag_id, dag_tag.name) NOT IN (SELECT declared.dag_id, declared.name FROM declared)
)

INSERT INTO dag_tag (dag_id, name)
SELECT declared.dag_id, declared.name
FROM declared
ON CONFLICT DO NOTHING
