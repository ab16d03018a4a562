SELECT EXISTS (
    SELECT
    FROM task_instance AS ti
    JOIN tradewind.priority_weight AS wanted ON wanted.ti_id = ti.id
    WHERE ti.dag_id = $1 AND ti.run_id = $2
)
