-- $1 one object a deadline, with its callback; $2 the run; $3 now.
WITH made AS (
    SELECT *
    FROM jsonb_to_recordset($1) AS made (
        id uuid, deadline_time timestamptz, deadline_alert_id uuid, callback_id uuid, callback_type text, data json,
        bundle_name text
    )
),
callbacks AS (
    INSERT INTO callback (id, type, fetch_method, data, bundle_name, state, priority_weight, created_at)
    SELECT callback_id, callback_type, 'import_path', data, bundle_name, 'scheduled', 1, $3
    FROM made
)
INSERT INTO deadline (
    id, created_at, last_updated_at, dagrun_id, deadline_time, missed, callback_id, deadline_alert_id
)
SELECT id, $3, $3, $2, deadline_time, false, callback_id, deadline_alert_id
FROM made
