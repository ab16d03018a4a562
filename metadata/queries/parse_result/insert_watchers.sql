-- $1 assets, $2 names of their watchers, $3 classes and $4 arguments of the triggers, $5 now. A watcher has a trigger of its own.
WITH wanted AS (
    SELECT
        wanted.*,
        nextval('trigger_id_seq')::integer AS trigger_id
    FROM unnest($1::integer[], $2::text[], $3::text[], $4::text[]) AS wanted (asset_id, name, classpath, kwargs)
),

triggers AS (
    INSERT INTO trigger (id, classpath, kwargs, created_date)
    SELECT trigger_id, classpath, kwargs, $5
    FROM wanted
    RETURNING id
)

INSERT INTO asset_watcher (name, asset_id, trigger_id)
SELECT wanted.name, wanted.asset_id, triggers.id
FROM wanted
JOIN triggers ON triggers.id = wanted.trigger_id
