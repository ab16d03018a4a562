"""Connections, variables, pools, and what an administrator looks up."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from visitor import Visitor
from visits import visit


@visit("connections: create, edit, delete")
def connections(ui: Visitor) -> None:
    ui.open("/connections")
    ui.sees("No connection found!")
    ui.click("Add Connection")
    ui.dialog.get_by_role("textbox", name="Connection ID").fill("bakery")
    kind = ui.dialog.get_by_role("combobox", name="Connection Type")
    kind.fill("http")
    ui.page.keyboard.press("Enter")
    ui.dialog.get_by_role("textbox", name="Host").fill("bakery.example")
    ui.dialog.get_by_role("textbox", name="Password").fill("secret")
    ui.click("Save", ui.dialog)
    ui.sees_row("bakery", "http", "bakery.example")
    ui.click("Edit Connection")
    ui.dialog.get_by_role("textbox", name="Host").fill("mill.example")
    ui.click("Save", ui.dialog)
    ui.sees_row("bakery", "mill.example")
    ui.click("Delete Connection")
    ui.click(re.compile("^(Yes, )?Delete"), ui.dialog)
    ui.sees("No connection found!")


@visit("variables: create, edit, delete")
def variables(ui: Visitor) -> None:
    ui.open("/variables")
    ui.sees("No variables found")
    ui.click("Add Variable")
    ui.dialog.get_by_role("textbox", name="Key").fill("flour")
    ui.dialog.get_by_role("textbox", name="Value").fill("rye")
    ui.click("Save", ui.dialog)
    ui.sees_row("flour", "rye")
    ui.click("Edit Variable")
    ui.dialog.get_by_role("textbox", name="Value").fill("wheat")
    ui.click("Save", ui.dialog)
    ui.sees_row("flour", "wheat")
    ui.click("Delete Variable")
    ui.click(re.compile("^(Yes, )?Delete"), ui.dialog)
    ui.sees("No variables found")


@visit("pools: create, edit, delete")
def pools(ui: Visitor) -> None:
    ui.open("/pools")
    ui.sees_heading("1 Pool")
    ui.sees("default_pool (128 Slots)")
    ui.click("Add Pool")
    ui.dialog.get_by_role("textbox", name="Name").fill("ovens")
    ui.dialog.get_by_role("spinbutton", name="Slots").fill("2")
    ui.click("Save", ui.dialog)
    ui.sees("ovens (2 Slots)")
    ui.page.get_by_role("button", name="Edit Pool").last.click()
    ui.dialog.get_by_role("spinbutton", name="Slots").fill("3")
    ui.click("Save", ui.dialog)
    ui.sees("ovens (3 Slots)")
    ui.page.get_by_role("button", name="Delete Pool").last.click()
    ui.click(re.compile("^(Yes, )?Delete"), ui.dialog)
    ui.sees_heading("1 Pool")


@visit("providers, plugins, jobs")
def lists(ui: Visitor) -> None:
    ui.open("/providers")
    ui.sees_row("apache-airflow-providers-standard")
    ui.open("/plugins")
    ui.sees_heading("Plugins")
    ui.sees_row("bakery_plugin")
    ui.open("/jobs")
    ui.sees_row("SchedulerJob", "Running")
    ui.sees_row("DagProcessorJob", "Running")


@visit("configuration")
def configuration(ui: Visitor) -> None:
    ui.open("/configs")
    ui.sees_row("core", "dags_folder", str(ui.folder / "dags"))
    # Secrets are not shown.
    ui.sees_row("database", "sql_alchemy_conn", "< hidden >")


@visit("audit log")
def audit_log(ui: Visitor) -> None:
    ui.open("/events")
    for event in ("delete_pool", "patch_variable", "post_connection"):
        ui.sees_row(event, "admin")
    expect(ui.main.get_by_text("secret", exact=True)).to_have_count(0)
