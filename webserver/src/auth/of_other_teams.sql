-- The Dags of a bundle that belongs to a team, and to none of these ($1).
SELECT d.dag_id
FROM dag d
JOIN dag_bundle_team bt ON bt.dag_bundle_name = d.bundle_name
WHERE bt.team_name <> ALL($1)
