"""A lease's plots in a real browser: they move by themselves while somebody looks, and everybody can use them."""

from dataclasses import replace

import pytest

from deployments.marketplace.sampling import Sampling
from tests.deployments.marketplace.pages.browser import CHROMIUM, chromium, faults_for_some
from tests.deployments.marketplace.serving import served
from tests.deployments.marketplace.test_sampling import Machine, until
from tests.deployments.marketplace.world import NO_LIMITS, world

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("chromium"),
    pytest.mark.skipif(not CHROMIUM, reason="chromium is not installed"),
]
QUICK = Sampling(every_s=0.2, first_s=0.05, idle_s=2.0)


def test_plots_move_while_somebody_looks(tmp_path):
    """From nothing to pictures without a reload; half a minute (here 2 s) after the page is closed nothing is measured."""
    machine = Machine()
    limits = replace(NO_LIMITS, sampling=QUICK)
    with world(tmp_path, limits=limits, consoles_are=machine) as market:
        lease = market.active(market.client())
        with served(market.app) as url, chromium() as browser:
            context = browser.new_context(base_url=url, viewport={"width": 360, "height": 800})
            context.set_default_timeout(15_000)
            page = context.new_page()
            page.goto("/account")
            page.get_by_label("API key").fill(market.key())
            page.get_by_role("button", name="Sign in").click()
            page.wait_for_url("**/account")
            page.goto(f"/leases/{lease.lease_id}")
            page.get_by_text("Nothing was measured yet").wait_for()
            page.evaluate("document.body.dataset.mark = 'same page'")
            assert until(lambda: market.clock.passes(5) or machine.asked > 3)
            page.get_by_role("img", name="GPU use: card 1 newest 50 %, least 50 %, most 50 %").wait_for()
            assert page.evaluate("document.body.dataset.mark") == "same page"
            for scheme in ("light", "dark"):
                page.emulate_media(color_scheme=scheme)
                assert faults_for_some(page) == []
            assert page.evaluate("document.documentElement.scrollWidth") == 360
            page.get_by_role("link", name="1 h", exact=True).click()
            page.wait_for_url("**?span=1h#use")
            assert page.locator("#metrics [aria-current]").inner_text() == "1 h"
            context.close()
            assert until(lambda: machine.closed == machine.opened)
