"""The miner's pages: why a machine earns nothing and what to do stands first, the bill adds up, and nobody sees another's."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import httpx
import pytest
import sqlalchemy as sa

from deployments.marketplace.buckets import Buckets, Rate
from deployments.marketplace.estimates import WAIT_S, WAITING, WAITING_EACH, Estimates
from deployments.marketplace.miners import BEATS, FRESH_S, PAGE, Beat, Miners
from deployments.marketplace.pages.bills import bill_of, ordered
from deployments.marketplace.pages.glances import TREND_HEIGHT, glance_of, notice_of, trended
from storage.database import writing
from storage.records import (
    ALPHA_TAO,
    TAO_USD,
    TOKEN,
    Quote,
    Reason,
    Severity,
    WeightOutcome,
    WeightStatus,
    WeightTarget,
    WeightVector,
)
from storage.state import State
from storage.tables import executor_records
from tasks.estimating import ALPHA_PER_DAY
from tasks.policy import DEFAULT
from tasks.scoring.bills import total_of
from tests.deployments.marketplace.pages.reading import read
from tests.deployments.marketplace.pages.visiting import HERE, Browser, holding, signed_in
from tests.deployments.marketplace.world import NO_LIMITS, world
from tests.tasks.renting.epochs import MINER, finish, machine
from tests.tasks.renting.leases import NOON, offer
from tests.tasks.scoring.worlds import score

HOSTILE = '"><script>alert(1)</script>\u202e'
BUSY = Reason("GPU_FOREIGN_PROCESS", Severity.FAIL, HOSTILE, "none", "Stop it.")
OLD = Reason("OS_NOT_RECOMMENDED", Severity.WARN, "debian", "Ubuntu", "It works.")
AWAY = Reason("HOST_TIMEOUT", Severity.NO_VERDICT, "no answer", "an answer", "Check that it is up.")
PRICES = (Quote(TOKEN, ALPHA_TAO, 0.5, "chain", NOON), Quote(TOKEN, TAO_USD, 300.0, "a", NOON))
TERMS = {"rate_usd_per_hour": 0.5, "bandwidth": 0.8, "uptime": 0.5, "collateral": 1.0, "isolation": 1.0}
EARNED = 0.5 * 2 * 1.0 * 0.8 * 0.5
"""USD an hour: rate x cards x performance x bandwidth x uptime."""


@pytest.fixture
def market(tmp_path):
    """An empty market."""
    with world(tmp_path, machines=0) as made:
        yield made


def finished(market, names=("a", "b"), epoch=7, **changes):
    """An epoch in which this miner's machines are scored alike; half of the emission is the miner's."""
    targets = (WeightTarget(1, MINER, 0.5), WeightTarget(0, "5Owner", 0.5))
    outcome = WeightOutcome(WeightStatus.CONFIRMED, "", "", epoch * 50, "351-2", 0, targets, ())
    given = {
        "quotes": PRICES,
        "weights": (WeightVector(epoch, targets, 0.5), outcome),
        "endpoint": "127.0.0.1:1",
    }
    scored = {**TERMS, "score": EARNED, **changes}
    finish(market.market.engine, [machine(name) for name in names], epoch=epoch, **given, **scored)


def text_of(market, path="/miner", hotkey=MINER):
    """A page as this miner sees it."""
    answer = holding(market, hotkey).get(path)
    assert answer.status_code == 200, answer.text
    return read(answer).text


def test_a_machine_that_earns_nothing_says_first_why_and_what_to_do(market):
    """The gravest reason goes before warnings, whatever their order; foreign text stays text."""
    finished(market, score=0.0, passed=0.0, reasons=(OLD, BUSY))
    answer = holding(market, MINER).get("/miner")
    text = read(answer).text

    assert "Earns nothing: GPU_FOREIGN_PROCESS, found" in text
    assert "What to do: Stop it." in text
    assert text.index("GPU_FOREIGN_PROCESS") < text.index("OS_NOT_RECOMMENDED")
    assert "<script>alert" not in answer.text
    assert "\u202e" not in answer.text


def test_what_a_machine_earns_is_a_bill_down_to_money(market):
    """Factor by factor to the score, and from the miner's weight to alpha, TAO and USD a day."""
    finished(market)
    text = text_of(market, "/miner/machines/a")
    alpha = 0.25 * ALPHA_PER_DAY

    assert "Passed in epoch 7, and is paid" in text
    assert "rate usd per hour 0.5 0.5" in text
    assert "card count \u00d7 2 1" in text
    assert "uptime \u00d7 0.5 0.4" in text
    assert "Takes 50 %" in text
    assert "score 0.4 USD/h" in text
    assert "25.0000 %" in text
    assert f"{alpha:.4g} alpha/day" in text
    assert f"{alpha * 0.5:.4g} TAO/day" in text
    assert f"{alpha * 0.5 * 300:,.2f} USD/day" in text
    assert "What would raise it most: uptime" in text


@pytest.mark.parametrize(("price", "is_told"), [(1.0, False), (1_000.0, True)])
def test_a_price_at_which_nobody_is_offered_it_is_told(market, price, is_told):
    """It was proved and is paid, and yet nobody can find it: 500 USD an hour for a card is beyond all bounds."""
    finish(market.market.engine, [machine("a", price=price)], quotes=PRICES, **TERMS, score=EARNED)
    page = read(holding(market, MINER).get("/miner/machines/a")).text

    assert ("Nobody is offered it: 500.000000 USD an hour for a card" in page) is is_told


def test_leases_are_told_without_who_rents(market):
    """Mode, cards, since when and at what price; the miner's part is without the market's fee."""
    finished(market)
    market.machines.append(offer(f"{MINER}/a", micro_usd_per_card_hour=600_000))
    lease = market.active(market.client("alice"))
    text = text_of(market, "/miner/machines/a")
    kept = 1 - DEFAULT.renting.platform_ppm / 1e6
    usd = lease.micro_usd_per_hour / 1e6

    assert f"active on demand {len(lease.card_uuids)} " in text
    assert f"{usd:.4f} {usd * kept:.4f}" in text
    assert "alice" not in text
    assert lease.lease_id not in text
    assert f"{24 * usd * kept:.2f} USD/day" in text


def test_a_record_tells_resets_and_their_reason(market):
    """And since when it passes."""
    finished(market)
    row = {"resets": 2, "reset_at": NOON, "reset_code": "FAILURE_BUDGET", "passed_since": NOON}
    with writing(market.market.engine) as connection:
        connection.execute(sa.update(executor_records).values(row))
    text = text_of(market, "/miner/machines/a")

    assert "epochs passed 9 of 10" in text
    assert "resets 2, the last 2026-08-01 12:00:00 UTC: FAILURE_BUDGET" in text


def test_nobody_sees_the_machines_of_another_miner(market):
    """Neither in the list nor by their name; a stranger and a renter see nothing at all."""
    finished(market)

    assert "no place on subnet 51" in text_of(market, hotkey="5Other")
    assert holding(market, "5Other").get("/miner/machines/a").status_code == 404
    assert holding(market, MINER).get("/miner/machines/c").status_code == 404
    assert Browser(market.app).get("/miner").status_code in (303, 401)
    assert signed_in(market).get("/miner/machines/a/now").status_code in (303, 401)


def test_an_open_page_is_sent_what_has_changed_and_nothing_else(market):
    """By its mark; another epoch makes another one."""
    finished(market)
    miner = holding(market, MINER)
    first = miner.get("/miner/now?page=0")
    again = miner.get("/miner/now?page=0", headers={"If-None-Match": first.headers["etag"]})
    finished(market, epoch=8, score=0.0, passed=0.0, reasons=(BUSY,))
    market.clock.passes(FRESH_S)
    changed = miner.get("/miner/now?page=0", headers={"If-None-Match": first.headers["etag"]})

    assert (first.status_code, again.status_code, again.content) == (200, 304, b"")
    assert "Earns nothing" in changed.text
    assert "passed 1" in changed.text


def test_of_many_machines_a_page_has_some_and_unpaid_ones_come_first(market):
    """What is no page's number is the first, what is too large the last."""
    finished(market, [f"m-{n:03}" for n in range(PAGE + 2)])
    state = State(market.market.engine)
    look = market.desk.miners.look(MINER, 9)

    assert state.latest_epochs(1)[0].paid == PAGE + 2
    assert [one.name for one in look.machines] == [f"m-{PAGE:03}", f"m-{PAGE + 1:03}"]
    assert "Page 1 of 2" in text_of(market, "/miner?page=-1")
    assert "Page 2 of 2" in text_of(market, "/miner?page=1")


def test_before_anything_can_be_earned_the_page_says_what_is_missing(market):
    """An epoch, a place, an agent's address, a machine."""
    assert "finished no epoch yet" in text_of(market)
    finished(market)
    mine = market.desk.miners.look(MINER)

    assert notice_of(mine) is None
    assert "subnet miner register" in notice_of(replace(mine, neuron=None)).mend
    assert "subnet miner serve" in notice_of(replace(mine, neuron=replace(mine.neuron, endpoint=None))).mend
    assert "not taken" in notice_of(replace(mine, reply=(AWAY,))).text
    assert "subnet miner onboard" in notice_of(replace(mine, listed=0)).mend


def test_every_way_to_earn_nothing_or_little_is_told_apart(market):
    """Not listed any more, kept from before, without a weight, without weights."""
    finished(market)
    mine = market.desk.miners.look(MINER)
    one = mine.machines[0]

    def told(**changes):
        return glance_of(replace(one, **changes), mine).told

    assert told().kind == "good"
    assert "not listed" in told(executor=None).text
    assert "did not come to it" in told(score=None).text
    assert "had before: HOST_TIMEOUT" in told(score=replace(one.score, reasons=(OLD, AWAY))).text
    assert "no weight" in told(pay=replace(one.pay, share=0.0)).text
    assert "has set no weights" in told(pay=None).text


@pytest.mark.parametrize("formula", ["default", "lium-2025", "lium-2026"])
def test_a_bill_comes_to_the_score_of_every_formula(formula):
    """To the last bit; a term in shadow is shown and left out."""
    given = replace(
        score(0.0), formula=formula, rate_usd_per_hour=0.7, card_count=8, performance=0.9, uptime=0.25,
        bandwidth=0.6, collateral=0.5, passed=1.0, portion=0.1, card_share=0.3, leased_pool=0.09,
        leased_points=0.01, leased_total=0.5, idle_cards=4, idle_points=2.0, idle_total=9.0, idle_pool=0.4,
    )  # fmt: skip
    paid = replace(given, score=total_of(given, ("uptime",)))
    bill = bill_of(paid, ("uptime",))

    assert sum(part.comes_to for part in bill.parts) == paid.score
    assert not bill.is_kept
    assert bill_of(replace(paid, score=1.5), ("uptime",)).is_kept
    assert {line.is_shadow for part in bill.parts for line in part.lines if line.term == "uptime"} == {True}


def test_reasons_that_cost_the_pay_come_first():
    """Failures, what kept the verdict away, warnings, and last what is in shadow."""
    shadow = replace(BUSY, is_shadow=True)

    assert ordered((shadow, OLD, AWAY, BUSY)) == (BUSY, AWAY, OLD, shadow)


def test_a_trend_has_a_bar_for_each_epoch():
    """As high as its score, a stub for one that was not paid, a dot where it was not listed."""
    beats = (
        Beat(5, is_listed=False, is_passed=False, score=0.0),
        Beat(6, is_listed=True, is_passed=False, score=0.0),
        Beat(7, is_listed=True, is_passed=True, score=0.2),
        Beat(8, is_listed=True, is_passed=True, score=0.4),
    )

    assert [(bar.look, bar.height) for bar in trended(beats)] == [
        ("missing", 2.0),
        ("unpaid", 4.0),
        ("paid", TREND_HEIGHT / 2),
        ("paid", TREND_HEIGHT),
    ]
    assert trended(()) == ()


def test_the_last_epochs_of_a_machine_are_those_that_are_closed(market):
    """Also those that did not list it."""
    finished(market, ["a"], epoch=7)
    finished(market, ["b"], epoch=8)
    finished(market, ["a", "b"], epoch=9, score=0.0, passed=0.0)
    (one,) = market.desk.miners.one(MINER, "a").machines

    assert [(beat.epoch, beat.is_listed, beat.is_passed) for beat in one.beats] == [
        (7, True, True),
        (8, False, False),
        (9, True, False),
    ]
    assert len(one.beats) <= BEATS


def test_an_estimate_stands_beside_the_last_archived_epoch(market):
    """Idle and leased, new and after a month; what does not fit is told at its field."""
    finished(market)
    miner = holding(market, MINER)
    alone = read(miner.get("/miner/estimate?model=L4&cards=2")).text
    State(market.market.engine).mark_archived(7)
    beside = read(miner.get("/miner/estimate?model=L4&cards=2&price=&bare=yes")).text
    refused = miner.get("/miner/estimate?model=L4&cards=99")

    assert "alone on a subnet" in alone
    assert "2 \u00d7 L4, beside epoch 7" in beside
    assert "idle, after 30 days" in beside
    assert refused.status_code == 422
    assert read(refused).fault("cards")
    assert miner.get("/miner/estimate?model=" + "x" * 2_000).status_code == 422


class Stuck(Estimates):
    """Its first look at the state lasts until somebody lets it go."""

    def __init__(self, market, **changes):
        self.begun, self.goes_on = threading.Event(), threading.Event()
        limits = market.market.limits
        rate = Buckets(changes.get("rate", limits.estimates), market.clock.monotonic)
        super().__init__(market.market.engine, DEFAULT, rate, wait_s=changes.get("wait_s", WAIT_S))

    def _newest(self):
        self.begun.set()
        assert self.goes_on.wait(20)
        return super()._newest()


def stuck(market, **changes):
    """The market with estimates that take long."""
    market.app._desk.estimates = Stuck(market, **changes)
    return market.app._desk.estimates


def all_at_once(market, hotkeys, waiting, then=asyncio.sleep):
    """Each of these hotkeys asks for another estimate, until so many wait; what `then` comes to, and what the estimates do."""

    async def asked(hotkey, number):
        ours = httpx.ASGITransport(market.app, client=("198.51.100.9", 1))
        async with httpx.AsyncClient(transport=ours, base_url=HERE) as client:
            cookies = {"Cookie": f"session={hotkey.cookies['session']}"}
            return await client.get(f"/miner/estimate?model=L4&price={number}", headers=cookies)

    async def together():
        estimates = market.app._desk.estimates
        tasks = [asyncio.create_task(asked(one, number)) for number, one in enumerate(hotkeys)]
        try:
            async with asyncio.timeout(20):
                left = set(tasks)
                while len(left) > waiting:
                    _, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
                await asyncio.to_thread(estimates.begun.wait, 10)
            found = await then(0)
        finally:
            estimates.goes_on.set()
        return found, [answer.status_code for answer in await asyncio.gather(*tasks)]

    return asyncio.run(together())


def test_estimates_take_nobody_elses_thread(market):
    """However many are asked for, by however many hotkeys, a renter is answered at once; those for whom there is no room are told so."""
    stuck(market)
    miners = [holding(market, f"5Miner{number}") for number in range(60)]
    headers = {"Authorization": f"Bearer {market.key()}"}

    async def look(_s):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(market.app), base_url=HERE) as renter:
            return await asyncio.wait_for(renter.get("/v1/leases", headers=headers), 3)

    answer, statuses = all_at_once(market, miners, WAITING, look)

    assert answer.status_code == 200
    assert statuses.count(200) == WAITING
    assert statuses.count(503) == 60 - WAITING


def test_a_hotkey_takes_no_others_place(market):
    """It waits for few estimates at a time, so that others come in."""
    stuck(market)
    busy, other = holding(market, "5Busy"), holding(market, MINER)

    _, statuses = all_at_once(market, [busy] * WAITING + [other], WAITING_EACH + 1)

    assert statuses.count(200) == WAITING_EACH + 1
    assert statuses[-1] == 200


def test_an_estimate_that_takes_too_long_is_not_waited_for(market):
    """The page says when to ask again."""
    estimates = stuck(market, wait_s=0.05)
    answer = holding(market, MINER).get("/miner/estimate?model=L4")
    estimates.goes_on.set()

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    assert "ask for estimates" in read(answer).text


def test_estimates_are_bounded_by_hotkey_and_by_address(tmp_path):
    """Everybody can make hotkeys, and everybody's estimates are made by one thread."""
    limits = replace(NO_LIMITS, estimates=Rate(per_s=1.0, burst=2))
    with world(tmp_path, machines=0, limits=limits) as market:
        ask = "/miner/estimate?model=L4&price="
        one, neighbour = holding(market, "5One"), holding(market, "5Neighbour")
        statuses = [one.get(f"{ask}{number}").status_code for number in range(3)]
        refused = neighbour.get(f"{ask}7")
        form = neighbour.get("/miner/estimate")
        market.clock.passes(1)

        assert statuses == [200, 200, 429]
        assert (refused.status_code, refused.headers["retry-after"], form.status_code) == (429, "1", 200)
        assert neighbour.get(f"{ask}8").status_code == 200


def test_an_estimate_is_made_once(market):
    """Prices that are the same to a tenth of a cent are one."""
    wanted, miner = [], holding(market, MINER)

    class Told(Estimates):
        def _rows(self, one):
            wanted.append(one)
            return super()._rows(one)

    rate = Buckets(market.market.limits.estimates, market.clock.monotonic)
    market.app._desk.estimates = Told(market.market.engine, DEFAULT, rate)
    pages = [miner.get(f"/miner/estimate?model=L4&price={price}") for price in ("0.25", "0.25001", "0.251")]

    assert [one.price_usd_per_hour for one in wanted] == [0.25, 0.251]
    assert [page.status_code for page in pages] == [200] * 3
    rows = ("idle, new", "idle, after 30 days", "leased, new", "leased, after 30 days")
    assert all(row in read(pages[0]).text for row in rows)


def reader(market, before):
    """Reads miners' machines, and does this before."""

    class Reader(Miners):
        def _read(self, hotkey, what):
            before(hotkey)
            return super()._read(hotkey, what)

    return Reader(market.market.engine, market.desk.board, DEFAULT, market.clock.monotonic)


def test_pages_that_there_are_not_are_no_reason_to_read(market):
    """Whatever number or name is typed: the state is read once for it within two seconds, and each miner's by itself."""
    finished(market, [f"m-{n:03}" for n in range(PAGE + 2)])
    read_for = []
    miners = reader(market, read_for.append)
    looks = [miners.look(MINER, number) for number in (1, 2, 9, 9_999)]
    nothing = [miners.one(MINER, name) for name in ("x", "y", "x-1")]

    assert [look.page for look in looks] == [1] * 4
    assert [one.machines for one in nothing] == [()] * 3
    assert len(read_for) == 2
    finished(market, [f"m-{n:03}" for n in range(2 * PAGE + 1)], epoch=8)
    market.clock.passes(FRESH_S)
    assert miners.look(MINER, 2).pages == 3


def test_one_miner_waits_for_no_other(market):
    """Reading one's machines takes long: another's are there meanwhile."""
    finished(market)
    begun, goes_on = threading.Event(), threading.Event()

    def dawdle(hotkey):
        if hotkey == "5Slow":
            begun.set()
            assert goes_on.wait(10)

    miners = reader(market, dawdle)
    with ThreadPoolExecutor(2) as threads:
        slow = threads.submit(miners.look, "5Slow")
        try:
            assert begun.wait(5)
            assert threads.submit(miners.look, MINER).result(5).listed == 2
        finally:
            goes_on.set()
        assert slow.result(5).listed == 0
