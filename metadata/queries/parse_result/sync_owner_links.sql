-- $1 the Dags; $2, $3, $4 Dag, owner and link.
WITH declared AS (
    SELECT * FROM unnest($2::text[], $3::text[], $4::text[]) AS declared (dag_id, owner, link)
),

removed AS (
    DELETE FROM dag_owner_attributes AS stored
    WHERE stored.dag_id = ANY($1)
        AND (stored.dag_id, stored.owner) NOT IN (SELECT declared.dag_id, declared.owner FROM declared)
)

INSERT INTO dag_owner_attributes (dag_id, owner, link)
SELECT declared.dag_id, declared.owner, declared.link
FROM declared
ON CONFLICT (dag_id, owner) DO UPDATE SET link = EXCLUDED.link
WHERE dag_owner_attributes.link <> EXCLUDED.link
