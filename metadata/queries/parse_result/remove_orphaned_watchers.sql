-- $1 the assets of the file, which keep theirs.
DELETE FROM asset_watcher AS w
WHERE w.asset_id <> ALL($1)
    AND NOT EXISTS (SELECT FROM dag_schedule_asset_reference AS reference WHERE reference.asset_id = w.asset_id)
