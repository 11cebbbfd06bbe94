"""The pages of miners, operators and of the network in a real browser: who can use them, and what moves by itself."""

from secrets import token_urlsafe

import pytest

from deployments.marketplace.miners import FRESH_S
from deployments.marketplace.pages.charting import html_of
from deployments.marketplace.pages.visitors import LASTS, digest_of
from storage.records import Reason, Severity
from storage.renter import PageSession
from tasks.reporting.period import Period
from tests.deployments.marketplace.pages.browser import CHROMIUM, chromium, faults_for_some
from tests.deployments.marketplace.serving import served
from tests.deployments.marketplace.world import world
from tests.tasks.renting.epochs import MINER, finish, machine
from tests.tasks.renting.leases import NOON
from tests.tasks.reporting.network import DISK, archive, epoch
from tests.tasks.reporting.network import machine as archived

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("chromium"),
    pytest.mark.skipif(not CHROMIUM, reason="chromium is not installed"),
]
BUSY = Reason(
    "GPU_FOREIGN_PROCESS", Severity.FAIL, "python, pid 4711, on GPU-" + "a" * 60, "none", "Run `kill`."
)
OLD = Reason("OS_NOT_RECOMMENDED", Severity.WARN, "debian 12", "Ubuntu", "It works.")
TERMS = {"rate_usd_per_hour": 0.5, "bandwidth": 0.8, "uptime": 0.5, "collateral": 1.0}
PATHS = ("/miner", "/miner/machines/a", "/miner/estimate?model=L4&cards=2", "/operator", "/network")


def test_everybody_can_use_them_and_they_move_by_themselves(tmp_path):
    """Nothing serious for axe-core, nothing wider than the screen; a machine that is paid again says so without a reload."""
    charts = html_of(
        archive(
            tmp_path / "history", epoch(7, archived("a", cards=4), archived("c", "5Bob", reasons=[DISK]))
        ),
        Period(NOON.date()),
    )
    with (
        world(tmp_path, machines=0, operators=frozenset({MINER}), charts=lambda *_: charts) as market,
        served(market.app) as url,
        chromium() as browser,
    ):
        engine = market.market.engine
        finish(engine, [machine("a"), machine("b")], score=0.0, passed=0.0, reasons=(BUSY, OLD), **TERMS)
        secret = token_urlsafe(32)
        session = PageSession(digest_of(secret), market.clock.at, market.clock.at + LASTS, hotkey=MINER)
        market.stores.page_sessions.begin(session)
        context = browser.new_context(base_url=url)
        context.add_cookies([{"name": "session", "value": secret, "url": url}])
        page, complaints = context.new_page(), []
        page.on("console", lambda told: complaints.append(told.text) if told.type == "error" else None)
        for width, scheme in ((360, "dark"), (1_920, "light")):
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size({"width": width, "height": 900})
            for path in PATHS:
                page.goto(path)
                page.get_by_text("are being made").wait_for(state="detached")
                assert faults_for_some(page) == [], path
                assert page.evaluate("document.documentElement.scrollWidth") == width, path

        page.goto("/miner")
        assert page.get_by_text("Earns nothing: GPU_FOREIGN_PROCESS").count() == 2
        page.locator("details summary").first.click()
        finish(engine, [machine("a"), machine("b")], epoch=8, score=0.4, reasons=(OLD,), **TERMS)
        market.clock.passes(FRESH_S)
        page.get_by_text("Passed in epoch 8").first.wait_for()
        assert page.locator("details[open]").count() == 1
        assert complaints == []
