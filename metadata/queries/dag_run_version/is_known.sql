-- Whether a task instance of a run belongs to a version of the Dag, now or in an earlier attempt.
SELECT EXISTS (
    SELECT FROM task_instance WHERE dag_id = $1 AND run_id = $2 AND dag_version_id = $3
) OR EXISTS (
    SELECT FROM task_instance_history WHERE dag_id = $1 AND run_id = $2 AND dag_version_id = $3
)
