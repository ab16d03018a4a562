-- Indexes on Airflow's tables that it has not: without these, the lists of all task instances sort all of them, and the
-- list of Dags reads every run there ever was of each Dag it shows.
CREATE INDEX IF NOT EXISTS tradewind_task_instance_start_date ON task_instance (start_date, id);
CREATE INDEX IF NOT EXISTS tradewind_dag_run_recent ON dag_run (dag_id, run_after, id);
