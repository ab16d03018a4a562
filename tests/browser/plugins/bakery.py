"""A plugin, so that the list of plugins has one, with a page of its own."""

from airflow.plugins_manager import AirflowPlugin


def loaves(flour: int) -> int:
    """How many loaves so much flour makes."""
    return flour // 2


class BakeryPlugin(AirflowPlugin):
    name = "bakery_plugin"
    macros = [loaves]
    # Of this server, so that nothing is asked of the network.
    external_views = [
        {"name": "Oven", "href": "/api/v2/monitor/health", "destination": "nav", "url_route": "oven"},
    ]
