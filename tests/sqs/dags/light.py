"""A Dag of one task that does nearly nothing."""

from airflow.sdk import dag, task


@dag(schedule=None)
def light():
    @task
    def work():
        return 1

    work()


light()
