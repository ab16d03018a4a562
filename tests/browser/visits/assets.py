"""Assets and their events."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from visitor import Visitor
from visits import visit


@visit("assets")
def assets(ui: Visitor) -> None:
    ui.open("/assets")
    ui.sees_heading("3 Assets")
    ui.sees_row("orders_table", "shop", "1 Dag", "1 Task")
    ui.page.get_by_role("textbox", name="Search Assets").fill("nothing like it")
    ui.sees("No Assets found")


@visit("asset: graph, events, dependencies")
def asset(ui: Visitor) -> None:
    number = _open_orders_table(ui)
    ui.sees_heading("orders_table")
    ui.sees_heading("2 Asset Events")
    for node in (f"asset:{number}", "dag:orders", "dag:invoices"):
        expect(ui.page.get_by_test_id(f"rf__node-{node}")).to_be_visible()
    ui.picture("asset")
    ui.click("Task Dependencies")
    expect(ui.page.locator(".react-flow__node").filter(has_text="store.write")).to_be_visible()
    ui.follow("Asset State Store")
    ui.sees("Asset state store stores values scoped to an asset identity")


@visit("asset: create an event")
def create_event(ui: Visitor) -> None:
    _open_orders_table(ui)
    ui.sees_heading("2 Asset Events")
    ui.click("Create Event")
    ui.sees_heading("Create Asset Event for orders_table", ui.dialog)
    ui.click("Create Event", ui.dialog)
    ui.sees_heading("3 Asset Events")


def _open_orders_table(ui: Visitor) -> str:
    """Opens the page of the asset, and says which number it has."""
    ui.open("/assets")
    ui.follow("orders_table", ui.main)
    ui.page.wait_for_url(re.compile(r"/assets/\d+"))
    return ui.page.url.rsplit("/", 1)[1]
