"""How the agent is run: a machine more changes nothing of it that was not said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tasks.errors import OnboardingFailed, SettingError
from tasks.onboarding.machine import parse_machine
from tasks.onboarding.serving import decided
from tasks.onboarding.wishes import WalletNames, Wishes

WISHES = Wishes(
    (parse_machine("203.0.113.8"),), Path("/etc/subnet/miner.toml"), WalletNames(Path("/w"), "miner", "rack1")
)


def running(**changes):
    """The words of an agent that was started with these wishes."""
    wishes = replace(WISHES, **changes)
    return ("/bin/subnet", *decided(wishes, None, ["8.8.8.8"]).words(wishes))


def test_it_begins_where_the_machines_see_this_computer():
    """At the usual port, or the one that was said."""

    assert decided(WISHES, None, ["8.8.8.8", None]).endpoint == "8.8.8.8:8091"
    assert decided(replace(WISHES, port=9000), None, ["2600::1"]).endpoint == "[2600::1]:9000"


def test_one_that_runs_goes_on_as_it_runs():
    """Whatever a new machine says it sees: neither its address nor its ports change."""

    words = running(announce=("9.9.9.9", 9000), port=9001, host="10.0.0.1")
    serving = decided(WISHES, words, ["192.168.1.5"])

    assert serving.words(WISHES) == words[1:]
    assert serving.differing(WISHES, words) == ""


def test_what_is_said_is_changed_and_told():
    """Before it is done: the plan has the old value and the new one."""

    wishes = replace(WISHES, port=9000)
    serving = decided(wishes, running(), ["8.8.4.4"])

    assert serving.endpoint == "8.8.8.8:9000"
    assert (
        serving.differing(wishes, running()) == "--port 8091 -> 9000, --announce 8.8.8.8:8091 -> 8.8.8.8:9000"
    )


def test_another_hotkey_takes_no_machines_over():
    """The command that goes on by the agent's own wallet is told."""

    wishes = replace(WISHES, wallet=WalletNames(Path("/w"), "miner", "default"))
    with pytest.raises(OnboardingFailed, match="another miner's") as refused:
        decided(wishes, running(), ["8.8.8.8"])

    assert refused.value.mend.startswith(
        "subnet miner onboard root@203.0.113.8:22 --wallet-path /w --wallet miner --hotkey rack1"
    )


@pytest.mark.parametrize("seen", [[], [None], ["8.8.8.8", "8.8.4.4"], ["192.168.1.5"]])
def test_what_validators_would_not_reach_is_no_endpoint(seen):
    """Unknown, told in two ways, or of a network of one's own: it has to be said."""

    with pytest.raises(SettingError, match="ADDRESS:PORT"):
        decided(WISHES, None, seen)


def test_the_local_subnet_is_of_one_s_own():
    """There nobody has a public address."""

    assert decided(replace(WISHES, is_local=True), None, ["10.1.2.3"]).endpoint == "10.1.2.3:8091"
