-- The team of each Dag whose bundle belongs to one.
SELECT d.dag_id, bt.team_name
FROM dag d
JOIN dag_bundle_team bt ON bt.dag_bundle_name = d.bundle_name
