"""How renting looks in a terminal."""

import os
import pty
import subprocess
import sys
from datetime import UTC, datetime, timedelta

from deployments.renting.look import StepLines, lines_of, show_leases
from deployments.renting.wire import Lease

NOW = datetime(2026, 8, 1, 14, tzinfo=UTC)


def lease(**changes):
    """A lease as the market tells it."""
    document = {
        "lease_id": "lease-3f9a01c2d3e4f5a6",
        "state": "provisioning",
        "executor_key": "5F3sa2TJAWMqDhXG6jhV4N8ko9SxwGy8TpaNS1repo5EYjQX/rack1-a",
        "card_uuids": ["GPU-1", "GPU-2"],
        "micro_usd_per_hour": 1_440_000,
        "cost_micro_usd": 720_000,
        "pod": {"image": "ubuntu:24.04"},
        **changes,
    }
    return Lease.of(document)


def step(name, state, seconds=1.25):
    """A step as the market tells it."""
    return {"name": name, "state": state, "seconds": seconds}


def lines(*leases_, is_terminal=False):
    """What is written for a lease that is seen so."""
    written = []
    shown = StepLines(written.append, is_terminal=is_terminal)
    for one in leases_:
        shown.show(one)
    shown.close()
    return "".join(written)


def test_in_a_file_every_step_is_one_line():
    """When it has ended, once; what runs is not told."""

    told = lines(
        lease(steps=[step("prove", "running")]),
        lease(steps=[step("prove", "done"), step("pull", "running")]),
        lease(steps=[step("prove", "done"), step("pull", "done", 12.04)]),
    )

    assert told.splitlines() == [
        "5F3s..YjQX/rack1-a, 2 cards, 1.44 USD/h",
        "  prove           1.2 s",
        "  pull           12.0 s",
    ]


def test_on_a_terminal_the_running_step_is_rewritten():
    """And nothing of a longer line before it is left standing."""

    told = lines(
        lease(steps=[step("prove", "running", 0.5)]),
        lease(steps=[step("prove", "running", 1.0)]),
        lease(steps=[step("prove", "done")]),
        is_terminal=True,
    )

    assert told.count("\r") == 2
    assert told.endswith("  prove           1.2 s         \n")


def test_a_step_of_the_next_machine_is_told_again():
    """And which machine could not be made ready."""

    told = lines(
        lease(executor_key="5A/a", steps=[step("pull", "failed")]),
        lease(executor_key="5B/b", tried=["5A/a"], steps=[step("pull", "done")]),
    )

    assert told.count("pull") == 2
    assert "5A/a could not be made ready; the next one is tried" in told


def test_that_a_request_waits_is_told_when_it_still_does():
    """A moment without a worker is nothing to tell, two seconds are; and once."""

    waiting = lease(queued=True, detail="kept: it begins when there is a worker", executor_key="")

    assert lines(*[waiting] * 10) == ""
    assert lines(*[waiting] * 15) == "kept: it begins when there is a worker\n"


def test_what_the_market_says_moves_no_cursor():
    """Names of steps, reasons, machines: printable before they are shown."""

    odd = lease(
        steps=[step("\x1b[2J", "done")],
        executor_key="\x1b]0;x\x07",
        reason="\r\x1b[1A",
        state="\x9b2J",
        tried=["\x1b"],
    )

    assert not set("\x1b\x9b\x07\r") & set(lines(odd) + "\n".join(lines_of(odd, NOW)))


def test_the_nearest_of_a_leases_ends_is_told(capsys):
    """TTL from the hand-over, the absolute end, a notice: whichever is first."""

    active = (NOW - timedelta(hours=1)).isoformat()
    both = lease(
        state="active",
        active_at=active,
        terms={"ttl_s": 7200},
        ends_by=(NOW + timedelta(minutes=20)).isoformat(),
    )
    show_leases([both], NOW)
    told = " ".join(capsys.readouterr().out.split())

    assert "in 20m" in told
    assert "0.72" in told
    assert "1h" in told


def test_odd_answers_have_defaults():
    """Whatever stands in a field, the lease is one."""

    for value in (None, 7, -1, "x", [], {}, [7], {"a": 1}, float("inf"), True, "2026-99-99", 10**400):
        names = (
            "lease_id",
            "state",
            "queued",
            "pod",
            "card_uuids",
            "access",
            "terms",
            "active_at",
            "ends_by",
            "steps",
            "tried",
            "micro_usd_per_hour",
            "cost_micro_usd",
        )
        odd = Lease.of(dict.fromkeys(names, value))
        lines_of(odd, NOW)
        lines(odd)
        show_leases([odd], NOW)


def test_colours_are_for_terminals():
    """The same table has them on a terminal, and none in a pipe."""

    code = (
        "from deployments.renting.look import show_table\n"
        "show_table(('lease', 'state'), [('3f9a', 'active')], '')"
    )
    piped = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    reader, writer = pty.openpty()
    environment = {k: v for k, v in os.environ.items() if k != "NO_COLOR"} | {"TERM": "xterm"}
    with subprocess.Popen([sys.executable, "-c", code], stdout=writer, env=environment) as process:
        process.wait(60)
    os.close(writer)
    shown = os.read(reader, 65_536)
    os.close(reader)

    assert b"\x1b" not in piped
    assert b"\x1b[32mactive" in shown
