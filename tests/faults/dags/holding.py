"""A task that tells its process id and goes on when it is released, so that a test can strike while it runs."""

import os
import time
from datetime import timedelta
from pathlib import Path

from airflow.sdk import dag, get_current_context, task


@dag(schedule=None)
def holding():
    @task(retries=1, retry_delay=timedelta(0))
    def hold():
        context = get_current_context()
        folder = Path(os.environ["HOLDING_FOLDER"])
        name = f"{context['run_id']}-{context['ti'].try_number}"
        draft = folder / f"{name}.draft"
        draft.write_text(str(os.getpid()))
        draft.rename(folder / f"{name}.pid")
        while not (folder / f"{context['run_id']}.released").exists():
            time.sleep(0.05)

    hold()


holding()
