-- Queued task instances on their way to a worker. The row is written in the transaction that sets `queued`, so that
-- no queued task instance is ever without a message.
CREATE TABLE tradewind.outbox (
    ti_id uuid PRIMARY KEY,
    queue text NOT NULL,
    priority_weight integer NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX outbox_next ON tradewind.outbox (queue, priority_weight DESC, created_at);
