"""Whole visits to hostile machines: one code each, and bounds of time, CPU, memory and threads that are measured for each."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict

import pytest

from tests.tasks.edges import hostile
from tests.tasks.edges.besieging import REPOSITORY, Servers, hostile_servers
from tests.tasks.inspection.besieged import Visited

ALL = {behaviour.name: behaviour for behaviour in hostile.named()}
DEADLINE_S, ANSWERED_S, FLOODED_S = 2.0, 6.0, 40.0
MAX_LATE_S, MAX_CPU_S, MAX_GROWTH_MIB = 1.0, 0.1, 20.0


def deadline_s(name: str) -> float:
    """Short for who will use it up; the others' servers are to have the time for what they do, though all are busy."""
    if ALL[name].may_last:
        return FLOODED_S
    return DEADLINE_S if ALL[name].code == "HOST_TIMEOUT" else ANSWERED_S


@pytest.fixture(scope="module")
def visits() -> dict[str, Visited]:
    """All hostile servers visited, each by a process of its own, two dozen at a time; floods are another process's.

    Who was late is visited once more, alone: this machine may have been busy with something else.
    """
    with hostile_servers() as servers, hostile_servers() as flooding:
        errands = [(name, flooding if ALL[name].may_last else servers) for name in ALL]
        found = _visited(errands)
        late = [e for e in errands if found[e[0]].wall_s > deadline_s(e[0]) + MAX_LATE_S]
        return found | (_visited(late) if late else {})


def _visited(errands: list[tuple[str, Servers]]) -> dict[str, Visited]:
    told = []
    for name, servers in errands:
        announced = asdict(servers.executor(name))
        key = announced.pop("host_key").hex()
        told.append((name, announced, key, deadline_s(name)))
    done = subprocess.run(
        [sys.executable, "-m", "tests.tasks.inspection.besieged"],
        input=json.dumps(told),
        capture_output=True,
        text=True,
        check=False,
        cwd=REPOSITORY,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return {one["name"]: Visited(**one) for one in map(json.loads, done.stdout.splitlines())}


@pytest.mark.parametrize("name", ALL)
def test_each_behaviour_has_its_code(visits: dict[str, Visited], name: str) -> None:
    """A hostile machine's report has one reason, always the same, that can be shown."""

    visited = visits[name]

    assert visited.codes == [ALL[name].code], visited.got
    assert all(got.isprintable() and len(got) <= 240 for got in visited.got)


@pytest.mark.parametrize("name", ALL)
def test_a_visit_ends_with_its_deadline(visits: dict[str, Visited], name: str) -> None:
    """A second after its deadline at the latest, and two seconds later no thread is left; it grew by less than 20 MB."""

    visited = visits[name]

    assert visited.wall_s < deadline_s(name) + MAX_LATE_S
    assert visited.threads_left == 0
    assert visited.grown_mib < MAX_GROWTH_MIB


@pytest.mark.parametrize("name", ALL)
def test_a_visit_costs_a_tenth_of_a_second(visits: dict[str, Visited], name: str) -> None:
    """Whatever a hostile machine does, the visit to it takes less than 0.1 s of CPU, all threads and its aftermath together."""

    assert visits[name].cpu_s < MAX_CPU_S
