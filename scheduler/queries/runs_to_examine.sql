-- Running runs, those longest not looked at first.
SELECT dag_run.id
FROM dag_run
JOIN dag ON dag.dag_id = dag_run.dag_id
WHERE dag_run.state = 'running' AND NOT dag.is_stale
ORDER BY dag_run.last_scheduling_decision NULLS FIRST, dag_run.run_after
LIMIT $1
