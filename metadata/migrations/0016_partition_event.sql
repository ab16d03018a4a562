-- Asset events whose partition the mapper of a plugin has still to map to those of a Dag. The row is written in the
-- transaction that records the event, and goes when the event is in its partitions, or is told in the audit log.
CREATE TABLE tradewind.partition_event (
    asset_event_id integer NOT NULL,
    target_dag_id text NOT NULL,
    -- The date of the producing run's partition, which asset_event does not hold.
    partition_date timestamptz,
    -- [scheduler] partition_mapper_max_downstream_keys
    max_keys bigint NOT NULL,
    -- Until then a scheduler sees to it, or it is not tried again.
    claimed_until timestamptz,
    PRIMARY KEY (asset_event_id, target_dag_id)
);
