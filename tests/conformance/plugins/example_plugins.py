"""Registers the plugins of Airflow's example Dags under the module names by which those Dags import them.

With `[core] load_examples` Airflow does so itself, but then it also chooses the names of the example bundles.
"""

from airflow.example_dags.plugins.business_day_window import *  # noqa: F403
from airflow.example_dags.plugins.custom_partition_mapper import *  # noqa: F403
from airflow.example_dags.plugins.custom_partition_timetable import *  # noqa: F403
from airflow.example_dags.plugins.decreasing_priority_weight_strategy import *  # noqa: F403
from airflow.example_dags.plugins.workday import *  # noqa: F403
