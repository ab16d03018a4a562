SELECT alert.id, alert.name, alert.reference, alert."interval", alert.callback_def
FROM deadline_alert AS alert
WHERE alert.serialized_dag_id = (
    SELECT s.id
    FROM dag_version AS v
    JOIN serialized_dag AS s ON s.dag_version_id = v.id
    WHERE v.dag_id = $1
    ORDER BY v.version_number DESC
    LIMIT 1
)
ORDER BY alert.id
