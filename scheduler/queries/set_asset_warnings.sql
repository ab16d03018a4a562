-- Which Dags ($1) are warned of what ($2) about their assets; nobody else is.
WITH cleared AS (
    DELETE FROM dag_warning WHERE warning_type = 'asset conflict' AND dag_id <> ALL ($1::text[])
)
INSERT INTO dag_warning (dag_id, warning_type, message, timestamp)
SELECT dag_id, 'asset conflict', message, $3
FROM unnest($1::text[], $2::text[]) AS warning (dag_id, message)
ON CONFLICT (dag_id, warning_type) DO UPDATE SET message = excluded.message, timestamp = excluded.timestamp
