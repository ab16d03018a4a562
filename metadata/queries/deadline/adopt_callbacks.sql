-- Takes over callbacks that an official scheduler has left waiting for more than $1 seconds, of Dags in the bundles
-- $2: it is gone, or its executor is full.
WITH left_behind AS (
    UPDATE callback
    SET state = 'queued'
    FROM deadline
    WHERE deadline.callback_id = callback.id
      AND callback.type = 'executor'
      AND callback.state = 'pending'
      AND (callback.bundle_name IS NULL OR callback.bundle_name = ANY ($2))
      AND deadline.missed
      AND deadline.last_updated_at < now() - make_interval(secs => $1)
    RETURNING callback.id
)
INSERT INTO tradewind.deadline_callback (callback_id)
SELECT id FROM left_behind
ON CONFLICT DO NOTHING
