-- $1 one object an alert; $2 now.
WITH declared AS (
    SELECT declared.*, latest.id AS serialized_dag_id
    FROM json_to_recordset($1::json)
        AS declared (dag_id text, id uuid, name text, reference json, "interval" json, callback_def json)
    JOIN LATERAL (
        SELECT s.id
        FROM dag_version AS v
        JOIN serialized_dag AS s ON s.dag_version_id = v.id
        WHERE v.dag_id = declared.dag_id
        ORDER BY v.version_number DESC
        LIMIT 1
    ) AS latest ON true
),

removed AS (
    DELETE FROM deadline_alert WHERE serialized_dag_id IN (SELECT serialized_dag_id FROM declared)
)

INSERT INTO deadline_alert (id, created_at, serialized_dag_id, name, reference, "interval", callback_def)
SELECT id, $2, serialized_dag_id, name, reference, "interval", callback_def
FROM declared
