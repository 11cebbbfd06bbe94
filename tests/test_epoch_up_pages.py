"""Three stories in a real browser, against everything that `make up` starts: a renter's, a miner's, and that of a spot lease."""

from contextlib import contextmanager

import httpx
import pytest

from deployments.localnet.chain.actors import dev_wallet
from deployments.localnet.engine import PLAIN_IMAGE, why_missing
from tests.deployments.marketplace.pages.browser import CHROMIUM, chromium
from tests.deployments.marketplace.pages.stories import (
    choose,
    prove_hotkey,
    rent,
    renter,
    sign_in,
    sign_up,
    somebody,
    state,
)
from tests.deployments.marketplace.world import SSH_KEY
from tests.engines import skip_or_fail
from tests.local_systems import LocalSystem

pytestmark = [
    pytest.mark.slow,
    pytest.mark.engine,
    pytest.mark.xdist_group("epoch"),
    pytest.mark.skipif(not CHROMIUM, reason="chromium is not installed"),
]


@pytest.fixture
def system(whole_up, whole_folder):
    """The system, once it has run an epoch by itself."""
    if reason := why_missing():
        skip_or_fail(reason)
    return LocalSystem(whole_folder / ".local")


@pytest.fixture(scope="module")
def browser():
    """One for all stories."""
    with chromium() as made:
        yield made


def test_a_renter_comes_rents_watches_and_ends(system, browser):
    """Signed up, credited, a machine found by filters, rented, measured, its log read; stopped, started, ended."""
    with somebody(browser, system) as page:
        sign_up(page, system, 20)
        choose(page, "GeForce RTX 4090", max_usd_per_hour="2")
        page.get_by_label("Cards", exact=True).fill("1")
        page.get_by_label("Ends after so many hours").fill("3")
        page.get_by_text("in 3 h").wait_for()
        price = page.locator(".total strong").inner_text().removesuffix(" USD/h")
        lease = rent(page)
        assert page.locator("#ssh").inner_text().startswith("ssh -p ")
        assert page.locator("#now dd").first.inner_text() == price
        assert "prove" in page.locator(".steps").inner_text()

        watch_the_metrics(page)
        read_the_log(page, lease)
        page.get_by_role("link", name="Overview").click()
        page.get_by_role("button", name="Stop").click()
        state(page, "stopped").wait_for()
        page.get_by_role("button", name="Start", exact=True).click()
        state(page, "active").wait_for()
        page.get_by_label("I am sure").check()
        page.get_by_role("button", name="End the lease").click()
        state(page, "ended").wait_for()
        spent = page.locator("#now dd").nth(1).inner_text()
        page.get_by_role("link", name="Account").click()
        page.locator("main", has_text=lease.removeprefix("lease-")).wait_for()

    assert 0 < float(spent) < float(price)


def watch_the_metrics(page):
    """What it uses is drawn without a reload, and goes on: a newer sample comes by itself."""
    page.locator("#metrics svg .line").first.wait_for(state="attached")
    first = page.locator("#metrics .spans .sum").inner_text()
    page.wait_for_function(
        "first => document.querySelector('#metrics .spans .sum')?.innerText !== first", arg=first
    )


def read_the_log(page, lease):
    """What a command writes into the container's log is read a moment later by the page that follows it."""
    page.get_by_role("link", name="Logs").click()
    page.locator("#log-state", has_text="follow").wait_for()
    with somebody_beside(page) as beside:
        beside.goto(f"/leases/{lease}/console")
        beside.get_by_label("Command").fill("sh -c 'echo it runs > /proc/1/fd/1'")
        beside.get_by_role("button", name="Run").click()
        beside.get_by_role("status").get_by_text("exit code 0").wait_for()
    page.locator("#log", has_text="it runs").wait_for()


@contextmanager
def somebody_beside(page):
    """Another window of the same browser."""
    beside = page.context.new_page()
    yield beside
    beside.close()


def test_a_miner_reads_why_a_machine_earns_nothing(system, browser):
    """Signed in by a signature of its hotkey: basalt-3 has cheated in its proof; the page says so, and what to do."""
    hotkey = dev_wallet("basalt").hotkey.ss58_address
    with somebody(browser, system) as page:
        page.goto("/miner")
        prove_hotkey(page, system, "basalt", hotkey)
        page.wait_for_url("**/miner")
        cheat = page.get_by_role("article").filter(has_text="basalt-3")
        told = cheat.inner_text()
        cheat.get_by_role("link", name="basalt-3").click()
        page.wait_for_url("**/miner/machines/basalt-3")
        bill = page.locator("main").inner_text()

    assert "Earns nothing: WALK_STATE_WRONG" in told
    assert "What to do: Run the prover unchanged" in told
    assert "0.00 USD a day" in told
    assert "WALK_STATE_WRONG" in bill


def test_a_spot_lease_is_taken_away_before_its_renters_eyes(system, browser):
    """Somebody wants its card at the full price: the page says so, then that it is over, without a reload."""
    with somebody(browser, system) as page:
        sign_in(page, renter(system, "bob", 20))
        choose(page, "RTX A6000")
        page.get_by_label("Paid").select_option("spot: can be taken away")
        page.get_by_label("Bid, if spot").fill("0.3")
        rent(page)
        page.evaluate("document.body.dataset.mark = 'same page'")
        want(system, renter(system, "carol", 20), "RTX A6000")
        page.get_by_role("alert").get_by_text("a spot lease gives way").wait_for()
        state(page, "ended").wait_for()
        told = page.locator("#now .state").inner_text()
        mark = page.evaluate("document.body.dataset.mark")

    assert "it gave way" in told
    assert mark == "same page"


def want(system, key, model):
    """A lease of the only card of this model, at the full price, by the API."""
    body = {
        "wish": {"model": model, "card_count": 1},
        "pod": {"image": PLAIN_IMAGE, "public_keys": [SSH_KEY]},
    }
    headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": "wanted"}
    answer = httpx.post(f"{system.market}/v1/leases", json=body, headers=headers, trust_env=False)
    assert answer.status_code == 202, answer.text
