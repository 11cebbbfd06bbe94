"""What of a look at a machine is in the way of bringing it in, and what bringing it in mends."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from storage.records import Card, HostFacts, Reason, Severity
from tasks.errors import SettingError
from tasks.onboarding.deciding import MENDED_HERE, in_the_way, own_price, stopped
from tasks.onboarding.machine import parse_machine
from tasks.onboarding.needs import Found
from tasks.onboarding.preflight import Report
from tasks.onboarding.wishes import Nobody, WalletNames, Wishes

MACHINE = parse_machine("root@203.0.113.7:2222")
WISHES = Wishes((MACHINE,), Path("/etc/subnet/miner.toml"), WalletNames(Path("/w"), "miner", "rack1"))


def reason(code: str, severity: Severity = Severity.FAIL) -> Reason:
    return Reason(code, severity, "this", "that", "Do it.")


def report(*reasons: Reason) -> Report:
    return Report(MACHINE, Found(HostFacts()), reasons)


def test_what_is_installed_and_the_line_to_here_are_in_nobodys_way():
    """Python's modules, the container engine and NVIDIA's toolkit are put in place; the line counts between validators and it."""

    mended = [reason(code) for code in (*MENDED_HERE, "NETWORK_SPEED_TOO_SLOW")]

    assert in_the_way(mended) == ()
    assert in_the_way([reason("OS_NOT_RECOMMENDED", Severity.WARN)]) == ()
    assert stopped(report(*mended)) is None


def test_what_stops_a_machine_comes_with_the_command_that_mends_it():
    """What is failed comes before what could not be found out; where no command mends it, the reason's own sentence does."""

    failure = stopped(report(reason("PORTS", Severity.NO_VERDICT), reason("DRIVER_MISSING")))
    worded = stopped(report(reason("RAM_BELOW_MINIMUM")))

    assert (failure.step, failure.machine) == ("look", "[203.0.113.7]:2222")
    assert failure.why == "DRIVER_MISSING: got this; wanted that (and PORTS)"
    assert failure.mend == "apt-get install -y nvidia-driver-580"
    assert worded.mend == "Do it."


def test_a_machine_that_has_its_verdict_may_be_in_use():
    """A renter's work is no reason to stop at it; a bare machine's cards have to be free."""

    used = report(reason("GPU_USAGE_HIGH"), reason("GPU_FOREIGN_PROCESS"))

    assert stopped(used, has_verdict=True) is None
    assert stopped(used) is not None
    assert stopped(report(reason("GPU_COUNT_ZERO")), has_verdict=True) is not None


def test_the_first_price_is_that_of_our_list():
    """All cards together; a model that it does not have has none."""

    card = Card(0, "GPU-1", "NVIDIA L4", 23_034, "580", *[None] * 8)

    assert own_price(HostFacts(cards=(card, card))) == pytest.approx(0.22)
    assert own_price(HostFacts(cards=(replace(card, model="NVIDIA Unheard"),))) is None
    assert own_price(HostFacts()) is None


def test_machines_are_named_once_and_an_id_is_for_one():
    """Anything else is the user's mistake, before anything is asked of a machine."""

    other = parse_machine("203.0.113.8")
    for machines, name in (((), ""), ((MACHINE, MACHINE), ""), ((MACHINE, other), "rack1-a")):
        with pytest.raises(SettingError):
            replace(WISHES, machines=machines, executor_id=name)
    assert replace(WISHES, executor_id="rack1-a").id_of(MACHINE) == "rack1-a"
    assert WISHES.id_of(MACHINE) == "203-0-113-7-2222"
    assert WISHES.new_folder == Path("/var/lib/subnet-miner")
    assert replace(WISHES, agent_file=Path("/x/miner.toml")).new_folder == Path("/x/agent")


def test_nobody_agrees_to_what_was_not_said():
    """A run that nobody watches pins no new key, pays nothing without a ceiling, and opens no encrypted coldkey."""

    assert (Nobody().knows(MACHINE, "SHA256:x"), Nobody(accepts_new=True).knows(MACHINE, "SHA256:x")) == (
        False,
        True,
    )
    assert Nobody(password="secret").coldkey_password() == "secret"
    for ask in (lambda: Nobody().ceiling_rao(1), Nobody().coldkey_password):
        with pytest.raises(SettingError):
            ask()
