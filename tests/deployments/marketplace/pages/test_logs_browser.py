"""The log's follower in a real browser: lines come, the reader is left where it reads, and there is never too much of it."""

from dataclasses import replace

import pytest
from playwright.sync_api import expect

from tests.deployments.marketplace.pages.browser import CHROMIUM, chromium, faults_for_some
from tests.deployments.marketplace.serving import served
from tests.deployments.marketplace.world import NO_LIMITS, printed, world
from tests.tasks.renting.leases import NOON, after

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("chromium"),
    pytest.mark.skipif(not CHROMIUM, reason="chromium is not installed"),
]


@pytest.fixture
def market(tmp_path):
    """A marketplace that looks into logs often, behind a server."""
    with (
        world(tmp_path, limits=replace(NO_LIMITS, poll_s=0.05, key_check_s=0.1)) as made,
        served(made.app) as made.url,
    ):
        yield made


class Program:
    """It prints when it is told to."""

    def __init__(self, market):
        self.market, self.second = market, 0

    def prints(self, *texts):
        """These lines, a second later than the last ones."""
        self.second += 1
        at = f"{after(self.second):%Y-%m-%dT%H:%M:%S}"
        text = "".join(f"{at}.{n:09}Z {text}\n" for n, text in enumerate(texts, 1))
        self.market.console.answers.append(printed(text.encode()))


def test_a_log_is_followed(market):
    """To its end, until its reader scrolls up; what is old is let go of; text is text; why it ended is told, and it can be followed again."""
    lease, program = market.active(market.client()), Program(market)
    program.prints(*(f"line {n}" for n in range(200)))
    with chromium() as browser:
        page = browser.new_page(base_url=market.url, viewport={"width": 360, "height": 700})
        complaints = []
        page.on("console", lambda told: complaints.append(told.text) if told.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto("/account")
        page.get_by_label("API key").fill(market.key())
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url("**/account")
        page.goto(f"/leases/{lease.lease_id}/logs")
        page.get_by_text("New lines follow by themselves").wait_for()
        log = page.get_by_role("region", name="What it printed")
        newest = page.get_by_role("button", name="To the newest lines")
        place = "log => [log.scrollTop, log.scrollHeight - log.scrollTop - log.clientHeight < 2]"
        assert log.evaluate(place)[1]

        program.prints("<b>bold</b> \x1b[31mred\x1b[0m")
        page.get_by_text("<b>bold</b> red").wait_for()
        assert log.evaluate(place)[1]
        assert not newest.is_visible()
        assert log.locator("*").count() == 0

        log.evaluate("log => { log.scrollTop = 100; }")
        newest.wait_for()
        program.prints("while you read")
        expect(log).to_contain_text("while you read")
        assert log.evaluate(place) == [100, False]
        newest.click()
        newest.wait_for(state="hidden")
        assert log.evaluate(place)[1]

        for _ in range(4):
            program.prints(*(f"many {n}" for n in range(2_000)))
        program.prints("x" * 100_000, "the last one")
        expect(log).to_contain_text("the last one")
        text = log.evaluate("log => log.textContent")
        assert text.count("\n") <= 5_000
        assert len(text) <= 512 << 10
        assert text.startswith("many ")

        stand_still(market, lease)
        page.get_by_text("Ended: the container stands still.").wait_for()
        page.get_by_role("button", name="Follow it again").click()
        page.get_by_text("Ended: lease").wait_for()
        assert faults_for_some(page) == []
        assert complaints == []


def stand_still(market, lease):
    """The lease is torn down."""
    from storage.rental import Party
    from tasks.renting.moves import ended, ending

    rentals = market.stores.rentals
    last = ending(rentals.get(lease.lease_id), NOON, Party.RENTER, "done")
    assert rentals.move(rentals.get(lease.lease_id), last)
    assert rentals.move(last, ended(last, NOON))
