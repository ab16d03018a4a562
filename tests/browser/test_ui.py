"""The official UI in a real browser: log in, unpause and trigger a Dag, watch it turn green, open a log.

    python tests/browser/test_ui.py BASE_URL USER PASSWORD DAG_ID SCREENSHOT_FOLDER [--task TASK_ID --log TEXT]

Everything is done as a person does it, through links, buttons and the UI's own refreshing; no page is reloaded. Ends
with 1 when a step fails, when the console shows an error, when a script raises, or when any HTTP answer is 400 or
more, except the 401 that sends a visitor to the login page. Passes unchanged against official Airflow.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

from playwright.sync_api import Error, Locator, Page, expect, sync_playwright

from complaints import Complaints
from visitor import ARGUMENTS, CHROMIUM, PAINTED_COLOUR, VIEWPORT

STEP_TIMEOUT_MS = 20_000
RUN_TIMEOUT_MS = 120_000


class Visit:
    def __init__(self, page: Page, options: argparse.Namespace):
        self.page = page
        self.options = options
        self.number = 0

    def screenshot(self, name: str) -> None:
        self.number += 1
        self.page.screenshot(path=self.options.screenshots / f"{self.number}-{name}.png")

    # -- steps -------------------------------------------------------------------------------------------------------

    def log_in(self) -> None:
        self.page.goto(self.options.base_url)
        self.page.get_by_role("textbox", name="Username").fill(self.options.user)
        self.page.get_by_role("textbox", name="Password").fill(self.options.password)
        self.screenshot("login")
        self.page.get_by_role("button", name="Sign in").click()
        expect(self._navigation("Dags")).to_be_visible()

    def list_dags(self) -> Locator:
        """Opens the list through the navigation bar and answers the card of the Dag."""
        self._navigation("Dags").click()
        cards = self.page.get_by_test_id("dag-card")
        expect(cards.first).to_be_visible()
        self.screenshot("dags")
        self.page.get_by_role("textbox", name=re.compile("Search Dags")).fill(self.options.dag_id)
        name = self.page.get_by_test_id("dag-id").get_by_text(self.options.dag_id, exact=True)
        card = cards.filter(has=name)
        expect(card).to_be_visible()
        return card

    def unpause(self, card: Locator) -> None:
        """A Dag that is active already is paused first, so that the switch is seen to work."""
        checkbox = card.get_by_role("checkbox")
        if checkbox.is_checked():
            self._switch(card)
            expect(checkbox).not_to_be_checked()
        self._switch(card)
        expect(checkbox).to_be_checked()
        self.screenshot("unpaused")

    def trigger(self, card: Locator) -> str:
        """Triggers through the dialog on the Dag's own page and answers the run id, which the UI then shows."""
        card.get_by_test_id("dag-id").click()
        expect(self.page.get_by_test_id("dag-card")).to_have_count(0)
        self.page.get_by_role("button", name="Trigger Dag").click()
        dialog = self.page.get_by_role("dialog")
        expect(dialog.get_by_role("heading", name=re.compile("Trigger"))).to_be_visible()
        self.screenshot("trigger")
        dialog.get_by_role("button", name="Trigger", exact=True).click()
        self.page.wait_for_url(re.compile(r"/runs/"))
        return unquote(urlsplit(self.page.url).path.split("/runs/")[1].split("/")[0])

    def watch_until_green(self, run_id: str) -> None:
        # The badge of the run and of each task instance in the table below it.
        badges = self.page.get_by_test_id("state-badge").filter(has_text=re.compile(r"\w"))
        expect(badges.nth(1)).to_be_visible()
        expect(badges.filter(has_not_text="Success")).to_have_count(0, timeout=RUN_TIMEOUT_MS)
        squares = self.page.locator(f'a[href*="/runs/{run_id}/tasks/"] [data-testid="task-state-badge"]')
        expect(squares.first).to_be_visible()
        for square in squares.all():
            self._expect_green(square)
        # The bar above them follows at the next refresh, and the notice of the trigger goes away by itself.
        self._expect_green(self.page.locator(f'a[href$="/runs/{run_id}/"] > div').first)
        expect(self.page.get_by_text("Dag Run Triggered")).to_have_count(0)
        self.screenshot("grid")

    def read_log(self, run_id: str) -> None:
        task = f"/dags/{self.options.dag_id}/runs/{run_id}/tasks/{self.options.task}"
        self.page.locator(f'a[href="{task}"]').first.click()
        # What a task prints travels apart from what it logs and may end up inside the closing group: unfold that.
        self.page.get_by_text("Post Execute").first.click()
        log = self.page.locator("code").filter(has_text=self.options.log).first
        expect(log).to_be_visible()
        self.screenshot("log")

    def see_graph(self) -> None:
        self.page.get_by_role("button", name=re.compile("Show Graph")).click()
        expect(self.page.locator(".react-flow__node").first).to_be_visible()
        expect(self.page.locator(".react-flow__node").filter(has_text=self.options.task).first).to_be_visible()
        self.page.wait_for_timeout(500)  # the graph glides into place
        self.screenshot("graph")

    # -- parts -------------------------------------------------------------------------------------------------------

    def _navigation(self, name: str) -> Locator:
        return self.page.get_by_role("link", name=name, exact=True).first

    def _switch(self, card: Locator) -> None:
        """Pauses or un-pauses. The UI shows the new state before it has sent it, and refreshes no page of a Dag that it
        holds for paused: whoever goes on before the answer may look at a page that stands still."""
        answered = lambda response: response.request.method == "PATCH"  # noqa: E731
        with self.page.expect_response(answered):
            card.get_by_test_id("toggle-pause").click()

    def _expect_green(self, square: Locator) -> None:
        for _ in range(STEP_TIMEOUT_MS // 200):
            red, green, blue = square.evaluate(PAINTED_COLOUR)
            if green > red and green > blue:
                return
            self.page.wait_for_timeout(200)
        raise AssertionError(f"what succeeded is shown as rgb({red}, {green}, {blue}), not green")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("base_url")
    parser.add_argument("user")
    parser.add_argument("password")
    parser.add_argument("dag_id")
    parser.add_argument("screenshots", type=Path)
    parser.add_argument("--task", default="load")
    parser.add_argument("--log", default="Total order value is: 1236.70")
    return parser.parse_args()


def visit(page: Page, options: argparse.Namespace, complaints: Complaints) -> None:
    steps = Visit(page, options)
    try:
        steps.log_in()
        complaints.logged_in = True
        card = steps.list_dags()
        steps.unpause(card)
        run_id = steps.trigger(card)
        steps.watch_until_green(run_id)
        steps.read_log(run_id)
        steps.see_graph()
        page.wait_for_load_state("networkidle")
    except (AssertionError, Error) as error:
        steps.screenshot("failed")
        reason = str(error).split("Aria snapshot:")[0].strip()
        complaints.found.insert(0, f"{reason}\nat {page.url}")


def main() -> None:
    options = arguments()
    options.screenshots.mkdir(parents=True, exist_ok=True)
    expect.set_options(timeout=STEP_TIMEOUT_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = browser.new_page(viewport=VIEWPORT)
        page.set_default_timeout(STEP_TIMEOUT_MS)
        complaints = Complaints(page)
        visit(page, options, complaints)
        browser.close()
    if complaints.found:
        sys.exit("\n".join(complaints.found))
    print(f"{options.dag_id}: unpaused, triggered, green, log read; screenshots in {options.screenshots}")


if __name__ == "__main__":
    main()
