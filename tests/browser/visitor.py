"""Somebody who looks at the official UI through Chromium."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import BrowserContext, Locator, Page, expect

from complaints import Complaints

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
VIEWPORT = {"width": 1440, "height": 900}

# Style sheets name colours in many notations; a painted pixel has one.
PAINTED_COLOUR = """element => {
  const canvas = document.createElement("canvas").getContext("2d");
  canvas.fillStyle = "white";  // shines through where nothing is painted
  canvas.fillRect(0, 0, 1, 1);
  canvas.fillStyle = getComputedStyle(element).backgroundColor;
  canvas.fillRect(0, 0, 1, 1);
  return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
}"""


class Visitor:
    """A page of the browser, what is said about it, and the words in which the visits speak of it."""

    def __init__(self, context: BrowserContext, base_url: str, user: str, password: str, folder: Path, pictures: Path):
        self.page: Page = context.new_page()
        self.complaints = Complaints(self.page)
        self.base_url = base_url
        # The tasks look into this folder: what they find there tells them to go on.
        self.folder = folder
        self._pictures = pictures
        self._user = user
        self._password = password
        # The deployment gives tokens to the command line for a second only.
        account = {"username": user, "password": password}
        self.expired_token = context.request.post(f"{base_url}/auth/token/cli", data=account).json()["access_token"]

    # -- moving about ------------------------------------------------------------------------------------------------

    def open(self, path: str) -> None:
        self.page.goto(f"{self.base_url}{path}", wait_until="commit")

    def log_in(self) -> None:
        self.page.get_by_role("textbox", name="Username").fill(self._user)
        self.page.get_by_role("textbox", name="Password").fill(self._password)
        self.page.get_by_role("button", name="Sign in").click()
        expect(self.page.get_by_test_id("nav-dags-link")).to_be_visible()
        self.complaints.logged_in = True

    def click(self, name: str | re.Pattern[str], within: Locator | None = None) -> None:
        """The first button of that name."""
        (within or self.page).get_by_role("button", name=name).first.click()

    def follow(self, name: str, within: Locator | None = None) -> None:
        """The first link of exactly that name."""
        (within or self.page).get_by_role("link", name=name, exact=True).first.click()

    def choose(self, what: Locator, option: str) -> None:
        """An option of a list that unfolds."""
        what.click()
        self.page.locator("[role=option]:visible").filter(has_text=re.compile(f"^{option}")).first.click()

    def picture(self, name: str) -> Path:
        """Takes a screenshot, and says where it is."""
        path = self._pictures / f"{re.sub('[^a-z]+', '-', name.lower())}.png"
        self.page.screenshot(path=path)
        return path

    @contextmanager
    def another(self, user: str) -> Iterator[Visitor]:
        """Another user of the deployment, in a browser of their own. What is complained of there counts here."""
        passwords = next(self.folder.glob("*/simple_auth_manager_passwords.json.generated"))
        password = json.loads(passwords.read_text())[user]
        context = self.page.context.browser.new_context(viewport=VIEWPORT)
        try:
            visitor = Visitor(context, self.base_url, user, password, self.folder, self._pictures)
            visitor.open("/")
            visitor.log_in()
            yield visitor
            visitor.complaints.wait_for_answers(30_000)
            self.complaints.found += visitor.complaints.found
            self.complaints.requests |= visitor.complaints.requests
        finally:
            context.close()

    # -- parts of a page ---------------------------------------------------------------------------------------------

    @property
    def main(self) -> Locator:
        return self.page.get_by_test_id("main-content")

    @property
    def dialog(self) -> Locator:
        return self.page.locator("[role=dialog][data-state=open]").last

    def rows(self, *texts: str) -> Locator:
        """The rows of tables that hold all of these texts."""
        rows = self.main.locator("tbody tr")
        for text in texts:
            rows = rows.filter(has_text=text)
        return rows

    def cards(self, dag_id: str) -> Locator:
        """The card of a Dag in their list."""
        name = self.page.get_by_test_id("dag-id").get_by_text(dag_id, exact=True)
        return self.page.get_by_test_id("dag-card").filter(has=name)

    # -- what is seen ------------------------------------------------------------------------------------------------

    def sees(self, *texts: str | re.Pattern[str], within: Locator | None = None) -> None:
        for text in texts:
            expect((within or self.main).get_by_text(text).filter(visible=True).first).to_be_visible()

    def sees_heading(self, text: str | re.Pattern[str], within: Locator | None = None) -> None:
        exact = isinstance(text, str)
        expect((within or self.page).get_by_role("heading", name=text, exact=exact).first).to_be_visible()

    def sees_row(self, *texts: str) -> None:
        expect(self.rows(*texts).first).to_be_visible()

    def sees_state(self, state: str, timeout_ms: int | None = None) -> None:
        """The state in the header of a run or a task instance."""
        badge = self.page.get_by_test_id("header-card").get_by_test_id("state-badge").first
        expect(badge).to_have_text(state, timeout=timeout_ms)

    def sees_code(self, *texts: str) -> None:
        """In an editor, whose blanks are not those of the source."""
        editor = self.page.locator(".view-lines").first
        for text in texts:
            expect(editor).to_contain_text(text.replace(" ", "\u00a0"))

    def holds(self, condition: Callable[[], bool], complaint: str, timeout_ms: int = 10_000) -> None:
        """What no locator can wait for."""
        step_ms = 50
        for _ in range(timeout_ms // step_ms):
            if condition():
                return
            self.page.wait_for_timeout(step_ms)
        raise AssertionError(complaint)

    def painted(self, element: Locator) -> tuple[int, int, int]:
        """The colour of its background."""
        red, green, blue = element.evaluate(PAINTED_COLOUR)
        return red, green, blue
