"""A Dag file for Airflow that kills its own process."""

import os
import signal

os.kill(os.getpid(), signal.SIGKILL)
