"""A bare machine that is brought in under one name, looked at again under another: real OpenSSH, a user with sudo."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tasks.edges.shell import Shell
from tasks.onboarding.admitting import not_ours
from tasks.onboarding.leaving import leave, plan_leave
from tests.deployments.miner.bare_machine import PROVER, bare_machine, line, why_not
from tests.engines import skip_or_fail
from tests.tasks.onboarding.a_run import a_run
from tests.tasks.onboarding.test_hand import WANTED, report_of

pytestmark = pytest.mark.xdist_group("bare")
RENTED = '#!/bin/sh\n[ "$(id -u)" = 0 ] && [ "$1" = ps ] && echo 0123456789ab\n'


def test_another_name_takes_no_machine_over_and_renters_are_seen(tmp_path):
    """Neither another name nor another authority; whoever logs in is no root, and the engine tells root alone."""

    if missing := why_not():
        skip_or_fail(f"a bare machine needs {missing}")
    with bare_machine(tmp_path / "machine", user="miner") as machine:
        work = a_run(tmp_path, lambda _: None, machines=(machine.named,))
        work.shell, work.pins, work.key, work.hand = Shell(), machine.pins, machine.key, machine.hand
        report, wanted = report_of(machine), replace(WANTED, python=PROVER, has_engine=False)
        first = machine.hand.plan(machine.named, wanted, report)
        machine.hand.carry_out(first, lambda _: None)
        others = (
            replace(wanted, executor_id="gpu-1"),
            replace(wanted, authority_line=line(Ed25519PrivateKey.generate())),
        )
        refused = [not_ours(work, machine.hand.plan(machine.named, other, report)) for other in others]
        own = [not_ours(work, plan) for plan in (first, machine.hand.plan(machine.named, wanted, report))]
        machine.run("tee", "/usr/bin/docker", stdin=RENTED)
        machine.run("chmod", "755", "/usr/bin/docker")
        asyncio.run(plan_leave(work))
        asyncio.run(leave(work, is_forced=False))
        work.close()

    assert own == [None, None]
    assert [failure.step for failure in refused] == ["files", "files"]
    assert work.failed[machine.named.label].why == "1 container of renters on it"
