"""Dags that run for partitions of assets, and what still waits for one."""

from __future__ import annotations

import re

from playwright.sync_api import Locator, expect

from visitor import Visitor
from visits import visit


@visit("partitions: what waits, in the list of Dags and on a Dag's page")
def waiting(ui: Visitor) -> None:
    ui.open("/dags")
    ui.page.get_by_role("textbox", name=re.compile("Search Dags")).fill("bread")
    # Until then the cards are made anew, and close what was opened of them.
    ui.sees_heading("1 Dag")
    ui.click("2 Pending Dag Runs", ui.cards("bread"))
    ui.sees_heading("2 Pending Dag Runs", ui.dialog)
    for region in ("south", "west"):
        row = ui.dialog.locator("tbody tr").filter(has_text=region)
        expect(row.get_by_role("button", name="1 / 2")).to_be_visible()
    ui.picture("waiting partitions")
    ui.dialog.get_by_role("button", name="1 / 2").first.click()
    ui.sees("flour", "yeast", within=_unfolded(ui))
    # Of a window, how many of its keys are there, and which.
    ui.open("/dags/harvest")
    ui.click("3 / 4")
    ui.sees("north", "south", "west", "east", within=_unfolded(ui))
    ui.picture("waiting window")


@visit("partitions: runs, one run, its asset events")
def runs(ui: Visitor) -> None:
    ui.open("/dags/bread/runs")
    ui.sees_heading("1 Dag Run")
    ui.sees_row("asset_triggered__", "Success", "Asset Triggered")
    ui.rows("asset_triggered__").first.get_by_role("link").first.click()
    ui.sees_state("Success")
    ui.sees("Partition Key", "north", within=ui.page.get_by_test_id("header-card"))
    ui.picture("run of a partition")
    ui.follow("Asset Events", ui.main)
    ui.sees_heading("2 Asset Events")
    ui.sees("Partition Key: north")


@visit("partitions: events of an asset, and the event that a partition waits for")
def events(ui: Visitor) -> None:
    ui.open("/assets")
    ui.follow("flour", ui.main)
    ui.sees_heading("3 Asset Events")
    for region in ("north", "south", "west"):
        ui.sees(f"Partition Key: {region}")
    ui.picture("asset with partitions")
    ui.open("/assets")
    ui.follow("yeast", ui.main)
    ui.sees_heading("1 Asset Event")
    ui.click("Create Event")
    ui.dialog.get_by_role("textbox", name="Partition Key").fill("south")
    ui.picture("event of a partition")
    ui.click("Create Event", ui.dialog)
    ui.sees_heading("2 Asset Events")
    ui.open("/dags/bread/runs")
    ui.sees_heading("2 Dag Runs")
    # One waits still, of which is told what it has.
    ui.click("1 of 2 assets updated")
    ui.sees("flour", "yeast", within=_unfolded(ui))


@visit("partitions: trigger a run of one")
def trigger(ui: Visitor) -> None:
    ui.open("/dags/bread")
    ui.click("Trigger Dag")
    ui.click("Advanced Options", ui.dialog)
    ui.dialog.get_by_role("textbox", name="Partition Key").fill("east")
    ui.picture("trigger a partition")
    ui.dialog.get_by_role("button", name="Trigger", exact=True).click()
    ui.page.wait_for_url(re.compile("/runs/"))
    ui.sees("Partition Key", "east", within=ui.page.get_by_test_id("header-card"))
    ui.sees_state("Success")
    ui.open("/dags/bread/runs")
    ui.sees_heading("3 Dag Runs")
    ui.sees_row("manual__", "Success", "Manual")
    # Runs without a date are on no day.
    ui.follow("Calendar")
    ui.sees("Total Runs", "No runs")


def _unfolded(ui: Visitor) -> Locator:
    return ui.page.locator("[data-scope=popover][data-part=content]:visible")
