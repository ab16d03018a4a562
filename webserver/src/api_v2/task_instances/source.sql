task_instance ti
JOIN dag_run dr ON dr.dag_id = ti.dag_id AND dr.run_id = ti.run_id
JOIN dag d ON d.dag_id = ti.dag_id
LEFT JOIN task_instance_note note ON note.ti_id = ti.id
LEFT JOIN rendered_task_instance_fields rtif
    ON rtif.dag_id = ti.dag_id AND rtif.task_id = ti.task_id AND rtif.run_id = ti.run_id
    AND rtif.map_index = ti.map_index
LEFT JOIN trigger tr ON tr.id = ti.trigger_id
LEFT JOIN job ON job.id = tr.triggerer_id
LEFT JOIN dag_version v ON v.id = ti.dag_version_id
