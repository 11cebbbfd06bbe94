from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from deployments.localnet.homes import Disks, make_machine
from tasks.edges.shell import EpochKey, Shell
from tasks.errors import HostAway, HostKeyMismatch
from tasks.inspection.facts import COMMANDS, read_facts
from tasks.inspection.models import find
from tasks.inspection.talk import ask_facts, start_runner
from tests.deployments.localnet.visiting import (
    announced,
    begin_proof,
    cast,
    enter,
    is_gone,
    let_key_in,
    make,
    runner_pid,
    served,
    told_by,
    wait_for,
)

pytestmark = pytest.mark.xdist_group("localnet-executors")
"""Its module's fixtures are dear: one worker has them all."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("a clone") / "local net"


@pytest.fixture(scope="module")
def made(folder, request):
    cache = request.config.cache.mkdir("kernels")
    return make(folder, ["aurora-1", "basalt-2", "cinder-2", "cinder-3"], cache)


@pytest.fixture(scope="module")
def machines(made):
    with served(made) as machines:
        yield machines


def test_facts_come_through_the_fake_nvidia_smi(folder, machines):
    """A visit finds exactly the cards of the cast, by real commands, from a path with spaces."""
    with enter(folder, machines["aurora-1"]) as session:
        until = time.monotonic() + 30
        start_runner(session, deadline=until)
        outputs = ask_facts(session, COMMANDS, deadline=until)

    facts, _ = read_facts({output.name: output for output in outputs})
    told = [(card.index, card.uuid.lower(), find(card.model)) for card in facts.cards]
    expected = cast("aurora-1")
    assert told == [(i, u.lower(), find(expected.model)) for i, u in enumerate(expected.card_uuids)]
    assert {card.vram_mib for card in facts.cards} == {81_559}
    assert os.uname().release in (facts.kernel or "")


def test_commands_run_in_the_machines_own_home(folder, machines):
    """HOME and the tools in front are the machine's own, and nothing of the server's environment gets in."""
    os.environ["SUBNET_SECRET_OF_THE_SERVER"] = "told"
    try:
        with enter(folder, machines["basalt-2"]) as session:
            start_runner(session, deadline=time.monotonic() + 10)
            home, tool, environment = told_by(session, "pwd; command -v nvidia-smi; env").split("\n", 2)
    finally:
        del os.environ["SUBNET_SECRET_OF_THE_SERVER"]

    assert home == str(machines["basalt-2"].home)
    assert tool == f"{home}/bin/nvidia-smi"
    assert "SUBNET_SECRET_OF_THE_SERVER" not in environment


def test_an_expired_key_is_refused(folder, machines):
    """A key opens the door until its expiry and not a moment longer, though its line still stands in the file."""
    with pytest.raises(HostAway) as refused:
        enter(folder, machines["basalt-2"], lives_s=-1.0)

    assert refused.value.phase == "auth"
    assert machines["basalt-2"].authorized_keys.read_bytes().count(b"subnet:") >= 1


def test_a_key_that_nobody_let_in_is_refused(folder, machines):
    """Without a line in the file there is no way in."""
    with pytest.raises(HostAway) as refused:
        Shell().open(
            announced(folder, machines["basalt-2"]), EpochKey.generate(), deadline=time.monotonic() + 10
        )

    assert refused.value.phase == "auth"


def test_one_user_only(folder, machines):
    """The key of one user lets nobody in as another."""
    key = EpochKey.generate()
    let_key_in(machines["basalt-2"], key)
    as_root = replace(announced(folder, machines["basalt-2"]), user="root")
    with pytest.raises(HostAway) as refused:
        Shell().open(as_root, key, deadline=time.monotonic() + 10)

    assert refused.value.phase == "auth"


def test_another_host_key_is_found_out(folder, machines):
    """The machine that answers with another host key than announced is refused before any login."""
    with pytest.raises(HostKeyMismatch):
        enter(folder, machines["cinder-2"])


def test_the_hanging_machine_never_answers(folder, machines):
    """It takes the session, and the deadline is all that ends the wait."""
    with enter(folder, machines["cinder-3"]) as session:
        start_runner(session, deadline=time.monotonic() + 5)
        with pytest.raises(HostAway) as silent:
            ask_facts(session, COMMANDS[:1], deadline=time.monotonic() + 0.3)

    assert silent.value.phase == "talk"


def test_a_prover_dies_with_its_connection(folder, machines):
    """When the validator is gone, so is what it started, and the card's memory is free again."""
    session = enter(folder, machines["basalt-2"])
    begin_proof(session)
    pids = _processes_of(machines["basalt-2"])
    assert pids
    session.close()

    assert wait_for(lambda: all(is_gone(pid) for pid in pids))


def test_stopping_the_server_ends_every_command(folder, made):
    """No process of a session outlives the server, even one that neither reads nor ends by itself."""
    with served({"basalt-2": made["basalt-2"]}) as machines:
        session = enter(folder, machines["basalt-2"])
        pid = runner_pid(session)
        os.kill(pid, signal.SIGSTOP)
        assert not is_gone(pid)

    assert is_gone(pid)
    session.close()


def test_a_kept_host_key_stays(folder, made):
    """Making a machine again changes nothing of it."""
    before = {p: p.read_bytes() for p in (folder / "machines").rglob("*") if p.is_file()}
    again = {i: make_machine(Disks(folder), cast(i), 0) for i in made}

    assert again == made
    kept = {p: p.read_bytes() for p in before}
    assert kept == before


def _processes_of(machine) -> list[int]:
    """Processes whose HOME is the machine's."""
    wanted, found = f"HOME={machine.home}\0".encode(), []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if wanted in (entry / "environ").read_bytes() + b"\0":
                    found.append(int(entry.name))
            except OSError:
                continue
    return found
