"""What users do to runs and task instances, through the dialogs."""

from __future__ import annotations

import re

from playwright.sync_api import Locator, expect

from visitor import Visitor
from visits import visit


@visit("trigger dialog with a form")
def trigger(ui: Visitor) -> None:
    ui.open("/dags/orders")
    ui.page.get_by_test_id("trigger-dag-button").click()
    ui.sees_heading("Trigger Dag - orders", ui.dialog)
    ui.choose(ui.dialog.get_by_role("combobox", name="Country"), "Chile")
    ui.dialog.get_by_role("spinbutton", name="Most orders").fill("7")
    ui.dialog.get_by_text("Only a test").last.click()
    ui.page.get_by_test_id("trigger-dag-submit").click()
    ui.page.wait_for_url(re.compile("/runs/"))
    ui.sees_state("Success")
    ui.follow("Details", ui.main)
    ui.sees_row("Run Type", "Manual")
    ui.sees("Chile")
    ui.follow("Task Instances", ui.main)
    ui.rows("read").get_by_role("link").first.click()
    ui.sees("reading at most 7 orders of Chile")


@visit("backfill dialog")
def backfill(ui: Visitor) -> None:
    ui.open("/dags/orders/backfills")
    ui.sees("No Backfills found")
    ui.page.get_by_test_id("trigger-dag-button").click()
    ui.dialog.get_by_text("Backfill", exact=True).first.click()
    ui.sees_heading("Run Backfill - orders", ui.dialog)
    dialog = ui.page.get_by_role("dialog").filter(has_text="Reprocess Behavior")
    for field, date in (("From", "2026/01/02"), ("To", "2026/01/04")):
        dialog.get_by_text("Select date and time").first.click()
        ui.page.get_by_role("textbox", name=field).fill(date)
        ui.page.get_by_role("textbox", name="HH:mm").filter(visible=True).fill("00:00")
        ui.page.keyboard.press("Escape")
    ui.sees("3 runs will be triggered.", within=dialog)
    dialog.get_by_role("button", name="Run Backfill").click()
    ui.sees_row("2026-01-02", "2026-01-04", "Missing Runs")
    ui.follow("Runs", ui.main)
    expect(ui.rows("backfill__2026-01-0", "Success")).to_have_count(3)


@visit("clear dialog")
def clear(ui: Visitor) -> None:
    ui.open("/dags/fragile/runs/first")
    ui.sees_state("Failed")
    (ui.folder / "mended").touch()
    ui.click(re.compile("shift\\+c to clear"))
    ui.sees_heading(re.compile("Clear Dag Run"), ui.dialog)
    ui.sees("Affected Tasks: 2", "Upstream Failed", within=ui.dialog)
    ui.click("Confirm", ui.dialog)
    # Both tasks run again, and this time the first one does not fail.
    ui.sees_state("Success")
    ui.sees_row("pump", "Success")
    ui.sees_row("water", "Success")
    # The log of each attempt is kept.
    ui.open("/dags/fragile/runs/first/tasks/pump")
    ui.page.get_by_test_id("log-attempt-select-button-1").click()
    ui.sees("the pump is broken")
    ui.page.get_by_test_id("log-attempt-select-button-2").click()
    ui.sees("Done. Returned value was: None")


@visit("mark dialog")
def mark(ui: Visitor) -> None:
    ui.open("/dags/fragile/runs/first/tasks/water")
    ui.sees_state("Success")
    ui.click("Mark Task Instance as...", _header(ui))
    ui.page.get_by_role("menuitem", name="Failed").click()
    ui.sees_heading(re.compile("Mark Task Instance as failed: water"), ui.dialog)
    ui.click("Confirm", ui.dialog)
    ui.sees_state("Failed")
    ui.open("/dags/fragile/runs/first")
    ui.sees_row("water", "Failed")
    ui.click("Mark Dag Run as...", _header(ui))
    ui.page.get_by_test_id("mark-run-as-success").click()
    ui.click("Confirm", ui.dialog)
    ui.sees_state("Success")


@visit("note of a run")
def note(ui: Visitor) -> None:
    ui.open("/dags/fragile/runs/first")
    ui.click("Edit note")
    ui.page.get_by_test_id("markdown-input").fill("mended by *hand*")
    ui.click("Confirm", ui.dialog)
    ui.sees("mended by")


@visit("required actions: answer one")
def required_actions(ui: Visitor) -> None:
    ui.open("/required_actions")
    ui.sees_heading("1 Required Action")
    ui.sees_row("Approval Required", "Shall the flowers be ordered?", "approval", "ask")
    ui.rows("ask").get_by_role("link", name="Shall the flowers be ordered?").click()
    ui.sees("Shall the flowers be ordered?", "twelve")
    ui.main.get_by_role("spinbutton", name="How many").fill("12")
    ui.click("Approve", ui.main)
    ui.sees_state("Success")
    ui.open("/required_actions")
    ui.sees_row("Approval Received", "Shall the flowers be ordered?", "admin")
    ui.open("/dags/approval/runs/first")
    ui.sees_state("Success")
    ui.sees_row("order", "Success")


def _header(ui: Visitor) -> Locator:
    return ui.page.get_by_test_id("header-card")
