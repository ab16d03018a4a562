-- The alerts of a version ($1) of a Dag ($2).
SELECT alert.id, alert.reference, alert."interval", alert.callback_def, dag.bundle_name
FROM serialized_dag
JOIN deadline_alert alert ON alert.serialized_dag_id = serialized_dag.id
JOIN dag ON dag.dag_id = $2
WHERE serialized_dag.dag_version_id = $1
ORDER BY alert.id
