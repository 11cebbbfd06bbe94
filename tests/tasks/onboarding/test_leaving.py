"""Whether renters are on a machine, as its engines tell: what can't be told is no `nobody`."""

from __future__ import annotations

import asyncio
import base64
import shutil
import subprocess

import pytest

from tasks.edges.shell import HOST_KEY_PREFIX
from tasks.errors import BadAnswer, HostAway
from tasks.inspection.output import FactOutput
from tasks.offering import fleet
from tasks.onboarding.leaving import REMOVED, RENTED, leave, plan_leave, rented_by
from tasks.onboarding.machine import parse_machine
from tasks.onboarding.steps import Left
from tests.tasks.onboarding.a_run import a_run

KEY, OTHER = HOST_KEY_PREFIX + bytes(range(32)), HOST_KEY_PREFIX + bytes(32)


def told(folder, command=RENTED, **engines):
    """What a command prints on a machine that has these engines and nothing else."""
    for name, script in engines.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    for name in {"id", "sh", "echo"} - set(engines):
        (folder / name).symlink_to(shutil.which(name))
    done = subprocess.run(
        ["/bin/sh", "-c", command.command], env={"PATH": str(folder)}, capture_output=True, check=False
    )
    return FactOutput("rented", done.returncode, done.stdout, done.stderr, 0.1, truncated=False)


def test_containers_of_all_engines_are_counted(tmp_path):
    """Only what has our label is asked for, whether it runs or not; what is no id is none."""

    output = told(
        tmp_path,
        docker='[ "$*" = "ps --all --quiet --filter label=org.compute-subnet.lease" ] && printf "0123456789ab\\nfedcba987654\\n"',
        podman="echo WARN something",
    )

    assert rented_by(output) == 2


def test_engines_are_asked_as_root(tmp_path):
    """Whoever logs in by sudo may be in no group of theirs, and would see no container."""

    output = told(
        tmp_path,
        id="echo 1000",
        sudo='[ "$1" = -n ] && [ "$2" = docker ] && echo 0123456789ab',
        docker="exit 1",
    )

    assert rented_by(output) == 1


def test_a_machine_without_an_engine_has_no_renter(tmp_path):
    """There is nobody to ask."""

    assert rented_by(told(tmp_path)) == 0


def test_an_engine_that_does_not_answer_may_have_renters(tmp_path):
    """A daemon that is down, or a user who may not ask it: the machine stays, and why is told."""

    output = told(tmp_path, docker="echo 'permission denied' >&2; exit 1", podman=":")

    with pytest.raises(BadAnswer, match="does not answer: permission denied"):
        rented_by(output)


def test_whatever_of_renters_is_there_is_removed(tmp_path):
    """By force, with the volumes: but only what carries our labels."""

    log = tmp_path / "log"
    told(
        tmp_path,
        REMOVED,
        docker=f'echo "$*" >>{log}; case "$*" in "ps "*) echo c1; echo c2;; "volume ls "*) echo v1;; esac',
        podman=":",
    )

    assert log.read_text().splitlines() == [
        "ps --all --quiet --filter label=org.compute-subnet.lease",
        "rm --force --volumes c1 c2",
        "volume ls --quiet --filter label=org.compute-subnet.volume",
        "volume rm --force v1",
    ]


class NoShell:
    """Nobody answers: whether renters are on a machine can't be told."""

    def open(self, *_, **__):
        raise HostAway("connect", "no answer")


class Hand:
    """Undoes machines, and leaves on them what it is told to."""

    def __init__(self, *left):
        self.left, self.undone = left, []

    def undo(self, machine, _on_step):
        self.undone.append(machine.label)
        return self.left


def entry(name, address="203.0.113.7", key=KEY):
    return {
        "id": name, "address": address, "port": 22, "user": "subnet", "python": "/usr/bin/python3",
        "host_key": f"ssh-ed25519 {base64.b64encode(key).decode()}", "price_usd_per_hour": 1.0,
    }  # fmt: skip


class Computer:
    """A miner's computer whose agent offers some machines, and `offboard HOST` there."""

    def __init__(self, folder, *entries):
        self.folder, self.file, self.hand = folder, folder / "miner.toml", Hand()
        for one in entries:
            fleet.change(self.file, fleet.add(one), begin=f'folder = "{folder}/agent"\nssh_ca = "/ca"\n')

    def leave(self, host, key=KEY, *, is_forced=False, knows=""):
        machine = parse_machine(host)
        self.work = work = a_run(self.folder, lambda _: None, machines=(machine,))
        work.shell, work.hand = NoShell(), self.hand
        work.pins.pin(machine, key)
        if knows:
            work.records.know(machine.label, knows)
        asyncio.run(plan_leave(work))
        asyncio.run(leave(work, is_forced=is_forced))
        work.close()
        return work.failed.get(machine.label)

    def table(self, name):
        return fleet.machine(self.file.read_text(), name)


def test_by_whatever_name_a_machine_is_paused_and_looked_at(tmp_path):
    """Its place is in the agent's file: it is that machine, and stays while renters may be on it."""

    here = Computer(tmp_path, entry("gpu1-example-com"))
    failure = here.leave("203.0.113.7")

    assert (failure.step, here.hand.undone) == ("withdraw", [])
    assert "whether renters are on it can't be told" in failure.why
    assert "paused_from" in here.table("gpu1-example-com")
    assert here.work.plan.here[0].detail == "203.0.113.7 is gpu1-example-com"


def test_one_that_no_file_here_offers_is_looked_at_as_well(tmp_path):
    """Another computer's agent may offer it."""

    here = Computer(tmp_path)

    assert here.leave("203.0.113.7").step == "withdraw"
    assert here.hand.undone == []


def test_a_name_that_is_another_machine_s_withdraws_nothing(tmp_path):
    """The records say rack1, the file has rack1 elsewhere, with another host key: it is left alone."""

    here = Computer(tmp_path, entry("rack1"), entry("rack2", "203.0.113.9"))
    here.leave("203.0.113.8", OTHER, is_forced=True, knows="rack1")

    assert here.hand.undone == ["203.0.113.8"]
    assert "paused_from" not in here.table("rack1")


def test_a_host_key_at_another_place_is_not_guessed_at(tmp_path):
    """It may be the machine by another address, or a copy of its disk: the name to use is told."""

    here = Computer(tmp_path, entry("rack1"))
    failure = here.leave("203.0.113.8")

    assert "its host key is that of rack1, which is at 203.0.113.7:22" in failure.why
    assert failure.mend == "subnet miner offboard root@203.0.113.7:22"
    assert here.hand.undone == []


def test_what_is_left_is_told_and_the_command_has_not_ended_well(tmp_path):
    """What an owner changed stays, leases that can't be ended too: the records are kept, and once more may do it."""

    here = Computer(tmp_path, entry("rack1"))
    here.hand = Hand(Left("/etc/docker/daemon.json", "it was changed since"))
    failure = here.leave("203.0.113.7", is_forced=True, knows="rack1")
    left = here.work.left["203.0.113.7"]

    assert (failure.step, failure.why) == (
        "undo",
        "left there: /etc/docker/daemon.json: it was changed since",
    )
    assert [one.what for one in left] == [
        "renters' containers", "an agent that you run yourself", "/etc/docker/daemon.json",
    ]  # fmt: skip
    assert here.work.records.executor_id("203.0.113.7") == "rack1"


def test_an_agent_s_file_is_put_aside_and_none_is_lost(tmp_path):
    """One that was put aside before stays as it is; who runs the agent by a unit is told to end it."""

    (tmp_path / "miner.toml.old").write_text("of last year")
    here = Computer(tmp_path, entry("rack1"))
    failure = here.leave("203.0.113.7", is_forced=True)

    assert failure is None
    assert (tmp_path / "miner.toml.old").read_text() == "of last year"
    assert "rack1" in (tmp_path / "miner.toml.old.1").read_text()
    assert "systemctl disable --now subnet-miner" in here.work.left["203.0.113.7"][1].why
