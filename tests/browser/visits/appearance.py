"""Dark mode, another language, pages that are not there, and a session that is over."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from visitor import Visitor
from visits import visit


@visit("dark mode")
def dark_mode(ui: Visitor) -> None:
    ui.open("/dags")
    ui.sees_heading("11 Dags")
    for mode, dark in (("Dark Mode", True), ("Light Mode", False)):
        ui.click("User")
        ui.page.get_by_role("menuitem", name="Appearance").click()
        ui.page.get_by_role("menuitemradio", name=mode).click()
        expect(ui.page.locator("html")).to_have_css("color-scheme", "dark" if dark else "light")
        ui.holds(lambda dark=dark: _is_dark(ui) == dark, f"the page is not painted in {mode}")
        ui.picture(mode)


@visit("another language")
def language(ui: Visitor) -> None:
    ui.open("/dags")
    ui.click("User")
    ui.page.get_by_role("menuitem", name="Select Language").click()
    ui.dialog.get_by_role("combobox").fill("Deutsch")
    ui.dialog.get_by_role("option", name="Deutsch").click()
    expect(ui.page.get_by_test_id("nav-home-link")).to_contain_text("Start")
    ui.open("/connections")
    ui.sees("Verbindung hinzufügen")
    ui.page.evaluate("localStorage.removeItem('i18nextLng')")
    ui.open("/connections")
    ui.sees("Add Connection")


@visit("pages that are not there")
def not_found(ui: Visitor) -> None:
    ui.open("/no/such/page")
    ui.sees_heading("404")
    ui.sees("Page Not Found", within=ui.page.locator("body"))
    ui.complaints.expected = {404}
    ui.open("/dags/nothing")
    ui.sees("Dag Not Found", 'The Dag "nothing" does not exist.', within=ui.page.locator("body"))
    ui.complaints.wait_for_answers(timeout_ms=10_000)


@visit("a session that is over")
def expired_session(ui: Visitor) -> None:
    ui.page.context.add_cookies([{"name": "_token", "value": ui.expired_token, "url": ui.base_url}])
    ui.complaints.logged_in = False
    ui.open("/dags/orders/details")
    ui.page.wait_for_url(re.compile("/auth/login"))
    ui.log_in()
    # Whoever logs in again comes back to where they were.
    ui.page.wait_for_url(re.compile("/dags/orders/details"))
    expect(ui.page.get_by_test_id("dag-id-row")).to_contain_text("orders")


def _is_dark(ui: Visitor) -> bool:
    return sum(ui.painted(ui.page.locator("html"))) < 3 * 128
