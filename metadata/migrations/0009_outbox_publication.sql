-- Where a broker carries the messages: when a message is next to be published (again). It is null where workers take their
-- messages from the outbox themselves, which then costs no entry in the index.
ALTER TABLE tradewind.outbox
    ADD COLUMN publish_at timestamptz,
    -- How often it was published.
    ADD COLUMN publications integer NOT NULL DEFAULT 0;

CREATE INDEX outbox_due ON tradewind.outbox (publish_at, priority_weight DESC) WHERE publish_at IS NOT NULL;
