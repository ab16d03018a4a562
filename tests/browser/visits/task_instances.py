"""Task instances: lists, logs, XComs, templates, and mapped ones."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from visitor import Visitor
from visits import visit

READ = "/dags/orders/runs/first/tasks/read"


@visit("task instances")
def task_instances(ui: Visitor) -> None:
    ui.open("/task_instances")
    ui.sees_row("orders", "store.write", "Success", "@task")
    ui.sees_row("fragile", "pump", "Failed")
    ui.sees_row("fragile", "water", "Upstream Failed")
    ui.sees_row("chatter", "talk", "Running")
    ui.sees_row("approval", "ask", "Awaiting Input", "ApprovalOperator")
    expect(ui.rows("orders", "count", "Success")).to_have_count(6)


@visit("task instance: log")
def log(ui: Visitor) -> None:
    ui.open(READ)
    ui.sees_state("Success")
    ui.sees("reading at most 100 orders of Norway")
    search = ui.page.get_by_test_id("log-search-input")
    search.fill("Running command")
    ui.sees("1 of 1")
    search.fill("no such words")
    ui.sees("No matches")
    search.fill("")
    ui.open("/dags/fragile/runs/first/tasks/pump")
    ui.sees_state("Failed")
    ui.sees("RuntimeError", "the pump is broken")


@visit("task instance: templates, XComs, state, events, details")
def pages_of_a_task_instance(ui: Visitor) -> None:
    ui.open(f"{READ}/rendered_templates")
    ui.sees("echo reading at most 100 orders of Norway")
    ui.follow("Storage")
    ui.sees("Task state store stores values that persist across retries")
    ui.follow("XCom")
    ui.sees_row("return_value", "reading at most 100 orders of Norway")
    ui.follow("Audit Log", ui.main)
    ui.sees_row("success", "shop")
    ui.follow("Code", ui.main)
    ui.sees_code('orders_table = Asset("orders_table", "s3://shop/orders", group="shop")')
    ui.follow("Details", ui.main)
    ui.sees_row("Operator", "BashOperator")
    ui.sees_row("Priority Weight", "5")
    ui.open("/dags/orders/runs/first/tasks/store.write/asset_events")
    ui.sees_heading("1 Asset Event")
    expect(ui.main.get_by_role("link", name="orders_table").first).to_be_visible()


@visit("XComs of all task instances")
def xcoms(ui: Visitor) -> None:
    ui.open("/xcoms")
    # Lists are folded, a moment after they are shown.
    ui.click("Expand all extra JSON")
    ui.sees_row("return_value", "orders", "first", "regions", "Norway middle")
    # Each of the three returned a dictionary with two keys.
    expect(ui.rows("orders", "first", "count")).to_have_count(9)


@visit("mapped task and task group of a run")
def mapped(ui: Visitor) -> None:
    ui.open("/dags/orders/runs/first/tasks/count/mapped")
    ui.sees_heading("3 Task Instances")
    for index in ("0", "1", "2"):
        expect(ui.main.get_by_role("link", name=index, exact=True)).to_be_visible()
    ui.follow("Details", ui.main)
    ui.sees_row("Total Success", "3")
    ui.open("/dags/orders/runs/first/tasks/count/mapped/1")
    ui.sees("counting Norway middle")
    ui.follow("Task Instances [3]", ui.main)
    ui.sees_heading("3 Task Instances")
    ui.open("/dags/orders/runs/first/tasks/group/store")
    ui.sees_heading("2 Task Instances")
    ui.sees_row("store.verify", "Success")


@visit("task instance: log of a running task")
def live_log(ui: Visitor) -> None:
    ui.open("/dags/chatter/runs/first/tasks/talk")
    ui.sees_state("Running")
    ui.sees("the first line")
    expect(ui.page.get_by_text("the line after it")).to_have_count(0)
    (ui.folder / "go-on").touch()
    # Nobody reloads the page: it follows the log, and the state.
    ui.sees("the line after it")
    ui.sees_state("Success")
    ui.sees(re.compile("Post Execute"))
