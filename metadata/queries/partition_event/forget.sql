-- Forgets events that wait for a Dag, but are no longer in Airflow's tables.
DELETE FROM tradewind.partition_event AS waiting
WHERE waiting.target_dag_id = $1
  AND NOT EXISTS (
      SELECT FROM asset_event AS event
      JOIN asset ON asset.id = event.asset_id
      WHERE event.id = waiting.asset_event_id AND event.partition_key IS NOT NULL
  )
