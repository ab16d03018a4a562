-- Takes the deadline that was asked for first, for $2 seconds, of Dags in the bundles $1, with its alert and its run. What is left of
-- a run that was deleted, or of an alert that was replaced, goes.
WITH orphaned AS (
    DELETE FROM tradewind.deadline_request AS request
    WHERE NOT EXISTS (SELECT FROM dag_run WHERE dag_run.id = request.dag_run_id)
       OR NOT EXISTS (SELECT FROM deadline_alert alert WHERE alert.id = request.deadline_alert_id)
),
chosen AS (
    SELECT request.dag_run_id, request.deadline_alert_id, dag.bundle_name
    FROM tradewind.deadline_request AS request
    JOIN dag_run dr ON dr.id = request.dag_run_id
    JOIN dag ON dag.dag_id = dr.dag_id
    WHERE (request.claimed_until IS NULL OR request.claimed_until < now()) AND dag.bundle_name = ANY ($1)
    ORDER BY request.requested_at
    LIMIT 1
    FOR UPDATE OF request SKIP LOCKED
),
claimed AS (
    UPDATE tradewind.deadline_request AS request
    SET claimed_until = now() + make_interval(secs => $2)
    FROM chosen
    WHERE request.dag_run_id = chosen.dag_run_id AND request.deadline_alert_id = chosen.deadline_alert_id
    RETURNING request.dag_run_id, request.deadline_alert_id, request.requested_at, chosen.bundle_name
)
SELECT
    alert.id, alert.reference, alert."interval", alert.callback_def, claimed.bundle_name,
    claimed.requested_at, dr.id AS dag_run_id, dr.dag_id, dr.run_id
FROM claimed
JOIN deadline_alert alert ON alert.id = claimed.deadline_alert_id
JOIN dag_run dr ON dr.id = claimed.dag_run_id
