"""What the cards of a machine do now: the least that nvidia-smi is asked for again and again."""

from __future__ import annotations

from collections.abc import Mapping

from storage.records import Severity
from storage.rental import CardUse
from tasks.inspection.facts.fact import Fact
from tasks.inspection.facts.gpu import MAX_LISTED, NO_DEVICES, says_none
from tasks.inspection.facts.text import Unreadable, decimal, rows, shown, whole
from tasks.inspection.output import Command

FIELDS = (
    "uuid",
    "utilization.gpu",
    "memory.used",
    "memory.total",
    "temperature.gpu",
    "power.draw",
    "power.limit",
)
_MOST_MIB, _MOST_C, _MOST_W = 4 << 20, 300, 100_000


def parse_use(text: str) -> Mapping[str, CardUse] | Unreadable:
    """`nvidia-smi --query-gpu=...` -> {'GPU-5d5ba0d6-...': CardUse(uuid='GPU-5d5ba0d6-...', percent=97.0, memory_mib=61440,
    memory_total_mib=143771, temperature_c=64, power_w=512.7, power_limit_w=700.0), ...}.

    A card that does not say how busy it is is missing: nobody knows that it is idle.
    """
    if says_none(text):
        return {}
    lines = rows(text, MAX_LISTED)
    if isinstance(lines, Unreadable):
        return lines
    split = [line.split(", ") for line in lines]
    strange = next((line for line, told in zip(lines, split, strict=True) if len(told) != len(FIELDS)), None)
    if strange is not None:
        return Unreadable(f"a row without its {len(FIELDS)} fields: {shown(strange)!r}")
    uses = [_use(told) for told in split]
    return {use.uuid: use for use in uses if use is not None}


def _use(told: list[str]) -> CardUse | None:
    uuid, percent, used, total, temperature, power, limit = told
    busy, name = whole(percent, 100), shown(uuid, 64)
    if busy is None or not name:
        return None
    return CardUse(
        uuid=name,
        percent=float(busy),
        memory_mib=whole(used, _MOST_MIB) or 0,
        memory_total_mib=whole(total, _MOST_MIB),
        temperature_c=whole(temperature, _MOST_C),
        power_w=decimal(power, _MOST_W),
        power_limit_w=decimal(limit, _MOST_W),
    )


GPU_USE = Fact(
    Command(
        "gpu_use",
        f"nvidia-smi --query-gpu={','.join(FIELDS)} --format=csv,noheader,nounits",
        timeout_s=5,
        limit_bytes=16 << 10,
    ),
    parse_use,
    Severity.WARN,
    accepted_exit_codes=(0, NO_DEVICES),
)
