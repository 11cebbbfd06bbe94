"""Keys, authority and names on the miner's computer, also where two commands begin at once."""

from __future__ import annotations

import asyncio

from storage.records import HostFacts
from tasks.edges.wallets import ensure_coldkey
from tasks.onboarding.confinement.certificates import Authority
from tasks.onboarding.deciding import Plan
from tasks.onboarding.needs import Found
from tasks.onboarding.preflight import Report
from tasks.onboarding.preparing import prepare
from tasks.onboarding.steps import MachinePlan
from tests.tasks.onboarding.a_run import MACHINE, a_run


class PlanningHand:
    """Plans that a machine trusts what it is told to."""

    def plan(self, machine, wanted, _report):
        return MachinePlan(machine, wanted, ())


def begun(folder):
    """A first run that has planned, and waits for its human."""
    work = a_run(folder, lambda _: None)
    work.hand = PlanningHand()
    report = Report(MACHINE, Found(HostFacts()), ())
    plan = MachinePlan(MACHINE, None, ())
    work.plan = Plan((report,), (plan,))
    return work


def test_of_two_first_runs_both_have_the_same_authority(tmp_path):
    """The second one's machine trusts the key that lies there, not the one that it had thought of."""

    ensure_coldkey(tmp_path, "miner", "")
    runs = [begun(tmp_path), begun(tmp_path)]
    for work in runs:
        asyncio.run(prepare(work))
        assert work.failed == {}
        work.close()

    lies_there = Authority.load(tmp_path / "ca").public
    assert [work.authority.public for work in runs] == [lies_there, lies_there]
    assert runs[1].plan.machines[0].wanted.authority_line == lies_there


def test_an_authority_that_was_killed_amid_is_made(tmp_path):
    """What the killed one has left is no second name of a key."""

    ensure_coldkey(tmp_path, "miner", "")
    (tmp_path / ".ca.new").write_text("half")
    (tmp_path / "ca.pub").write_text("of the killed one")
    work = begun(tmp_path)
    asyncio.run(prepare(work))
    work.close()

    assert (tmp_path / "ca.pub").read_text() == f"{work.authority.public} ca\n"
    assert not (tmp_path / ".ca.new").exists()
