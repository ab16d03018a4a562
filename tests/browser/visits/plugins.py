"""Pages of plugins: other pages in a frame, and React apps, wherever the UI has room for them."""

from __future__ import annotations

from playwright.sync_api import Locator, expect

from visitor import Visitor
from visits import visit


@visit("plugin: frames among the pages")
def frames(ui: Visitor) -> None:
    ui.open("/plugin/oven")
    expect(ui.page.frame_locator("iframe[title=Oven]").locator("body")).to_contain_text("metadatabase")
    ui.open("/plugin/cellar")
    expect(ui.page.frame_locator("iframe[title=Cellar]").locator("body")).to_contain_text("version")


@visit("plugin: frames among the tabs")
def frame_tabs(ui: Visitor) -> None:
    ui.open("/dags/orders")
    ui.follow("Bill", ui.main)
    _frame_is_at(ui, "Bill", "/api/v2/version?of=orders")
    ui.open("/dags/orders/runs/first/tasks/count/mapped/1")
    ui.follow("Shelf", ui.main)
    _frame_is_at(ui, "Shelf", "/api/v2/version?of=orders/first/count/1")


@visit("plugin: React app as a page")
def page(ui: Visitor) -> None:
    ui.open("/")
    ui.page.get_by_role("button", name="Plugins").or_(ui.page.get_by_role("link", name="Mixer")).first.click()
    ui.picture("plugins menu")
    ui.open("/plugin/mixer")
    _bakes(_apps(ui, "").last)


@visit("plugin: React apps on the dashboard and on every page")
def everywhere(ui: Visitor) -> None:
    ui.open("/")
    expect(_apps(ui, "")).to_have_count(2)
    _bakes(_apps(ui, "").last)
    ui.picture("apps on the dashboard")
    ui.open("/pools")
    expect(_apps(ui, "")).to_have_count(1)


@visit("plugin: React apps among the tabs")
def app_tabs(ui: Visitor) -> None:
    for path, tab, place in (
        ("/dags/orders", "Scale", "orders"),
        ("/dags/orders/runs/first", "Timer", "orders/first"),
        ("/dags/orders/tasks/read", "Recipe", "orders/read"),
        ("/dags/orders/runs/first/tasks/read", "Crumb", "orders/first/read"),
        ("/dags/orders/runs/first/tasks/count/mapped/2", "Crumb", "orders/first/count/2"),
    ):
        ui.open(path)
        ui.follow(tab, ui.main)
        # The one on every page is told the same.
        expect(_apps(ui, place)).to_have_count(2)
        _bakes(_apps(ui, place).last)
        ui.picture(f"app in a tab of {place}")


def _frame_is_at(ui: Visitor, title: str, address: str) -> None:
    frame = ui.page.locator(f"iframe[title={title}]")
    expect(frame).to_have_attribute("src", address)
    expect(frame.content_frame.locator("body")).to_contain_text("version")


def _apps(ui: Visitor, place: str) -> Locator:
    return ui.main.get_by_test_id(f"bakery-{place}")


def _bakes(app: Locator) -> None:
    expect(app).to_contain_text("loaves: 0")
    app.get_by_role("button", name="Bake").click()
    expect(app).to_contain_text("loaves: 1")
