-- Messages that nobody has claimed, by queue, and for how many seconds the oldest has waited.
SELECT queue, count(*) AS messages, extract(epoch FROM now() - min(created_at))::float8 AS oldest
FROM tradewind.outbox
GROUP BY queue
ORDER BY queue
