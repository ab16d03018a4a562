"""The official UI, page by page, in a real browser.

    python tests/browser/test_pages.py BASE_URL USER PASSWORD FOLDER SCREENSHOT_FOLDER [--only EXPRESSION] [--tell FILE]

Expects the Dags of `tests/browser/dags` in the state in which `tests/tests/browser.rs` brings them. A page that fails
hides no other: all are visited, and it is said what is wrong with which of them, with a screenshot of each.
`compare.py` does the same on official Airflow and on Tradewind, and compares what their pages ask for.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from pathlib import Path

from playwright.sync_api import Browser, Error, expect, sync_playwright

from visitor import ARGUMENTS, CHROMIUM, VIEWPORT, Visitor
from visits import VISITS, Visit

# Of whatever is waited for: the machine may have much else to do.
PATIENCE_SECONDS = 30


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("base_url")
    parser.add_argument("user")
    parser.add_argument("password")
    parser.add_argument("folder", type=Path)
    parser.add_argument("screenshots", type=Path)
    parser.add_argument("--only", default="", help="visits whose name matches this expression")
    parser.add_argument("--patience", type=int, default=PATIENCE_SECONDS, help="seconds that anything may take")
    parser.add_argument("--tell", type=Path, help="write to this file how each visit went and what was asked for")
    return parser.parse_args()


def complaints_of(name: str, visit: Visit, ui: Visitor, patience_ms: int) -> list[str]:
    """What is wrong with a page."""
    try:
        visit(ui)
        ui.complaints.wait_for_answers(patience_ms)
    except (AssertionError, Error) as error:
        reason = re.split("Aria snapshot:", str(error))[0].strip()
        ui.complaints.found.insert(0, f"{reason}\nat {ui.page.url}")
    found, ui.complaints.found, ui.complaints.expected = ui.complaints.found, [], set()
    if found:
        found.append(f"see {ui.picture(f'failed {name}')}")
    return found


def visit_all(browser: Browser, options: argparse.Namespace) -> list[str]:
    """Says how each visit went, and answers the names of the pages with which something is wrong."""
    context = browser.new_context(viewport=VIEWPORT)
    ui = Visitor(
        context, options.base_url, options.user, options.password, options.folder, options.screenshots
    )
    ui.open("/")
    ui.log_in()
    failed: list[str] = []
    told = {}
    for name, visit in VISITS:
        if not re.search(options.only, name):
            continue
        begin = time.monotonic()
        ui.complaints.requests.clear()
        complaints = complaints_of(name, visit, ui, options.patience * 1000)
        failed += [name] if complaints else []
        print(f"{time.monotonic() - begin:5.1f} s  {'failed' if complaints else 'good'}  {name}")
        print(*complaints, sep="\n", end="\n" if complaints else "", flush=True)
        told[name] = {"good": not complaints, "requests": sorted(ui.complaints.requests)}
    context.close()
    if options.tell:
        options.tell.write_text(json.dumps(told))
    return failed


def main() -> None:
    options = arguments()
    options.screenshots.mkdir(parents=True, exist_ok=True)
    expect.set_options(timeout=options.patience * 1000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        failed = visit_all(browser, options)
        browser.close()
    if failed:
        sys.exit(f"something is wrong with: {', '.join(failed)}")


if __name__ == "__main__":
    main()
