"""Home, the list of Dags, and the pages of one Dag."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from visitor import Visitor
from visits import visit


@visit("home")
def home(ui: Visitor) -> None:
    ui.open("/")
    for figure in ("9 Active Dags", "2 Running Dags", "0 Failed Dags"):
        expect(ui.main.get_by_role("link", name=figure)).to_be_visible()
    for figure in ("1 Required Actions", "1 Dag Import Error"):
        expect(ui.main.get_by_role("button", name=figure)).to_be_visible()
    for heading in ("Stats", "Health", "Pool Slots", "History", "Dag Runs", "Task Instances"):
        ui.sees_heading(heading)
    for state in ("Success", "Failed", "Upstream Failed", "Awaiting Input"):
        ui.sees(state)
    expect(ui.main.get_by_role("link", name="orders_table").first).to_be_visible()


@visit("import errors")
def import_errors(ui: Visitor) -> None:
    ui.open("/")
    ui.click("Dag Import Error", ui.main)
    ui.sees_heading("Dag Import Error", ui.dialog)
    ui.click("broken.py", ui.dialog)
    ui.sees("ImportError: the flour is missing", within=ui.dialog)


@visit("Dags: search, filters, tags, table")
def dags(ui: Visitor) -> None:
    ui.open("/dags")
    ui.sees_heading("11 Dags")
    search = ui.page.get_by_role("textbox", name=re.compile("Search Dags"))
    search.fill("invoi")
    ui.sees_heading("1 Dag")
    expect(ui.cards("invoices").get_by_role("link", name="orders_table")).to_be_visible()
    search.fill("")
    ui.sees_heading("11 Dags")

    ui.choose(ui.page.get_by_role("combobox").filter(has_text="Last run:"), "Failed")
    ui.sees_heading("1 Dag")
    expect(ui.cards("fragile")).to_be_visible()
    ui.choose(ui.page.get_by_role("combobox").filter(has_text="Last run:"), "All States")
    ui.sees_heading("11 Dags")

    ui.choose(ui.page.get_by_role("combobox", name="Filter Dags by tag"), "shop")
    ui.sees_heading("2 Dags")
    expect(ui.cards("orders")).to_contain_text("0 0 * * *")
    ui.click("Paused")
    ui.sees(re.compile("No Dags found"))
    ui.click("Active")
    ui.sees_heading("2 Dags")
    ui.click("Show table view")
    ui.sees_row("orders", "0 0 * * *")
    ui.click("Show card view")
    # The browser remembers the tag for the next visit.
    ui.page.get_by_role("combobox", name="Filter Dags by tag").press("Backspace")
    ui.sees_heading("9 Dags")


@visit("Dags: favourites, required actions")
def favourites(ui: Visitor) -> None:
    ui.open("/dags")
    ui.click("Favorite Dag", ui.cards("orders"))
    expect(ui.cards("orders").get_by_role("button", name="Unfavorite Dag")).to_be_visible()
    ui.page.get_by_role("button", name="Favorite", exact=True).click()
    ui.sees_heading("1 Dag")
    expect(ui.cards("orders")).to_be_visible()
    ui.page.get_by_test_id("nav-home-link").click()
    ui.sees_heading(re.compile("favorite Dag"))
    expect(ui.main.get_by_role("link", name="orders", exact=True).first).to_be_visible()
    ui.open("/dags")
    ui.page.get_by_test_id("dags-needs-review-filter").click()
    ui.sees_heading("1 Dag")
    expect(ui.cards("approval")).to_be_visible()


@visit("Dag: overview, documentation")
def overview(ui: Visitor) -> None:
    ui.open("/dags/orders")
    ui.sees_heading("orders")
    ui.sees("0 0 * * *", "shop", "daily", "v1")
    ui.sees_heading("Last 2 Dag Runs")
    ui.sees_heading("2 Asset Events")
    ui.click("Dag Docs")
    ui.sees_heading("Orders of a day", ui.dialog)
    ui.open("/dags/fragile")
    expect(ui.main.get_by_role("link", name="1 Failed Run")).to_be_visible()
    ui.click("Show Logs")
    ui.sees("the pump is broken")


@visit("Dag: grid and graph")
def grid_and_graph(ui: Visitor) -> None:
    ui.open("/dags/orders")
    square = ui.page.get_by_test_id("grid-first-read").get_by_test_id("task-state-badge")
    expect(square).to_be_visible()
    red, green, blue = ui.painted(square)
    if green <= max(red, blue):
        raise AssertionError(f"what succeeded is painted rgb({red}, {green}, {blue}), not green")
    ui.page.get_by_test_id("expand-all-button").click()
    for task in ("store.write", "store.verify"):
        expect(ui.page.get_by_test_id(f"grid-first-{task}")).to_be_visible()
    ui.page.get_by_test_id("collapse-all-button").click()
    expect(ui.page.get_by_test_id("grid-first-store.write")).to_have_count(0)

    ui.open("/dags/orders/runs/first")
    ui.click(re.compile("Show Graph"))
    for node in ("read", "regions", "count", "store"):
        expect(ui.page.get_by_test_id(f"rf__node-{node}")).to_be_visible()
    expect(ui.page.get_by_test_id("rf__node-count")).to_contain_text("count [3]")
    ui.click(re.compile("Show Grid"))


@visit("Dag: tasks, calendar, backfills, details")
def pages_of_a_dag(ui: Visitor) -> None:
    ui.open("/dags/orders/tasks")
    ui.sees_heading("5 Tasks")
    ui.sees_row("read", "all_success", "BashOperator", "false")
    ui.follow("Calendar")
    expect(ui.page.locator('[data-has-data="true"][data-states="success"]')).to_have_count(1)
    ui.follow("Backfills")
    ui.sees("No Backfills found")
    ui.follow("Details")
    expect(ui.page.get_by_test_id("dag-id-row")).to_contain_text("orders")
    expect(ui.page.get_by_test_id("max-active-runs-row")).to_contain_text("16")
    ui.follow("Audit Log", ui.main)
    ui.sees_row("success", "store.verify")


@visit("Dag: code and its versions")
def code(ui: Visitor) -> None:
    ui.open("/dags/recipe/code")
    ui.sees_code('print("the water boils")', 'print("it fries")')
    versions = ui.main.get_by_role("combobox").filter(has_text="v2")
    ui.choose(versions, "v1")
    expect(ui.page.locator(".view-lines").first).not_to_contain_text("fries")
    ui.sees_code('print("the water boils")')
    ui.click("Diff")
    ui.choose(ui.page.get_by_role("combobox", name="Compare with"), "v2")
    expect(ui.page.locator(".monaco-diff-editor")).to_contain_text("fries")


@visit("a task and a group over all runs")
def tasks(ui: Visitor) -> None:
    ui.open("/dags/orders/tasks/read")
    ui.sees_heading("Last 2 Task Instances")
    ui.follow("Task Instances", ui.main)
    ui.sees_heading("2 Task Instances")
    ui.sees_row("Success", "BashOperator")
    ui.follow("Audit Log", ui.main)
    ui.sees_row("success", "first")
    ui.open("/dags/orders/tasks/group/store")
    ui.sees_heading("store")
    ui.sees_heading("Last 4 Task Instances")
