-- `remove_references_to_deleted_dags` in airflow/models/asset.py, which leaves the inlets alone.
WITH stale AS (
    SELECT dag_id FROM dag WHERE is_stale
),

assets AS (
    DELETE FROM dag_schedule_asset_reference WHERE dag_id IN (SELECT dag_id FROM stale)
),

names AS (
    DELETE FROM dag_schedule_asset_name_reference WHERE dag_id IN (SELECT dag_id FROM stale)
),

uris AS (
    DELETE FROM dag_schedule_asset_uri_reference WHERE dag_id IN (SELECT dag_id FROM stale)
),

aliases AS (
    DELETE FROM dag_schedule_asset_alias_reference WHERE dag_id IN (SELECT dag_id FROM stale)
)

DELETE FROM task_outlet_asset_reference WHERE dag_id IN (SELECT dag_id FROM stale)
