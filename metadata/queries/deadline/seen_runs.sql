-- A run ($2) and the newest $3 of its Dag ($1), without the identifiers of their traces.
SELECT to_jsonb(dr) - 'context_carrier'
FROM dag_run dr
WHERE dr.dag_id = $1
  AND (dr.id = $2 OR dr.id IN (SELECT id FROM dag_run WHERE dag_id = $1 ORDER BY run_after DESC, id DESC LIMIT $3))
ORDER BY dr.id
