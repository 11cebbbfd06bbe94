"""Measuring a real container over a real session."""

import time
from datetime import timedelta

import pytest

from deployments.marketplace.machines import MachineConsole
from tasks.renting.meter import Meter, sample_of
from tests.engines import soon
from tests.tasks.edges.rented import rented, spec
from tests.tasks.renting.leases import NOON

pytestmark = pytest.mark.xdist_group("engine")
BUSY = "while :; do :; done"


class Entered:
    """A machine with this engine."""

    def __init__(self, runtime):
        self._runtime = runtime

    def engine(self, _deadline):
        """The one that is kept."""
        return self._runtime


def test_a_container_is_measured_while_it_runs(docker, tmp_path):
    """Its processor, memory, processes and network, as its engine has them too; nothing once it stands still; then again."""
    made_of = spec(words=("sh", "-c", BUSY))
    with docker.runtime(tmp_path) as runtime, rented(docker, runtime, made_of) as box:
        console = MachineConsole(Entered(runtime), box.name)
        first = console.measure(made_of.card_uuids, 10.0)
        time.sleep(1.0)
        second = console.measure(made_of.card_uuids, 10.0)
        told = runtime.stats(box.name, deadline=soon())
        docker.run("stop", "--time=0", box.name)
        still = console.measure(made_of.card_uuids, 10.0)
        docker.run("start", box.name)
        again = console.measure(made_of.card_uuids, 10.0)

    sample = sample_of("l-1", NOON, first.counters, second)
    assert 1.0 < sample.cpu_percent <= 110.0
    assert sample.pids == told.pids
    assert sample.memory_bytes == pytest.approx(told.memory_bytes, rel=0.2)
    assert sample.memory_limit_bytes == pytest.approx(told.memory_limit_bytes, rel=0.01)
    assert sample.received_bytes > 0
    assert sample.read_bytes is not None
    [card] = sample.cards
    assert (card.uuid, card.temperature_c, card.power_w) == (made_of.card_uuids[0], 34, 61.5)
    assert still.counters.cpu_s is None
    assert sample_of("l-1", NOON + timedelta(seconds=5), second.counters, again).cpu_percent is None


def test_podman_has_the_same_counters(podman, tmp_path):
    """Its groups are found by the container's id, too, and not those of its helper."""
    with podman.runtime(tmp_path) as runtime, rented(podman, runtime, spec()) as box:
        counters = Meter(runtime, box.name).read((), deadline=soon()).counters
        told = runtime.stats(box.name, deadline=soon())

    assert counters.pids == told.pids
    assert counters.memory_bytes == pytest.approx(told.memory_bytes, rel=0.2)
    assert counters.received_bytes is not None
