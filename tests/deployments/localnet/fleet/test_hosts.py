from __future__ import annotations

import os
import signal
import socket
import statistics
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from deployments.localnet.executors import USER, public_key_blob
from deployments.localnet.fleet.hosts import hosts_cast, start_hosts, why_missing
from deployments.localnet.fleet.namespaces import PORT
from deployments.localnet.fleet.packets import GATEWAY
from deployments.localnet.fleet.profiles import Conditions
from deployments.localnet.homes import Disks, make_machine
from deployments.miner.keys import let_in
from storage.records import Executor
from tasks.edges.shell import EpochKey, Shell
from tasks.errors import HostAway, SettingError
from tasks.inspection.facts import COMMANDS, read_facts
from tasks.inspection.talk import ask_facts, measure_bandwidth, start_runner
from tasks.onboarding.confinement.grants import Grant
from tests.engines import skip_or_fail

RTT_S = 0.1
HOTKEY = "5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty"
PATIENCE_S = 60.0

pytestmark = pytest.mark.xdist_group("fleet-hosts")
"""There is one network of hosts on a computer at a time."""


@pytest.fixture(scope="module")
def key():
    return EpochKey.generate()


@pytest.fixture(scope="module")
def machines(tmp_path_factory, key):
    """The disks of two hosts that let our key in."""
    if reason := why_missing():
        skip_or_fail(reason)
    folder = tmp_path_factory.mktemp("hosts")
    made = tuple(make_machine(Disks(folder), e, PORT) for e in hosts_cast(2).executors)
    for machine in made:
        grant = Grant(key.public_line, HOTKEY, 1, datetime.now(UTC) + timedelta(hours=1))
        let_in(machine.authorized_keys, grant, now=datetime.now(UTC))
    return folder, made


@pytest.fixture(scope="module")
def hosts(machines):
    folder, made = machines
    child = start_hosts(folder, made, Conditions(rtt_ms=1e3 * RTT_S))
    yield child
    child.stop()


def _executor(machine):
    python = str(machine.home / "bin" / "python")
    blob = public_key_blob(machine.host_key)
    return Executor(machine.executor_id, HOTKEY, 4, 1, machine.address, PORT, USER, python, blob, 1.0)


@pytest.mark.usefixtures("hosts")
def test_every_round_trip_to_a_host_takes_the_time_that_was_asked_for(machines):
    """That of TCP's handshake, by the kernel's own clock: 100 ms, and little more on a busy computer."""

    def connect(address):
        began = time.perf_counter()
        with socket.create_connection((address, PORT), 10.0):
            return time.perf_counter() - began

    trips_s = [connect(machine.address) for machine in machines[1] for _ in range(5)]

    assert min(trips_s) >= RTT_S
    assert statistics.median(trips_s) < 2 * RTT_S


@pytest.mark.usefixtures("hosts")
def test_a_host_is_inspected_as_a_real_one(machines, key):
    """Real OpenSSH, the real program, its own host key and card; bandwidth is measured over the long way."""
    shell, uuids = Shell(), set()
    for machine in machines[1]:
        until = time.monotonic() + PATIENCE_S
        with shell.open(_executor(machine), key, deadline=until) as session:
            start_runner(session, deadline=until)
            facts, unread = read_facts(
                {output.name: output for output in ask_facts(session, COMMANDS, deadline=until)}
            )
            bandwidth = measure_bandwidth(session, 4_096, deadline=until)
        uuids.add(facts.cards[0].uuid)
        assert [r.code for r in unread if r.decides] == []
        assert bandwidth.rtt_ms >= 1e3 * RTT_S

    assert len(uuids) == 2


@pytest.mark.usefixtures("hosts")
def test_a_host_lets_no_other_key_in(machines):
    """Its door is OpenSSH's, with our key alone."""
    with pytest.raises(HostAway) as refused:
        Shell().open(_executor(machines[1][0]), EpochKey.generate(), deadline=time.monotonic() + PATIENCE_S)

    assert refused.value.phase == "auth"


@pytest.mark.usefixtures("hosts")
def test_two_networks_of_hosts_do_not_meet(machines):
    """The second one is told why it can't be."""
    with pytest.raises(SettingError) as refused:
        start_hosts(*machines, Conditions())

    assert GATEWAY in str(refused.value)


def test_nothing_is_left_of_hosts_that_were_killed(machines, hosts):
    """No device, no network, no process, whoever was killed with -9; and the next ones come up in the same place."""
    os.kill(hosts.process.pid, signal.SIGKILL)
    hosts.process.wait()
    until = time.monotonic() + PATIENCE_S
    while (_is_here(GATEWAY) or _servers(machines[0])) and time.monotonic() < until:
        time.sleep(0.05)

    assert not _is_here(GATEWAY)
    assert _servers(machines[0]) == []

    again = start_hosts(*machines, Conditions())
    again.stop()

    assert not _is_here(GATEWAY)


def _is_here(address):
    """Whether this computer has the address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
        return True


def _servers(folder):
    """Processes that were started with a file of this folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if f"{folder}/sshd-".encode() in path.read_bytes():
                found.append(int(path.parent.name))
    return found


def test_too_many_hosts_are_refused():
    """Each takes seconds of a core: five hundred at most."""
    with pytest.raises(SettingError):
        hosts_cast(501)
