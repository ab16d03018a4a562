"""A plugin, so that the list of plugins has one, with pages of its own wherever the UI has room for them."""

import base64
from pathlib import Path

from airflow.plugins_manager import AirflowPlugin

APP = Path(__file__).with_name("bakery.js").read_text()

# Of this server, so that nothing is asked of the network.
OPEN_TO_ALL = "/api/v2/version"


def loaves(flour: int) -> int:
    """How many loaves so much flour makes."""
    return flour // 2


def app(name: str, destination: str, **more: str) -> dict[str, str]:
    """A React app, by a name that no browser has for something else. Each needs a bundle of its own: a browser runs the script of
    an address once."""
    bundle = base64.b64encode(f"{APP}\n// {name}\n".encode()).decode()
    return {"name": name, "bundle_url": f"data:text/javascript;base64,{bundle}", "destination": destination, **more}


class BakeryPlugin(AirflowPlugin):
    name = "bakery_plugin"
    macros = [loaves]
    external_views = [
        {"name": "Oven", "href": "/api/v2/monitor/health", "destination": "nav", "url_route": "oven"},
        {"name": "Cellar", "href": OPEN_TO_ALL, "destination": "nav", "url_route": "cellar", "category": "admin"},
        {"name": "Bill", "href": f"{OPEN_TO_ALL}?of={{DAG_ID}}", "destination": "dag", "url_route": "bill"},
        {
            "name": "Shelf",
            "href": f"{OPEN_TO_ALL}?of={{DAG_ID}}/{{RUN_ID}}/{{TASK_ID}}/{{MAP_INDEX}}",
            "destination": "task_instance",
            "url_route": "shelf",
        },
        # Elsewhere: a link, which opens no page of the UI.
        {"name": "Mill", "href": "https://mill.example/", "destination": "nav"},
    ]
    react_apps = [
        app("Mixer", "nav", url_route="mixer"),
        app("Scale", "dag", url_route="scale"),
        app("Timer", "dag_run", url_route="timer"),
        app("Recipe", "task", url_route="recipe"),
        app("Crumb", "task_instance", url_route="crumb"),
        app("Counter", "dashboard"),
        app("Sign", "base"),
    ]
