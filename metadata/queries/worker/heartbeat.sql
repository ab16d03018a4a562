-- A worker says that it lives, and hears what its fleet asks of it. Those that were last heard of before $8 are forgotten.
WITH forgotten AS (
    DELETE FROM tradewind.worker WHERE last_heartbeat < $8 AND id <> $1
)
INSERT INTO tradewind.worker (id, hostname, queues, slots, running, takes, started_at, last_heartbeat)
VALUES ($1, $2, $3, $4, $5, $6, $7, $7)
ON CONFLICT (id) DO UPDATE
SET slots = excluded.slots, running = excluded.running, takes = excluded.takes, last_heartbeat = excluded.last_heartbeat
RETURNING (SELECT asked FROM tradewind.fleet_worker WHERE fleet_worker.id = $1)
