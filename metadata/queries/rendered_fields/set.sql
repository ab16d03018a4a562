-- Stores the rendered fields of the task instance with an id, replacing earlier ones.
INSERT INTO rendered_task_instance_fields (dag_id, task_id, run_id, map_index, rendered_fields)
SELECT dag_id, task_id, run_id, map_index, $2
FROM task_instance
WHERE id = $1
ON CONFLICT (dag_id, task_id, run_id, map_index)
DO UPDATE SET rendered_fields = excluded.rendered_fields, k8s_pod_yaml = excluded.k8s_pod_yaml
RETURNING dag_id, task_id
