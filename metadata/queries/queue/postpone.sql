-- Puts off messages that could not be published, for $2 seconds.
UPDATE tradewind.outbox
SET publish_at = now() + make_interval(secs => $2)
FROM (SELECT ti_id FROM tradewind.outbox WHERE ti_id = ANY ($1) ORDER BY ti_id FOR UPDATE) AS postponed
WHERE outbox.ti_id = postponed.ti_id
