"""What an inspection makes of outputs, and what must hold of it, whatever was printed."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict

from storage.records import Bandwidth, ExecutorRecord, HostFacts, Reason
from tasks.inspection.checks import check_host
from tasks.inspection.facts import FactOutput, read_facts
from tasks.policy import InspectionPolicy

_CODE = re.compile(r"[A-Z_]{1,40}")


def inspected(outputs: Mapping[str, FactOutput]) -> tuple[HostFacts, tuple[Reason, ...]]:
    """All that inspection makes of what a machine printed."""
    facts, unreadable = read_facts(outputs)
    bandwidth = Bandwidth(500.0, 500.0, samples=1)
    return facts, unreadable + check_host(facts, ExecutorRecord("5M/x"), bandwidth, InspectionPolicy())


def assert_harmless(facts: HostFacts, reasons: Iterable[Reason]) -> None:
    """Whatever came of it can be kept, shown and counted with: short printable texts, finite bounded numbers."""
    _assert_plain(asdict(facts))
    assert len(facts.cards) <= 64
    assert len(facts.processes) <= 256
    assert len(facts.network_interfaces) <= 64
    assert all(card.uuid and card.model and card.vram_mib > 0 for card in facts.cards)
    for reason in reasons:
        assert _CODE.fullmatch(reason.code)
        assert all(t.isprintable() and len(t) < 600 for t in (reason.got, reason.wanted, reason.mend))


def _assert_plain(value: object) -> None:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            _assert_plain(item)
    elif isinstance(value, str):
        assert value.isascii()
        assert value.isprintable()
        assert len(value) <= 120
    elif isinstance(value, int | float):
        assert math.isfinite(value)
        assert 0 <= value < 1 << 62
    else:
        assert value is None
