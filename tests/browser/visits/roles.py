"""Users who may do less than an administrator. The official UI offers them what it offers everybody; the server refuses,
and the page says so."""

from __future__ import annotations

from visitor import Visitor
from visits import visit

FORBIDDEN = 403


@visit("a viewer: looks at everything but secrets, changes nothing")
def viewer(ui: Visitor) -> None:
    with ui.another("viewer") as viewer:
        viewer.open("/dags/orders")
        viewer.sees_heading("orders")
        viewer.open("/configs")
        viewer.sees_row("core", "executor")
        viewer.complaints.expected = {FORBIDDEN}
        viewer.open("/dags/orders")
        viewer.page.get_by_test_id("trigger-dag-button").click()
        viewer.page.get_by_test_id("trigger-dag-submit").click()
        viewer.sees("Forbidden", within=viewer.page.locator("body"))
        for page in ("/connections", "/variables"):
            viewer.open(page)
            viewer.sees("403 Forbidden")


@visit("a user: runs Dags, and administers nothing")
def user(ui: Visitor) -> None:
    with ui.another("user") as user:
        user.open("/dags/invoices")
        user.page.get_by_test_id("trigger-dag-button").click()
        user.page.get_by_test_id("trigger-dag-submit").click()
        user.sees_state("Success")
        user.complaints.expected = {FORBIDDEN}
        for page in ("/connections", "/variables"):
            user.open(page)
            user.sees("403 Forbidden")
        user.open("/pools")
        user.click("Add Pool")
        user.dialog.get_by_role("textbox", name="Name").fill("mine")
        user.dialog.get_by_role("spinbutton", name="Slots").fill("1")
        user.click("Save", user.dialog)
        user.sees("Forbidden", within=user.page.locator("body"))


@visit("an operator: administers variables")
def operator(ui: Visitor) -> None:
    with ui.another("op") as operator:
        operator.open("/variables")
        operator.click("Add Variable")
        operator.dialog.get_by_role("textbox", name="Key").fill("weather")
        operator.dialog.get_by_role("textbox", name="Value").fill("rain")
        operator.click("Save", operator.dialog)
        operator.sees_row("weather", "rain")
        operator.click("Delete Variable")
        operator.click("Delete", operator.dialog)
        operator.sees("No variables found")
