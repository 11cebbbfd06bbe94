"""What a machine needs beside the validators' minimum: parsers that answer for every string, checks with one reason each."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.records import HostFacts, Severity
from tasks.inspection.facts.text import Unreadable
from tasks.inspection.output import FactOutput
from tasks.onboarding.machine import Machine
from tasks.onboarding.mends import COMMANDS, MODULES, OWN_PYTHON, command_for
from tasks.onboarding.needs import (
    CLOCK,
    ENVIRONMENT,
    MENDS,
    PRIVILEGE,
    TOOLKIT,
    Environment,
    Found,
    check_needs,
    parse_seen_from,
    read_needs,
)

GOOD = Found(
    HostFacts(container_runtime="docker 28.2.2", container_runtimes=("nvidia", "runc")),
    privilege="sudo",
    environment=Environment((3, 12, 3), ("numpy", "numba", "numba_cuda")),
    toolkit="1.17.8",
    clock_offset_s=0.1,
    clock_error_s=0.01,
    is_port_open=True,
)


@pytest.mark.parametrize(
    ("fact", "text", "value"),
    [
        (PRIVILEGE, "sudo\n", "sudo"),
        (ENVIRONMENT, '{"python": [3, 12, 3], "has": ["numpy"]}', Environment((3, 12, 3), ("numpy",))),
        (TOOLKIT, "NVIDIA Container Toolkit CLI version 1.17.8\ncommit: f202b80\n", "1.17.8"),
        (CLOCK, "1764200000.123456789\n", 1764200000.123456789),
    ],
)
def test_what_machines_print_is_read(fact, text, value):
    """The usual answers."""
    assert fact.parse(text) == value


@settings(max_examples=40)
@given(
    st.text(max_size=300)
    | st.sampled_from(['{"python": [3, true, 1], "has": []}', "[" * 3_000, "-1", "nan", "{}"])
)
def test_every_parser_answers_for_every_string(text):
    """With a value, or with why there is none."""
    for fact in (PRIVILEGE, ENVIRONMENT, TOOLKIT, CLOCK):
        value = fact.parse(text)
        assert isinstance(value, Unreadable | str | float | Environment)


def test_a_machine_that_has_all_of_it_passes():
    """No reason at all."""
    assert check_needs(GOOD) == ()


@pytest.mark.parametrize(
    ("change", "code", "severity"),
    [
        ({"privilege": "none"}, "PRIVILEGE_MISSING", Severity.FAIL),
        ({"privilege": None}, "PRIVILEGE_MISSING", Severity.FAIL),
        (
            {"environment": Environment((3, 9, 2), ("numpy", "numba", "numba_cuda"))},
            "PYTHON_TOO_OLD",
            Severity.FAIL,
        ),
        ({"environment": Environment((3, 12, 3), ("numpy", "numba"))}, "PROVER_MISSING", Severity.FAIL),
        ({"toolkit": None}, "NVIDIA_TOOLKIT_MISSING", Severity.WARN),
        (
            {"facts": HostFacts(container_runtime="docker 28.2.2", container_runtimes=("runc",))},
            "NVIDIA_RUNTIME_MISSING",
            Severity.WARN,
        ),
        ({"clock_offset_s": -2.5}, "CLOCK_OFF", Severity.WARN),
        ({"clock_offset_s": 45.0}, "CLOCK_OFF", Severity.FAIL),
        ({"clock_offset_s": None}, "CLOCK_OFF", Severity.WARN),
        ({"is_port_open": False}, "PORTS_CLOSED", Severity.WARN),
    ],
)
def test_what_is_missing_has_its_code_its_mend_and_its_command(change, code, severity):
    """One reason each, and nothing else is held against the machine."""
    (reason,) = check_needs(replace(GOOD, **change))

    assert (reason.code, reason.severity) == (code, severity)
    assert reason.mend == MENDS[code]
    assert command_for(reason, Machine("host", 22, "ubuntu"))


def test_a_clock_is_off_only_beyond_the_error_of_the_measurement():
    """A slow line is no wrong clock."""
    assert check_needs(replace(GOOD, clock_offset_s=3.0, clock_error_s=1.5)) == ()


def test_simulated_cards_need_no_cuda():
    """They are proved on the processor."""
    plain = Environment((3, 12, 3), ("numpy", "numba"))

    assert check_needs(replace(GOOD, environment=plain, needs_cards=False)) == ()


def test_podman_needs_no_runtime_of_its_own():
    """It takes cards by CDI."""
    facts = HostFacts(container_runtime="podman 4.9.3", container_runtimes=("crun",))

    assert check_needs(replace(GOOD, facts=facts)) == ()


def test_what_a_machine_does_not_answer_is_not_there():
    """A command that is not found, that is killed, or that prints nonsense passes nothing."""
    outputs = {
        "privilege": FactOutput("privilege", 0, b"\xff\xfe", b"", 0.1, truncated=False),
        "toolkit": FactOutput("toolkit", 127, b"", b"not found", 0.1, truncated=False),
    }
    found = read_needs(outputs, HostFacts())

    assert (found.privilege, found.environment, found.toolkit) == (None, None, None)
    codes = [reason.code for reason in check_needs(found)]
    assert codes == [
        "PRIVILEGE_MISSING",
        "PYTHON_TOO_OLD",
        "PROVER_MISSING",
        "NVIDIA_TOOLKIT_MISSING",
        "CLOCK_OFF",
    ]


def test_root_needs_no_sudo():
    """A command is to be copied as it stands."""
    lines = [
        line(Machine("host", 22, "root")) for code, line in COMMANDS.items() if code != "PRIVILEGE_MISSING"
    ]

    assert not any("sudo" in line for line in lines)


def test_a_distributions_own_python_is_left_alone():
    """It refuses packages from elsewhere: the prover gets an environment of its own, which is then announced."""
    (reason,) = check_needs(replace(GOOD, environment=Environment((3, 12, 3), ())))
    system = command_for(reason, Machine("host", 22, "ubuntu", "/usr/bin/python3"))
    own = command_for(reason, Machine("host", 22, "root", OWN_PYTHON))

    assert system.startswith(
        f"sudo /usr/bin/python3 -m venv /opt/subnet && sudo {OWN_PYTHON} -m pip install 'numba>="
    )
    assert system.endswith(f"--python {OWN_PYTHON}")
    assert own.startswith(f"{OWN_PYTHON} -m pip install 'numba>=")


def test_the_provers_modules_are_those_that_we_are_tested_with():
    """The versions stand in pyproject.toml."""
    text = (Path(__file__).parents[3] / "pyproject.toml").read_text()

    assert all(f'"{module}"' in text for module in MODULES)


def test_no_command_throws_away_what_may_be_a_renters():
    """A stopped lease's container and volumes are not in use, and are not for a miner to prune."""
    lines = [line(Machine("host", 22, "root")) for line in COMMANDS.values()]

    assert not any(word in line for line in lines for word in (" prune", " rm ", "kill"))


@pytest.mark.parametrize(
    ("printed", "seen"),
    [("203.0.113.5 40022 203.0.113.7 22", "203.0.113.5"), ("2001:db8::5 1 2001:db8::7 22\n", "2001:db8::5")],
)
def test_a_machine_tells_where_it_sees_us(printed, seen):
    """As its SSH server has it; anything that is no literal address is not told."""
    assert parse_seen_from(printed) == seen
    for nonsense in ("", "host.example 1 2 3", "fe80::1%eth0 1 2 3", "x" * 500):
        assert isinstance(parse_seen_from(nonsense), Unreadable)
