"""How an epoch looks in a terminal, and to programs."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from io import StringIO

from rich.console import Console

from deployments.view import PhaseLines, as_json, show_epoch, warnings_shared_by_all, weight_table
from storage.records import (
    Bandwidth,
    Card,
    CardProof,
    EpochOutcome,
    EpochState,
    Executor,
    HostFacts,
    HostReport,
    Phase,
    Reason,
    Score,
    Severity,
    Verdict,
    WeightTarget,
)

NOW = datetime(2026, 11, 22, 12, 0, 10, tzinfo=UTC)
HOTKEY = "5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty"
LOWERED = Reason(
    "HOST_MINIMUM_LOWERED", Severity.WARN, "1 GiB RAM", "16 GiB", "Nothing: this is a local subnet."
)
HOSTILE = Reason("HOST_BAD_ANSWER", Severity.FAIL, "\x1b[31m[bold]red", "plain", "Mend it.")


def executor(name: str) -> Executor:
    return Executor(name, HOTKEY, 4, 1, "127.0.1.1", 22, "subnet", "/usr/bin/python3", b"", 1.5)


def card(uuid: str) -> Card:
    return Card(0, uuid, "NVIDIA L4", 23_034, "580.65", None, None, None, None, None, None, None, None)


def outcome() -> EpochOutcome:
    good, bad = executor("good"), executor("bad")
    proof = CardProof(
        "GPU-1",
        0,
        passed=True,
        code="PROVED",
        detail="",
        memory_bytes=2 << 30,
        walk_s=1.0,
        multiply_s=0.5,
        bandwidth_gb_s=300.5,
        operations_tera_s=12.25,
    )
    return EpochOutcome(
        31, 51, 1_550, "0xab", HOTKEY, "localnet", "00ff", "0.1.0", NOW, NOW, EpochState.FINISHED,
        executors=(good, bad),
        reports=(
            HostReport(good.key, HostFacts(cards=(card("GPU-1"),)), (), Bandwidth(900.4, 800.6, 1), (LOWERED,), 0, 1),
            HostReport(bad.key, HostFacts(cards=(card("GPU-2"),)), (), None, (LOWERED, HOSTILE), 0, 1),
        ),
        verdicts=(Verdict(good.key, "PROVED", None, (proof,), (), b"", 100),),
        scores=(
            Score(good.key, HOTKEY, 4, "L4", 1, 0, 0.11, 1, 1, 1, 1, 1, 0.11, (LOWERED,)),
            Score(bad.key, HOTKEY, 4, "L4", 1, 0, 0.11, 1, 1, 1, 1, 0, 0.0, (LOWERED, HOSTILE)),
        ),
    )  # fmt: skip


def shown(*things) -> str:
    console = Console(file=StringIO(), width=200, force_terminal=False)
    for thing in things:
        console.print(thing)
    return console.file.getvalue()


def test_a_row_tells_what_was_proved():
    """Model x count, memory, operations, bandwidth, the verdict and the score stand in the machine's row."""

    console = Console(file=StringIO(), width=200, force_terminal=False)
    show_epoch(console, outcome())

    row = next(line for line in console.file.getvalue().splitlines() if " good " in line)
    assert re.split(r"\s{2,}", row.strip()) == [
        "4", "good", "L4 x 1", "22 GiB", "2 GiB", "1.22e+04", "300", "801", "PROVED", "0.1100",
    ]  # fmt: skip


def test_a_zero_that_scoring_gave_has_its_reason():
    """A machine that passed everything and is not paid is told why, and a share of the emission keeps its digits."""
    told = Reason("NOT_IN_IDLE_PROGRAMME", Severity.FAIL, "1 x L4", "a listed model", "Lease it out.")
    whole = outcome()
    paid, unpaid = replace(whole.scores[0], score=0.00054), replace(whole.scores[1], reasons=(told,))

    console = Console(file=StringIO(), width=200, force_terminal=False)
    show_epoch(console, replace(whole, scores=(paid, unpaid)))

    page = console.file.getvalue()
    assert "bad NOT_IN_IDLE_PROGRAMME" in page
    assert "5.400e-04" in page


def test_a_warning_of_all_machines_stands_once():
    """What every machine is warned of is not repeated row by row."""

    assert warnings_shared_by_all(outcome().reports) == [LOWERED]


def test_foreign_text_cannot_steer_the_terminal():
    """Escape sequences and markup that a machine sends are shown as text."""

    console = Console(file=StringIO(), width=200, force_terminal=True, color_system=None)
    show_epoch(console, outcome())

    assert "\x1b[31m" not in console.file.getvalue()
    assert "[bold]red" in console.file.getvalue()


def test_a_vector_is_shown_before_and_after():
    """A uid that only one of the vectors has shows a dash in the others."""

    text = shown(weight_table((), (WeightTarget(4, HOTKEY, 0.8),), (WeightTarget(4, HOTKEY, 0.8),), None))

    row = next(line for line in text.splitlines() if "5FHneW" in line)
    assert row.split() == ["4", "5FHneW..94ty", "-", "0.8000", "0.8000", "-"]


def test_the_json_is_plain_and_whole():
    """A program finds every machine with its verdict, score and reasons."""

    told = json.loads(json.dumps(as_json(outcome(), {"prefect": "http://x"}), default=str))

    assert [(e["executor"], e["verdict"], e["score"]) for e in told["executors"]] == [
        ("good", "PROVED", 0.11),
        ("bad", "HOST_BAD_ANSWER", 0.0),
    ]
    assert told["prefect"] == "http://x"


def test_phases_are_lines_that_end_once():
    """Where there is no terminal, a phase is printed when it ends, and only then."""

    console = Console(file=StringIO(), force_terminal=False)
    lines = PhaseLines(console)
    begun = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)

    lines.show([Phase(31, "discovery", 1, 4, "", begun, None)], NOW)
    lines.show([Phase(31, "discovery", 4, 4, "10 machines", begun, NOW)], NOW)
    lines.show([Phase(31, "discovery", 4, 4, "10 machines", begun, NOW)], NOW)

    assert console.file.getvalue() == "  discovery        4/4    10.0 s  10 machines\n"
