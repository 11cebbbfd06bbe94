"""Measuring on a machine whose programs lie, flood or hang, over a real session."""

import time
from dataclasses import replace

import pytest

from deployments.localnet.homes import Disks, make_machine
from tasks.edges.engine import Container
from tasks.errors import HostAway
from tasks.inspection.talk import start_runner
from tasks.renting.counters import Counters
from tasks.renting.meter import Meter, Reading, sample_of
from tests.deployments.localnet.visiting import cast, enter, served
from tests.engines import MACHINE, soon
from tests.tasks.renting.leases import NOON

FOLDER = f"/sys/fs/cgroup/system.slice/docker-{'ab' * 32}.scope"


class Engine:
    """One container that runs, on the machine of this session."""

    def __init__(self, session):
        self.session = session

    def inspect(self, name, **_):
        """It."""
        told = (name, "ab" * 32, "", "l-1", 1, "", "", "", "", "running", 0, False)
        return Container(*told, None, None, ())


@pytest.fixture
def read(tmp_path):
    """What a machine with these programs is read as, and whether its session lives on."""

    def reading(programs, seconds=20.0):
        made = make_machine(Disks(tmp_path), cast(MACHINE), 0)
        folder = tmp_path / "lies"
        folder.mkdir()
        for name, text in programs.items():
            (folder / name).write_text(f"#!/bin/sh\n{text}\n")
            (folder / name).chmod(0o755)
        lying = replace(made, environment={**made.environment, "PATH": f"{folder}:/usr/bin:/bin"})
        with served({MACHINE: lying}) as machines:
            session = enter(tmp_path, machines[MACHINE])
            try:
                start_runner(session, deadline=soon())
                found = Meter(Engine(session), "subnet-l-1-1").read(("GPU-a",), deadline=soon(seconds))
                return found, session.is_alive
            finally:
                session.close()

    return reading


def test_a_machine_may_say_what_it_likes(read):
    """Figures that fit are its own word; those of other cards are nobody's."""
    lines = [f"{FOLDER}/cpu.stat:usage_usec 5000000", f"{FOLDER}/memory.current:99999999999999999999"]
    found, is_alive = read(
        {
            "find": f"echo {FOLDER}; echo /etc; echo {FOLDER}/../../etc",
            "grep": "; ".join(f"echo {line}" for line in lines),
            "nvidia-smi": "echo 'GPU-a, 97, 1, 2, 3, 4, 5'; echo 'GPU-b, 1, 1, 2, 3, 4, 5'",
        }
    )

    assert is_alive
    assert found.counters == Counters(cpu_s=5.0, read_bytes=0, written_bytes=0)
    assert [card.uuid for card in found.cards] == ["GPU-a"]
    assert sample_of("l-1", NOON, None, found).memory_bytes is None


@pytest.mark.parametrize(
    "flood", ["head -c 50000000 /dev/zero", "echo /sys/fs/cgroup/x; exit 1", "echo '\\377\\000'"]
)
def test_nonsense_without_end_tells_nothing(read, flood):
    """It is cut at its limit, and the session lives on."""
    found, is_alive = read({"find": f"echo {FOLDER}; {flood}", "grep": flood, "nvidia-smi": flood})

    assert (found, is_alive) == (Reading(), True)
    assert sample_of("l-1", NOON, None, found) is None


@pytest.mark.parametrize("hang", ["yes", "sleep 60"])
def test_a_machine_that_does_not_come_to_an_end_is_left(read, hang):
    """By the deadline, whatever it prints meanwhile."""
    began = time.monotonic()
    with pytest.raises(HostAway):
        read({"nvidia-smi": hang}, 1.0)

    assert time.monotonic() - began < 10
