"""Dag runs and what belongs to one."""

from __future__ import annotations

from playwright.sync_api import Locator, expect

from visitor import Visitor
from visits import visit


@visit("runs")
def runs(ui: Visitor) -> None:
    ui.open("/dag_runs")
    ui.sees_row("orders", "first", "Success", "Manual", "admin")
    ui.sees_row("orders", "scheduled__", "Success", "Scheduled")
    ui.sees_row("invoices", "asset_triggered__", "Success", "Asset Triggered")
    ui.sees_row("fragile", "first", "Failed")
    ui.sees_row("chatter", "first", "Running")
    ui.open("/dags/orders/runs")
    ui.sees_heading("2 Dag Runs")
    ui.sees_row("first", "Success", "v1")


@visit("run: task instances, events, code, details")
def run(ui: Visitor) -> None:
    ui.open("/dags/orders/runs/first")
    ui.sees_state("Success")
    ui.sees_heading("7 Task Instances")
    ui.sees_row("store.verify", "Success", "@task")
    expect(ui.rows("count", "Success")).to_have_count(3)
    ui.follow("Audit Log", ui.main)
    ui.sees_row("trigger_dag_run", "admin")
    ui.follow("Code", ui.main)
    ui.sees_code('orders_table = Asset("orders_table", "s3://shop/orders", group="shop")')
    ui.follow("Details", ui.main)
    ui.sees_row("Run Type", "Manual")
    ui.sees_row("Triggered By", "rest_api")
    ui.sees_row("Triggering User", "admin")


@visit("run: gantt")
def gantt(ui: Visitor) -> None:
    ui.open("/dags/orders/runs/first")
    ui.click("Show Gantt")
    # The squares of the grid have a test id, and the links of the table a class. What shows how long a task waited before
    # it ran has no sign of its state.
    bars = ui.page.locator('a[href^="/dags/orders/runs/first/tasks/"]:not([data-testid]):not(.chakra-link)')
    bars = bars.filter(has=ui.page.locator("svg"))
    expect(bars).to_have_count(4)
    ui.holds(lambda: _one_after_the_other(bars), "bars do not follow one another as the tasks did")
    ui.picture("gantt")
    ui.click("Show Grid")


@visit("run: source asset events")
def source_asset_events(ui: Visitor) -> None:
    ui.open("/dags/invoices/runs")
    ui.sees_heading("2 Dag Runs")
    ui.rows("asset_triggered__").first.get_by_role("link").first.click()
    ui.follow("Asset Events", ui.main)
    ui.sees_heading("1 Asset Event")
    expect(ui.main.get_by_role("link", name="orders_table").first).to_be_visible()


def _one_after_the_other(bars: Locator) -> bool:
    boxes = [bar.bounding_box() for bar in bars.all()]
    if None in boxes or any(box["width"] < 1 for box in boxes):
        return False
    # Only where a bar begins is certain: one that would be too short to be seen is drawn longer.
    begins = [box["x"] for box in boxes]
    return all(begin < later for begin, later in zip(begins, begins[1:]))
