"""Prices as a step of the epoch: quotes for scoring, portions that move, a warning when all is old."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from deployments.localnet.chain.actors import dev_wallet
from deployments.localnet.chain.genesis import genesis
from storage.records import ALPHA_TAO, PORTION, RATE, REVENUE, TAO_USD, TOKEN, Lease, Severity
from tasks.edges.prices import HttpMarket, MarketSettings
from tasks.pricing.step import learn_prices
from tasks.scoring.step import grounds_of
from tests.tasks.inspection.runs import edges_in, run_over
from tests.tasks.pricing.markets import TAO, market, saying
from tests.tasks.scoring.worlds import executor, report

NOW = datetime.now(UTC)
BOX = executor()


@pytest.fixture
def edges(tmp_path):
    """An embedded chain with subnet 51, a state of its own, no source of prices."""
    owner = dev_wallet("owner")
    genesis(
        tmp_path / "chain.sqlite",
        owner_coldkey=owner.coldkey.ss58_address,
        owner_hotkey=owner.hotkey.ss58_address,
        accounts={},
    )
    with edges_in(tmp_path) as edges:
        yield edges


def learned(edges, leases=(), **behaviours):
    """A run that has learned its prices from sources that behave so."""

    async def work():
        async with market(**behaviours) as (sources, _):
            asked = replace(
                edges, market=HttpMarket(sources, MarketSettings(deadline_s=1.0)), leases=lambda: leases
            )
            with run_over(asked) as run:
                await learn_prices(run, [report(BOX)])
                return run

    return asyncio.run(work())


def numbers(run, kind):
    """Value by name."""
    return {quote.name: quote.value for quote in run.quotes if quote.kind == kind}


def test_without_sources_the_file_and_the_chain_speak(edges):
    """The local subnet: rates and TAO from the file, alpha from the embedded chain's pool, base portions, no warning."""

    run = learned(edges)

    tokens = {quote.name: quote.source for quote in run.quotes if quote.kind == TOKEN}
    assert tokens == {TAO_USD: "file", ALPHA_TAO: "chain"}
    assert numbers(run, TOKEN)[ALPHA_TAO] == pytest.approx(1.0)
    assert numbers(run, RATE)["H200"] == 2.85
    assert numbers(run, PORTION)["H200"] == 0.56
    assert numbers(run, REVENUE) == {}
    assert run.incidents == []


def test_scoring_is_given_what_was_learned(edges):
    """The grounds that are archived with the scores hold the very quotes."""

    run = learned(edges)

    assert grounds_of(run, [BOX], NOW).quotes == run.quotes


def test_sources_that_are_all_away_cost_a_warning(edges):
    """The token's price is then the file's, months old: the epoch says so as a warning, and goes on."""

    run = learned(edges, kraken=saying(b"", status=500), coinbase=saying(TAO["coinbase"](302.0)))

    [incident] = run.incidents
    assert (incident.code, incident.severity) == ("PRICES_STALE", Severity.WARN)
    assert "tao_usd" in incident.got
    assert "kraken: status 500, wanted 200" in incident.got
    assert numbers(run, TOKEN)[TAO_USD] == 200.0


def test_portions_follow_the_leases(edges):
    """The first lease takes its model half way to all of the revenue; a second epoch right after moves next to nothing."""
    lease = Lease("l-1", BOX.key, (), 2.0, NOW)

    first, second = learned(edges, (lease,)), learned(edges, (lease,))

    assert numbers(first, REVENUE) == {"H200": 1.0}
    assert numbers(first, PORTION)["H200"] == pytest.approx(0.78)
    assert numbers(second, PORTION)["H200"] == pytest.approx(0.78, abs=1e-3)
