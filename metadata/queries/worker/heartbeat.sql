-- A worker says that it lives. Those that were last heard of before $8 are forgotten.
WITH forgotten AS (
    DELETE FROM tradewind.worker WHERE last_heartbeat < $8 AND id <> $1
)
INSERT INTO tradewind.worker (id, hostname, queues, slots, running, takes, started_at, last_heartbeat)
VALUES ($1, $2, $3, $4, $5, $6, $7, $7)
ON CONFLICT (id) DO UPDATE SET running = excluded.running, takes = excluded.takes, last_heartbeat = excluded.last_heartbeat
