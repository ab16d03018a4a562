"""Official Airflow's API server asks a worker for a log: what it would show is written as JSON."""

import json
import sys
from types import SimpleNamespace

from airflow.utils.log.file_task_handler import FileTaskHandler

host, file, folder = sys.argv[1:]
attempt = SimpleNamespace(hostname=host, triggerer_job=None, task=None)
sources, streams = FileTaskHandler(folder)._read_from_logs_server(attempt, file)
lines = [line.rstrip("\n") for stream in streams for line in stream]
json.dump({"sources": sources, "lines": lines}, sys.stdout)
