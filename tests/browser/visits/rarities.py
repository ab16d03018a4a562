"""What few Dags have: deadlines, warnings, links that lead elsewhere."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from visitor import Visitor
from visits import visit


@visit("deadlines")
def deadlines(ui: Visitor) -> None:
    ui.open("/deadlines")
    ui.sees_row("errands", "first", "back for lunch")
    ui.open("/dags/errands/runs/first")
    ui.sees_state("Success")
    ui.sees("Missed", "(back for lunch)", "Must complete within a few seconds of queue time")
    ui.sees(re.compile("^Finished .* after deadline"))


@visit("Dag warnings")
def warnings(ui: Visitor) -> None:
    ui.open("/dags/forecast")
    ui.click(re.compile("Dag warnings"))
    ui.sees("This Dag uses runtime-variable values in Dag construction.", within=ui.dialog)


@visit("task instance: extra link")
def extra_link(ui: Visitor) -> None:
    ui.open("/dags/errands/runs/first/tasks/send/details")
    ui.sees_state("Success")
    link = ui.main.get_by_role("link", name="Triggered DAG")
    expect(link).to_be_visible()
    assert "/dags/errand/runs/sent" in link.get_attribute("href"), link.get_attribute("href")
