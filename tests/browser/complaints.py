"""What a browser sees go wrong behind a page that may look right."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, unquote, urlsplit

from playwright.sync_api import Page, Request, Response

# The UI of the wheel asks for this file to check SQL, and does without it where it is missing. The wheel lacks it,
# so official Airflow answers 404, too.
MISSING_IN_THE_WHEEL = "/static/wasm/sqlparser_rs_wasm.js"


# What is asked of the server's APIs, not of its files.
API = re.compile(r"/(api/v2|ui|auth)/")
# What differs between two installations with the same Dags: ids, moments, and what is drawn.
DRAWN = re.compile(
    r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\d{4}-\d\d-\d\d[T ][0-9:.]+(Z|[+-]\d\d:?\d\d)?(_\w+)?|\b\d+\b"
)


class Complaints:
    """Errors of the console and of scripts, answers of 400 and more, and requests without an answer.

    The 401 that sends a visitor to the log-in page is none, as long as `logged_in` says that this is what is expected;
    nor are answers with a status in `expected`, for pages that ask for what is not there.
    """

    def __init__(self, page: Page):
        self.found: list[str] = []
        self.logged_in = False
        self.expected: set[int] = set()
        #: Requests to the API with the status of the answer, without what differs between installations.
        self.requests: set[str] = set()
        self._page = page
        self._unanswered: set[Request] = set()
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.found.append(f"script error: {error}"))
        page.on("request", self._request)
        page.on("requestfinished", lambda request: self._unanswered.discard(request))
        page.on("response", self._response)
        page.on("requestfailed", self._request_failed)

    def wait_for_answers(self, timeout_ms: int) -> None:
        """Waits until nothing that was asked for is on its way: who leaves a page earlier overlooks what goes wrong."""
        step_ms = 20
        for _ in range(timeout_ms // step_ms):
            if not self._unanswered:
                return
            self._page.wait_for_timeout(step_ms)
        waiting = ", ".join(sorted(f"{request.method} {request.url}" for request in self._unanswered))
        self._unanswered.clear()
        self.found.append(f"no answer within {timeout_ms} ms: {waiting}")

    def _request(self, request: Request) -> None:
        # What a page makes itself, such as the script of an editor's worker, is asked of no server, and Chromium does not
        # always say that it was read.
        if request.url.startswith(("http:", "https:")):
            self._unanswered.add(request)

    def _console(self, message) -> None:
        # "Failed to load resource" only repeats an answer that `_response` judges by its status.
        if message.type == "error" and not message.text.startswith("Failed to load resource"):
            self.found.append(f"console: {message.text}")

    def _response(self, response: Response) -> None:
        url = urlsplit(response.url)
        if API.match(url.path):
            names = sorted({name for name, _ in parse_qsl(url.query, keep_blank_values=True)})
            asked = DRAWN.sub("*", unquote(url.path)) + (f"?{'&'.join(names)}" if names else "")
            self.requests.add(f"{response.status} {response.request.method} {asked}")
        if response.status < 400 or response.status in self.expected:
            return
        if response.status == 401 and not self.logged_in:
            return
        if response.status == 404 and urlsplit(response.url).path.endswith(MISSING_IN_THE_WHEEL):
            return
        self.found.append(f"HTTP {response.status}: {response.request.method} {response.url}")

    def _request_failed(self, request: Request) -> None:
        self._unanswered.discard(request)
        # The UI cancels requests when it leaves a page; that is no failure.
        if request.failure and "ERR_ABORTED" not in request.failure:
            self.found.append(f"{request.failure}: {request.method} {request.url}")
