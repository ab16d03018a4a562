-- Questions that only Python can answer, left here by processes that have none (tradewind_metadata::evaluation). Nobody
-- misses them after a crash: who asked is gone, or asks again.
CREATE UNLOGGED TABLE tradewind.evaluation (
    id uuid PRIMARY KEY,
    dag_id text NOT NULL,
    question jsonb NOT NULL,
    reply jsonb,
    asked_at timestamptz NOT NULL DEFAULT now(),
    claimed_at timestamptz
);

CREATE INDEX evaluation_open ON tradewind.evaluation (asked_at) WHERE claimed_at IS NULL;

-- Task instances whose priority weight a strategy of a plugin has still to give. The row is written in the transaction
-- that makes or clears the task instance; its run waits until the row is gone.
CREATE TABLE tradewind.priority_weight (
    ti_id uuid PRIMARY KEY
);
