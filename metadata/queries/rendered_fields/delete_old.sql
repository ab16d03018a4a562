-- Forgets the rendered fields of a task, except in the newest runs of its Dag. Runs are ordered by `run_after`, since
-- a run may have no logical date.
DELETE FROM rendered_task_instance_fields
WHERE dag_id = $1
    AND task_id = $2
    AND run_id NOT IN (SELECT run_id FROM dag_run WHERE dag_id = $1 ORDER BY run_after DESC LIMIT $3)
