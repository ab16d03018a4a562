"""An Airflow Dag file far below that imports what is not there."""

import nothing_of_this_name  # noqa: F401
