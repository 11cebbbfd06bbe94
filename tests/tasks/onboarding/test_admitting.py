"""What is told before a machine is touched and a place is paid: that it can't be offered as it was named."""

from __future__ import annotations

from dataclasses import replace

import pytest

from storage.records import Card, HostFacts
from tasks.errors import StoreAway
from tasks.offering import fleet
from tasks.onboarding.admitting import not_ours, turn_away
from tasks.onboarding.login import looked_up
from tasks.onboarding.machine import parse_machine
from tasks.onboarding.needs import Found
from tasks.onboarding.preflight import Report
from tasks.onboarding.steps import ACCOUNTS, FILES, MachinePlan, PlannedStep, PlanState
from tests.tasks.onboarding.a_run import a_run
from tests.tasks.onboarding.test_leaving import entry

CARD = Card(0, "GPU-1", "NVIDIA L4", 23_034, "580", *[None] * 8)


class Computer:
    """A miner's, whose agent offers some machines."""

    def __init__(self, folder):
        self.folder = folder

    def offers(self, *entries):
        begin = f'folder = "{self.folder}/agent"\nssh_ca = "/ca"\n'
        for one in entries:
            fleet.change(self.folder / "miner.toml", fleet.add(one), begin=begin)

    def knows(self, host, name):
        work = a_run(self.folder, lambda _: None)
        work.records.know(parse_machine(host).label, name)
        work.close()

    def turns_away(self, *hosts, model="NVIDIA L4", **wishes):
        """Of these machines, and why."""
        machines = tuple(map(parse_machine, hosts))
        work = a_run(self.folder, lambda _: None, machines=machines, **{"is_local": True, **wishes})
        facts = HostFacts(cards=(replace(CARD, model=model),))
        turn_away(work, [Report(looked_up(machine), Found(facts), ()) for machine in machines])
        work.close()
        return {label: (failure.why, failure.mend) for label, failure in work.failed.items()}


@pytest.fixture
def computer(tmp_path):
    return Computer(tmp_path)


def test_a_machine_that_is_offered_keeps_its_name(computer):
    """By another one its validators would be shut out: it is told which one it has."""

    computer.offers(entry("rack1-a"))

    assert computer.turns_away("203.0.113.7") == {
        "203.0.113.7": (
            "the agent offers it as rack1-a, not 203-0-113-7",
            "subnet miner onboard root@203.0.113.7:22 --id rack1-a",
        )
    }
    assert computer.turns_away("203.0.113.7", executor_id="rack1-a") == {}


def test_a_name_is_one_machine_s(computer):
    """Whether the agent's file has it, the records have it, or another machine of the same command."""

    computer.offers(entry("rack1-a"))
    computer.knows("gpu9.example.com", "rack9")
    in_file = computer.turns_away("203.0.113.8", executor_id="rack1-a")
    in_records = computer.turns_away("203.0.113.8", executor_id="rack9")
    at_once = computer.turns_away("2001:db8::7", "2001:db8:7::")

    assert in_file["203.0.113.8"][0] == "rack1-a is at 203.0.113.7 port 22 in the agent's file"
    assert in_records["203.0.113.8"][0] == "rack9 is the name of gpu9.example.com"
    assert at_once == {
        "2001:db8:7::": (
            "2001-db8-7 is root@[2001:db8::7]:22",
            "subnet miner onboard root@[2001:db8:7::]:22 --id NAME",
        )
    }


def test_a_machine_is_named_once(computer):
    """By two names of one place the first goes on."""

    told = computer.turns_away("127.0.0.1", "localhost")

    assert told["localhost"][0] == "it is the same machine as root@127.0.0.1:22"


def test_a_price_that_nobody_knows_is_told_first(computer):
    """With it, or where the machine has one already, nothing is in the way."""

    assert computer.turns_away("203.0.113.8", model="NVIDIA Unheard") == {
        "203.0.113.8": (
            "our list of models has no price for this one",
            "subnet miner onboard root@203.0.113.8:22 --price USD-AN-HOUR",
        )
    }
    assert computer.turns_away("203.0.113.8", model="NVIDIA Unheard", price_usd_per_hour=1) == {}


def test_an_address_of_one_s_own_network_is_for_the_local_subnet(computer):
    """No validator connects to it elsewhere: nothing is paid for it."""

    (why, _), *_ = computer.turns_away("192.168.1.20", is_local=False).values()

    assert why.startswith("192.168.1.20 is no public address")
    assert computer.turns_away("8.8.8.8", is_local=False) == {}


def test_a_machine_that_somebody_has_brought_in_is_not_taken_over(computer, tmp_path):
    """Its users are there and its files say something else, of which nothing is known here; a name that is said takes it."""

    states = {ACCOUNTS: PlanState.DONE, FILES: PlanState.TO_DO}
    steps = tuple(PlannedStep(step, state) for step, state in states.items())
    plan = MachinePlan(parse_machine("203.0.113.7"), None, steps)
    work, told = a_run(tmp_path, lambda _: None), a_run(tmp_path, lambda _: None, executor_id="rack1")

    assert not_ours(work, plan).why == "it is brought in already, under another name or by another authority"
    assert not_ours(told, plan) is None
    work.records.know("203.0.113.7", "rack1")
    assert not_ours(work, plan) is None
    for one in (work, told):
        one.close()


def test_no_name_is_taken_from_another_machine(tmp_path):
    """Also of two commands at once."""

    work = a_run(tmp_path, lambda _: None)
    work.records.know("203.0.113.7", "rack1")
    with pytest.raises(StoreAway):
        work.records.know("203.0.113.8", "rack1")

    assert work.records.machine_of("rack1") == "203.0.113.7"
    work.close()
