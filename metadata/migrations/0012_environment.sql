-- What the Python environment consists of that Dags are parsed in: the objects of the bucket that it was made of. Workers make
-- the same.
CREATE TABLE tradewind.environment (
    is_the_only boolean PRIMARY KEY DEFAULT TRUE CHECK (is_the_only),
    manifest jsonb NOT NULL,
    published_at timestamptz NOT NULL DEFAULT now()
);
