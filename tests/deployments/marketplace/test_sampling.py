"""Leases are measured while somebody looks: one sampler each, bounded, and nobody's machine costs anybody else anything."""

import threading
import time
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace

import pytest

from deployments.marketplace import sampling
from deployments.marketplace.sampling import Sampling
from storage.rental import CardUse
from tasks.errors import BadAnswer, EngineAway, HostAway
from tasks.renting.counters import Counters
from tasks.renting.meter import Reading
from tests.deployments.marketplace.serving import served
from tests.deployments.marketplace.world import NO_LIMITS, ask, world

QUICK = Sampling(every_s=0.05, first_s=0.01, idle_s=0.5, answer_s=0.3, again_most_s=0.1)


class Machine:
    """Every session to it: a reading each 5 s of its own time, unless it was told to do something else."""

    def __init__(self):
        self.opened, self.closed, self.asked = 0, 0, 0
        self.fails, self.hangs = [], threading.Event()
        self.hangs.set()
        self._lock = threading.Lock()

    async def open(self, _rental, _deadline_s):
        """A session is itself."""
        self.opened += 1
        return self

    def measure(self, card_uuids, timeout_s):
        """Half a core, one card of two."""
        with self._lock:
            self.asked += 1
            number, fails = self.asked, self.fails.pop(0) if self.fails else None
        if not self.hangs.wait(timeout_s):
            raise HostAway("talk", "no answer by its deadline")
        if fails:
            raise fails
        counters = Counters(5.0 * number, 2.5 * number, 1 << 20, 1 << 30, 100 * number, 10, 0, 0, 7)
        return Reading((CardUse(card_uuids[0], 50.0, 900, temperature_c=60),), counters)

    def close(self):
        """Counted."""
        self.closed += 1


@contextmanager
def measured(folder, limits=QUICK):
    """A marketplace that is served, its machine, and a lease of alice."""
    machine, desks = Machine(), []

    @asynccontextmanager
    async def beside(desk):
        desks.append(desk)
        yield

    limits = replace(NO_LIMITS, sampling=limits)
    with world(folder, limits=limits, consoles_are=machine, beside=(beside,)) as market:
        lease = market.active(market.client())
        with served(market.app):
            market.samplers = desks[0].samplers
            yield market, machine, lease


def until(holds, seconds=5.0):
    """Whether it comes to hold."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def samples(market, lease):
    """What was kept."""
    return market.stores.health.metrics(lease.lease_id)


def passing(market, seconds=5):
    """Look again and again, while the market's clock goes on."""
    market.clock.passes(seconds)
    return True


def test_whoever_looks_has_it_measured(tmp_path):
    """By one session, however many look; the processor's use comes of two readings."""
    with measured(tmp_path) as (market, machine, lease):
        whys = {market.samplers.look(lease) for _ in range(20)}
        assert until(lambda: passing(market) and len(samples(market, lease)) >= 3)

    first, second, *_ = samples(market, lease)
    assert whys == {""}
    assert (machine.opened, machine.closed) == (1, 1)
    assert [card.temperature_c for card in first.cards] == [60]
    assert (first.cpu_percent, first.memory_limit_bytes, first.pids) == (50.0, 1 << 30, 7)
    assert second.received_bytes == first.received_bytes + 100


def test_it_ends_after_the_last_look(tmp_path):
    """The session is closed, and the machine is asked nothing any more; the next look begins anew."""
    with measured(tmp_path, replace(QUICK, idle_s=0.1)) as (market, machine, lease):
        market.samplers.look(lease)
        assert until(lambda: machine.closed == 1)
        asked = machine.asked
        time.sleep(0.15)
        assert machine.asked == asked
        market.samplers.look(lease)
        assert until(lambda: machine.asked > asked)


def test_it_ends_with_the_lease(tmp_path):
    """What does not run is not measured, whoever looks."""
    with measured(tmp_path) as (market, machine, lease):
        market.samplers.look(lease)
        assert until(lambda: machine.asked > 1)
        market.client().delete(f"/v1/leases/{lease.lease_id}")
        rentals = market.stores.rentals
        now = rentals.get(lease.lease_id)
        stopped = replace(now, state=type(now.state).ENDING, version=now.version + 1)
        assert rentals.move(now, stopped)
        assert until(lambda: machine.closed == 1)
        asked = machine.asked
        assert market.samplers.look(stopped) == ""
        time.sleep(0.1)
        assert machine.asked == asked


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (HostAway("talk", "no"), sampling.AWAY),
        (BadAnswer("nonsense"), sampling.BROKEN),
        (EngineAway("engine", "down"), sampling.REFUSED),
        (ZeroDivisionError(), sampling.OURS),
    ],
)
def test_a_failure_is_told_and_tried_again(tmp_path, error, why):
    """Over another session; whoever looks is told why there is nothing."""
    with measured(tmp_path) as (market, machine, lease):
        machine.fails = [error] * 3
        market.samplers.look(lease)
        assert until(lambda: market.samplers.look(lease) == why)
        assert until(lambda: passing(market) and market.samplers.look(lease) == "" and samples(market, lease))
        assert machine.opened >= 4
        assert until(lambda: machine.closed >= 3)


def test_a_machine_that_hangs_costs_itself_alone(tmp_path):
    """Its lease has no samples, and whoever looks does not wait; others are measured."""
    with measured(tmp_path) as (market, machine, lease):
        machine.hangs.clear()
        began = time.monotonic()
        market.samplers.look(lease)
        took_s = time.monotonic() - began
        assert until(lambda: market.samplers.look(lease) == sampling.AWAY)
        machine.hangs.set()
        assert until(lambda: passing(market) and samples(market, lease))

    assert took_s < 0.1


def test_a_slow_machine_is_left_alone_for_longer(tmp_path):
    """Readings that take 0.1 s come 0.6 s apart at the least, though they are wanted every 0.05 s."""
    with measured(tmp_path, replace(QUICK, idle_s=2.0, again_most_s=5.0)) as (market, machine, lease):
        quick = machine.measure

        def slow(card_uuids, timeout_s):
            time.sleep(0.1)
            return quick(card_uuids, timeout_s)

        machine.measure = slow
        market.samplers.look(lease)
        assert until(lambda: machine.asked == 1)
        time.sleep(1.0)
        assert machine.asked <= 3


@pytest.mark.parametrize("bound", ["most", "most_of_renter", "most_on_machine"])
def test_there_is_a_bounded_number_of_them(tmp_path, bound):
    """Of all, of a renter, and on a machine: one more is told so, and its samples are the watch's."""
    with measured(tmp_path, replace(QUICK, **{bound: 1})) as (market, machine, lease):
        client = market.client("bob" if bound == "most" else "alice")
        other = market.hand_over(ask(client, key="k-2").json()["lease_id"])
        other = replace(other, executor_key=lease.executor_key) if bound == "most_on_machine" else other
        assert market.samplers.look(lease) == ""
        assert market.samplers.look(other) == sampling.FULL
        assert until(lambda: machine.closed == 1)
        assert market.samplers.look(other) == ""


def test_what_tells_nothing_is_no_sample(tmp_path):
    """A machine that answers without a word of it is told of as one."""
    with measured(tmp_path) as (market, machine, lease):
        machine.measure = lambda *_: Reading()
        market.samplers.look(lease)
        assert until(lambda: market.samplers.look(lease) == sampling.SILENT)

    assert samples(market, lease) == ()
