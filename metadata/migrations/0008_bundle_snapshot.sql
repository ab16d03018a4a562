-- What each version of a Dag bundle in S3 consists of (tradewind_metadata::bundle_snapshot), so that any machine can build the
-- version that a run is pinned to. A row stays while a run or a Dag names its version.
CREATE TABLE tradewind.bundle_snapshot (
    bundle_name text NOT NULL,
    version text NOT NULL,
    bucket text NOT NULL,
    prefix text NOT NULL,
    -- A list of objects: path below the prefix, etag, size, version_id where the bucket keeps versions.
    manifest jsonb NOT NULL,
    first_seen_at timestamptz NOT NULL DEFAULT now(),
    -- When it last became the state of the prefix.
    current_since timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (bundle_name, version)
);
