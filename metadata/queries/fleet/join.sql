-- A worker makes itself known to its fleet, in place of one that its driver knew by the same handle.
WITH before AS (
    DELETE FROM tradewind.fleet_worker WHERE driver = $3 AND handle = $4 AND id <> $1
)
INSERT INTO tradewind.fleet_worker (id, queue, driver, handle) VALUES ($1, $2, $3, $4)
