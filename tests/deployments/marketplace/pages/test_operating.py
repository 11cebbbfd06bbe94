"""The operator's page: what goes wrong comes first, Prefect is asked by nobody who waits, and only operators look."""

import threading
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from deployments.marketplace.affairs import EPOCH_DUE, FRESH_S, STANDS_STILL, WORK_WAITS
from deployments.marketplace.asking import Asking
from deployments.marketplace.orchestration import FRESH_S as PREFECT_FRESH_S
from deployments.marketplace.orchestration import Counted, Orchestration, Pool, WorkerSeen, failed
from deployments.marketplace.pages.operating import ago, troubles_of
from storage.database import writing
from storage.records import (
    EpochHeader,
    Landing,
    LandingState,
    Reason,
    Severity,
    WeightOutcome,
    WeightStatus,
    WeightTarget,
    WeightVector,
)
from storage.state import State
from storage.tables import lease_health, price_answers, rentals
from tests.deployments.marketplace.pages.reading import read
from tests.deployments.marketplace.pages.visiting import holding, signed_in
from tests.deployments.marketplace.pages.waiting import until
from tests.deployments.marketplace.world import ask, world
from tests.tasks.renting.epochs import MINER, finish, machine
from tests.tasks.renting.leases import NOON

OPERATOR = "5Operator"
HOSTILE = '"><script>alert(1)</script>\u202e'


@pytest.fixture
def market(tmp_path):
    """A market with an operator; its Prefect is not asked."""
    with world(tmp_path, machines=3, operators=frozenset({OPERATOR})) as made:
        yield made


def page_of(market):
    """The page as an operator sees it, some seconds later."""
    market.clock.passes(FRESH_S)
    answer = holding(market, OPERATOR).get("/operator")
    assert answer.status_code == 200, answer.text
    return read(answer).text


def test_only_operators_see_it(market):
    """A miner is told that it is none, a renter has not signed with a hotkey."""
    assert holding(market, MINER).get("/operator").status_code == 403
    assert holding(market, MINER).get("/operator/now").status_code == 403
    assert signed_in(market).get("/operator/now").status_code in (303, 401)


def test_before_anything_has_happened_it_says_so_in_words(market):
    """No incident, no epoch, no Prefect to ask."""
    text = page_of(market)

    assert "Nothing goes wrong now." in text
    assert "No epoch has begun yet" in text
    assert "knows no Prefect server" in text
    assert "Works without a flow run 0" in text


def test_it_tells_how_the_validator_stands_on_the_chain(market):
    """Registration, weights as they were taken, and what later looks found."""
    vector = WeightVector(7, (WeightTarget(1, MINER, 1.0),), 0.0)
    outcome = WeightOutcome(WeightStatus.CONFIRMED, "", "", 351, "351-2", 0, vector.targets, ())
    finish(market.market.engine, [machine("a")], weights=(vector, outcome))
    State(market.market.engine).follow_weights(
        Landing(7, 351, 360, is_sealed=False, seen_block=355, looks=2, state=LandingState.LANDED)
    )
    text = page_of(market)

    assert "last block seen 350," in text
    assert "not registered, or no epoch was finished" in text
    assert "weights last wanted epoch 7: confirmed" in text
    assert "weights last taken epoch 7, block 351" in text
    assert "epoch 7: landed, 2 looks, seen at block 355" in text


def test_weights_that_were_refused_and_an_epochs_own_troubles_are_incidents(market):
    """With the chain's word for it; foreign text stays text."""
    state = State(market.market.engine)
    state.open_epoch(EpochHeader(8, 51, 400, "0xab", OPERATOR, "default", "0" * 16, "0.1", NOON))
    state.save_incidents(8, (Reason("CHAIN_AWAY", Severity.WARN, HOSTILE, "", "Wait."),))
    vector = WeightVector(8, (WeightTarget(1, MINER, 1.0),), 0.0)
    refused = WeightOutcome(WeightStatus.REFUSED, "NeuronNoValidatorPermit", "no permit", 401, "", 0, (), ())
    state.save_weights(vector, refused)
    state.finish_epoch(8)
    market.clock.passes(FRESH_S)
    answer = holding(market, OPERATOR).get("/operator")
    text = read(answer).text

    assert "WEIGHTS_REFUSED epoch 8" in text
    assert "NeuronNoValidatorPermit: no permit" in text
    assert "CHAIN_AWAY" in text
    assert "<script>alert" not in answer.text


def test_epochs_that_stand_still_or_do_not_come_are_incidents(market):
    """One that is open writes now and then; after one that is over the next is soon to come."""
    state = State(market.market.engine, clock=market.clock.now)
    state.open_epoch(EpochHeader(8, 51, 400, "0xab", OPERATOR, "default", "0" * 16, "0.1", NOON))
    assert "EPOCH_STANDS_STILL" not in page_of(market)
    market.clock.passes(EPOCH_DUE.total_seconds())
    assert "EPOCH_STANDS_STILL epoch 8" in page_of(market)
    state.abandon_epoch(8)
    text = page_of(market)

    assert "EPOCH_ABANDONED epoch 8" in text
    assert "NO_EPOCH after epoch 8" in text


def test_what_waits_stands_still_or_fails_in_the_market_is_told(market):
    """A work without a flow run, a lease on its way for long, one that failed by us, a machine that is away."""
    alice = market.client("alice")
    waiting = ask(alice).json()["lease_id"]
    away = market.hand_over(ask(alice, "k-2").json()["lease_id"])
    failed = ask(alice, "k-3").json()["lease_id"]
    at = market.clock.at
    with writing(market.market.engine) as connection:
        change = {"state": "failed", "party": "platform", "reason": HOSTILE}
        connection.execute(sa.update(rentals).where(rentals.c.lease_id == failed).values(change))
        seen = {"lease_id": away.lease_id, "looked_at": at, "away_since": at, "dead": "", "dead_looks": 0}
        connection.execute(sa.insert(lease_health).values(seen))
        connection.execute(
            sa.insert(price_answers).values(source="a", asked_at=at, fault="no answer", quotes="[]")
        )
    market.clock.passes(WORK_WAITS.total_seconds() + 1)
    early = page_of(market)
    market.clock.passes(STANDS_STILL.total_seconds())
    text = page_of(market)

    assert "LEASE_STANDS_STILL" not in early
    assert f"LEASE_STANDS_STILL {waiting}" in text
    assert "WORK_WAITS starter" in early
    assert "3 works wait for a flow run" in early
    assert f"MACHINE_AWAY {away.lease_id}" in early
    assert f"LEASE_FAILED {failed}" in early
    assert "PRICE_SOURCE_SILENT a" in early
    assert "alice" not in text


def test_an_open_page_is_sent_what_has_changed_and_nothing_else(market):
    """Ages are in whole minutes, so that they change no more often."""
    finish(market.market.engine, [machine("a")])
    operator = holding(market, OPERATOR)
    first = operator.get("/operator/now")
    market.clock.passes(FRESH_S)
    again = operator.get("/operator/now", headers={"If-None-Match": first.headers["etag"]})
    market.clock.passes(120)
    later = operator.get("/operator/now", headers={"If-None-Match": first.headers["etag"]})

    assert (first.status_code, again.status_code, later.status_code) == (200, 304, 200)
    assert ago(NOON, NOON - timedelta(seconds=59)) == "under a minute ago"
    assert ago(NOON, NOON - timedelta(minutes=125)) == "2 h 5 min ago"


def test_prefect_is_asked_in_the_background_and_nobody_waits_for_it():
    """One question at a time, again after some seconds, only when somebody looks; its silence is an answer, too."""
    now_s, may_answer, answers = 0.0, threading.Event(), []

    def asked():
        may_answer.wait(10)
        return answers.pop(0)

    seen = Asking(asked, failed, PREFECT_FRESH_S, lambda: now_s)
    answers += [Orchestration(NOON, "", 0.02), Orchestration(NOON, "TimeoutError: it does not answer", 4.0)]
    try:
        assert seen.look() is None
        now_s = 100.0
        assert seen.look() is None
        may_answer.set()
        assert until(lambda: seen._last).latency_s == 0.02
        assert len(answers) == 1
        now_s += PREFECT_FRESH_S
        seen.look()
        assert until(lambda: seen._last.fault and seen._last).fault.startswith("TimeoutError")
        now_s += PREFECT_FRESH_S
        seen.look()
        assert until(lambda: seen._last.fault == "IndexError" and seen._last).latency_s == 0.0
    finally:
        seen.close()


def test_pools_queues_and_workers_are_told(market):
    """What is late, paused or has no worker stands out in words."""
    beat = NOON - timedelta(minutes=3)
    pool = Pool(
        "market",
        is_paused=True,
        queues=(Counted("default", is_paused=False, runs=(2, 1, 5, 0)),),
        workers=(WorkerSeen("w-1", beat, is_online=False),),
    )
    online = replace(pool.workers[0], name="w-3", is_online=True)
    served = replace(pool, name="served", workers=(replace(online, name="w-2", is_online=False), online))
    told = Orchestration(NOON, "", 0.0123, (pool, replace(pool, name="empty", workers=()), served))
    made = market.rebuilt(orchestration=lambda: told)
    text = until(lambda: next((text for text in [page_of(made)] if "It answers" in text), None))

    assert "It answers, in 12 ms" in text
    assert "Work pool market paused" in text
    assert "queue running late scheduled pending default 2 1 5 0" in text
    assert "w-1: offline, last heartbeat 2026-" in text
    assert "w-2: gone, last heartbeat 2026-" in text  # an earlier one, whose work another does
    assert "No worker has ever asked for its runs." in text
    assert "POOL_PAUSED pool market" in text
    assert "NO_WORKER pool empty" in text
    assert "RUNS_LATE pool market" in text
    assert [one.code for one in troubles_of(Orchestration(NOON, "TimeoutError", 4.0))] == ["PREFECT_AWAY"]
    assert list(troubles_of(None)) == []
