-- What tasks kept about assets that are no longer active, and the queue of Dags that no longer wait for assets.
WITH kept AS (
    DELETE FROM asset_state_store
    WHERE asset_id NOT IN (SELECT asset.id FROM asset JOIN asset_active USING (name, uri))
)
DELETE FROM asset_dag_run_queue
USING dag
WHERE dag.dag_id = asset_dag_run_queue.target_dag_id
  AND coalesce(jsonb_typeof(dag.asset_expression::jsonb), 'null') = 'null'
