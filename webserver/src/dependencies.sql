-- What the latest version of each Dag that is there says it depends on.
SELECT latest.dag_id, latest.dependencies
FROM (
    SELECT DISTINCT ON (s.dag_id) s.dag_id, s.data #> '{dag,dag_dependencies}' AS dependencies
    FROM serialized_dag s
    JOIN dag d ON d.dag_id = s.dag_id
    WHERE NOT d.is_stale /* of: d.dag_id */
    ORDER BY s.dag_id, s.created_at DESC
) AS latest
