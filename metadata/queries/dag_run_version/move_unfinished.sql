-- Attempts that are under way belong to this version of the Dag from now on; a state of null is not among them.
UPDATE task_instance
SET dag_version_id = $3
WHERE dag_id = $1 AND run_id = $2 AND state <> ALL ($4)
