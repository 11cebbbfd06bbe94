"""Pages in a real browser: how soon the first offer is painted, and how much the largest page loads."""

from __future__ import annotations

import base64
import json
import re
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from tests.bench.market_server import Server, started
from tests.bench.rows import Group, Row
from tests.deployments.marketplace.pages.browser import FIRST_ROW, chromium, painted_ms

RUNS = 15
LIST = "/?sort=price"
SCREEN = {"width": 1_280, "height": 900}
PACKED = {"Accept-Encoding": "gzip"}
FOR_ALL = ("/", "/?look=cards", LIST, "/network", "/sign-in", "/sign-in/hotkey", "/sign-up")
SIGNED_IN = ("/account", "/account/templates", "/account/webhooks", "/leases", "/volumes")
OF_LEASE = ("", "?span=1h", "/logs", "/console", "/backups")
KIB = 1_024
SETTLED_MS = 500


def _first_row() -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder, started(folder) as server:
        files = Path(folder) / "files.json"
        files.write_text(json.dumps(_files(server.url)), encoding="utf-8")
        with started(folder, "--files", str(files)) as bare, chromium() as browser:
            page = browser.new_context(viewport=SCREEN).new_page()
            page.add_init_script(FIRST_ROW)
            times: tuple[list[float], list[float]] = ([], [])
            for run in range(RUNS + 1):
                for url, kept in zip((server.url, bare.url), times, strict=True):
                    painted = painted_ms(page, url + LIST)
                    if run:
                        kept.append(painted)
    ours, floor = times
    note = (
        f"from asking for the list of 1,000 offers to the paint of its first row, 1280 x 900, files of the page kept "
        f"from before, {min(ours):.0f} to {max(ours):.0f} ms; floor: the same bytes from a bare server"
    )
    yield Row("page_first_row", statistics.median(ours), "ms wall", statistics.median(floor), RUNS, note)


def _largest() -> Iterator[Row]:
    with (
        tempfile.TemporaryDirectory() as folder,
        started(folder, "--leased") as server,
        chromium() as browser,
    ):
        context = browser.new_context(base_url=server.url, viewport=SCREEN)
        sizes = {path: _loaded_bytes(context, path) for path in FOR_ALL}
        sizes |= {path: _loaded_bytes(context, path) for path in _signed_in(context, server)}
    largest = max(sizes, key=lambda path: sizes[path])
    note = (
        f"everything that the first visit of {largest} loads, the largest of {len(sizes)} pages, over 1,000 offers; "
        f"median {statistics.median(sizes.values()) / KIB:.1f} KiB"
    )
    yield Row("page_largest", sizes[largest] / KIB, "KiB", None, len(sizes), note)


def _files(url: str) -> dict[str, tuple[str, str, str]]:
    """The list, and what it loads, as they were sent: by path the type, the encoding and the bytes."""
    with httpx.Client(base_url=url, headers=PACKED, trust_env=False) as client:
        html = client.get(LIST).text
        return {path: _sent(client, path) for path in ("/", *re.findall(r'"(/static/[^"]+)"', html))}


def _sent(client: httpx.Client, path: str) -> tuple[str, str, str]:
    with client.stream("GET", LIST if path == "/" else path) as answer:
        body = b"".join(answer.iter_raw())
        kind, packed = answer.headers["content-type"], answer.headers.get("content-encoding", "")
        return kind, packed, base64.b64encode(body).decode()


def _signed_in(context: Any, server: Server) -> tuple[str, ...]:
    """Pages of whoever is signed in; the browser is, from now on."""
    page = context.new_page()
    page.goto("/sign-in")
    page.get_by_label("API key").fill(server.token)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/account")
    page.goto(LIST)
    machine = page.locator("table.offers tbody a").first.get_attribute("href")
    page.goto("/leases")
    lease = page.locator("main a[href^='/leases/lease-']").first.get_attribute("href")
    page.close()
    rent = f"/rent?machine={machine.removeprefix('/machines/')}"
    return *SIGNED_IN, machine, rent, *(lease + path for path in OF_LEASE)


def _loaded_bytes(context: Any, path: str) -> int:
    """On the wire, headers in, nothing kept from before."""
    page = context.new_page()
    session = context.new_cdp_session(page)
    session.send("Network.enable")
    session.send("Network.setCacheDisabled", {"cacheDisabled": True})
    sizes: list[float] = []
    session.on("Network.loadingFinished", lambda told: sizes.append(told["encodedDataLength"]))
    page.goto(path)
    page.wait_for_timeout(SETTLED_MS)
    page.close()
    return round(sum(sizes))


GROUPS = (Group(("page_first_row",), _first_row), Group(("page_largest",), _largest))
