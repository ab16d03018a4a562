-- Writes messages, or writes anew what had been left of an earlier queueing. $4 says whether a broker carries them.
INSERT INTO tradewind.outbox (ti_id, queue, priority_weight, publish_at)
SELECT ti_id, queue, priority_weight, CASE WHEN $4 THEN now() END
FROM unnest($1::uuid[], $2::text[], $3::int[]) AS message (ti_id, queue, priority_weight)
ON CONFLICT (ti_id) DO UPDATE
SET queue = excluded.queue, priority_weight = excluded.priority_weight, publish_at = excluded.publish_at, publications = 0
