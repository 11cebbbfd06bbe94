"""Debian's Chromium without a window, and axe-core, which looks whether everybody can use a page."""

from __future__ import annotations

import json
import shutil
from contextlib import contextmanager
from importlib.resources import files

from playwright.sync_api import sync_playwright

CHROMIUM = shutil.which("chromium") or ""
AXE = files("axe_playwright_python").joinpath("axe.min.js")
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]


@contextmanager
def chromium():
    """A browser; its sandbox needs what root in a container does not have."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


FIRST_ROW = """
new MutationObserver((_, watch) => {
  const row = document.querySelector("table.offers tbody th");
  if (!row) return;
  watch.disconnect();
  row.setAttribute("elementtiming", "first row");
}).observe(document, {childList: true, subtree: true});
"""
"""Has the browser note when the first offer's row is painted; to be run before each page."""
PAINTED = """new Promise(told => new PerformanceObserver(seen => told(seen.getEntries()[0].renderTime))
.observe({type: "element", buffered: true}))"""


def painted_ms(page, path):
    """From asking for the list to the paint of its first row, as the browser itself counts it."""
    page.goto(path)
    return page.evaluate(PAINTED)


def faults_for_some(page):
    """What axe-core finds that is serious or worse: (rule, element). It comes by the debugger, past the page's policy."""
    session = page.context.new_cdp_session(page)
    session.send("Runtime.evaluate", {"expression": AXE.read_text()})
    ask = f"axe.run(document, {{runOnly: {json.dumps(TAGS)}}})"
    told = session.send("Runtime.evaluate", {"expression": ask, "awaitPromise": True, "returnByValue": True})
    assert "exceptionDetails" not in told, told
    session.detach()
    return [
        (fault["id"], node["html"][:200])
        for fault in told["result"]["value"]["violations"]
        if fault["impact"] in ("serious", "critical")
        for node in fault["nodes"]
    ]
