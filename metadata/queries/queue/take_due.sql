-- Takes up to $1 messages that are due to be published, for $2 seconds: who dies while publishing leaves them to others. What
-- another publisher is taking is passed over.
UPDATE tradewind.outbox
SET publish_at = now() + make_interval(secs => $2)
FROM (
    SELECT ti_id
    FROM tradewind.outbox
    WHERE publish_at <= now()
    ORDER BY publish_at, priority_weight DESC
    LIMIT $1
    FOR UPDATE SKIP LOCKED
) AS due
WHERE outbox.ti_id = due.ti_id
RETURNING outbox.ti_id, outbox.queue, outbox.priority_weight, outbox.created_at, outbox.publications
