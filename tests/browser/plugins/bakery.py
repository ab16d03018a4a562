"""A plugin, so that the list of plugins has one."""

from airflow.plugins_manager import AirflowPlugin


def loaves(flour: int) -> int:
    """How many loaves so much flour makes."""
    return flour // 2


class BakeryPlugin(AirflowPlugin):
    name = "bakery_plugin"
    macros = [loaves]
