-- Notes that messages were published, to be published again if nobody has claimed them after $2 seconds, then after twice that
-- time, and so on. Rows are locked in the order in which workers lock them.
UPDATE tradewind.outbox
SET publications = outbox.publications + 1,
    publish_at = now() + make_interval(secs => $2 * 2 ^ least(outbox.publications, 10))
FROM (SELECT ti_id FROM tradewind.outbox WHERE ti_id = ANY ($1) ORDER BY ti_id FOR UPDATE) AS published
WHERE outbox.ti_id = published.ti_id
