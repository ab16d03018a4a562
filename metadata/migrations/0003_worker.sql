-- Workers, as they tell of themselves: Airflow's `job` table has no kind for them.
CREATE TABLE tradewind.worker (
    id uuid PRIMARY KEY,
    hostname text NOT NULL,
    queues text[] NOT NULL,
    slots integer NOT NULL,
    running integer NOT NULL DEFAULT 0,
    -- Whether it takes more; one that ends lets what runs end first.
    takes boolean NOT NULL DEFAULT true,
    started_at timestamptz NOT NULL DEFAULT now(),
    last_heartbeat timestamptz NOT NULL DEFAULT now()
);
