-- A worker in a service asks for its protection by itself.
ALTER TABLE tradewind.fleet_worker DROP COLUMN is_protected;
