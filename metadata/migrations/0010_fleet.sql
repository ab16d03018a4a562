-- Workers that a scheduler has started, by the id under which they also tell of themselves in `tradewind.worker`.
CREATE TABLE tradewind.fleet_worker (
    id uuid PRIMARY KEY,
    queue text NOT NULL,
    driver text NOT NULL,
    -- What the driver knows it by; null until it is started.
    handle text,
    launched_at timestamptz NOT NULL DEFAULT now(),
    -- Whether it has ever said that it lives.
    was_seen boolean NOT NULL DEFAULT FALSE,
    -- What it is to do, which it hears with its next sign of life.
    asked text NOT NULL DEFAULT 'work' CHECK (asked IN ('work', 'drain', 'end')),
    asked_at timestamptz NOT NULL DEFAULT now(),
    -- Whether the driver keeps others from ending it.
    is_protected boolean NOT NULL DEFAULT FALSE
);
