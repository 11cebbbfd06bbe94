"""The cards of a machine, asked three ways of nvidia-smi: XML, CSV and the plain list."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from storage.records import Card, Severity
from tasks.inspection.facts.fact import Fact
from tasks.inspection.facts.smi_xml import read_gpus
from tasks.inspection.facts.text import Unreadable, decimal, rows, shown, whole
from tasks.inspection.output import Command

MAX_LISTED = 64
"""More cards than any machine has; from 15 to here the policy refuses with its own reason."""

NO_DEVICES = 6
"""nvidia-smi's exit code (NVML_ERROR_NOT_FOUND) when the driver runs and finds no card."""

CSV_FIELDS = {
    "uuid": "uuid",
    "memory.total": "vram_mib",
    "driver_version": "driver",
    "clocks.max.graphics": "graphics_clock_mhz",
    "clocks.max.memory": "memory_clock_mhz",
    "power.limit": "power_limit_w",
    "power.default_limit": "power_default_w",
    "pcie.link.gen.max": "pcie_generation",
    "pcie.link.width.current": "pcie_width",
    "utilization.gpu": "utilisation_pct",
    "memory.used": "memory_used_mib",
    "mig.mode.current": "mig",
    "name": "model",
}
"""Field of `--query-gpu` -> ours. Clocks and the link's generation are the highest possible, since an idle card
clocks both down; the name comes last because it is the only field that could hold a comma."""

_NO_CARDS = re.compile(r"No devices (were )?found\.?")
_LISTED = re.compile(r"GPU [0-9]{1,4}: .{1,200}\(UUID: GPU-")


@dataclass(frozen=True, slots=True)
class Listing:
    """The cards in nvidia-smi's order, and the indices of those in MIG mode."""

    cards: tuple[Card, ...] = ()
    sliced: tuple[int, ...] = ()


def parse_xml(text: str) -> Listing | Unreadable:
    """`nvidia-smi -q -x` -> Listing(cards=(Card(index=0, uuid='GPU-5d5ba0d6-...', model='NVIDIA H200',
    vram_mib=143771, driver='570.133.20', graphics_clock_mhz=1980, memory_clock_mhz=3201, power_limit_w=700.0,
    power_default_w=700.0, pcie_generation=5, pcie_width=16, utilisation_pct=0, memory_used_mib=1), ...), sliced=()).
    """
    if says_none(text):
        return Listing()
    gpus = read_gpus(text, MAX_LISTED)
    if isinstance(gpus, Unreadable):
        return gpus
    return _listing([{key: _bare(value) for key, value in gpu.items()} for gpu in gpus])


def parse_csv(text: str) -> Listing | Unreadable:
    """`nvidia-smi --query-gpu=...` -> the same shape as `parse_xml`."""
    if says_none(text):
        return Listing()
    lines = rows(text, MAX_LISTED)
    if isinstance(lines, Unreadable):
        return lines
    names = list(CSV_FIELDS.values())
    split = [line.split(", ", len(names) - 1) for line in lines]
    short = next((line for line, values in zip(lines, split, strict=True) if len(values) < len(names)), None)
    if short is not None:
        return Unreadable(f"a row without its {len(names)} fields: {shown(short)!r}")
    return _listing([dict(zip(names, values, strict=True)) for values in split])


def parse_count(text: str) -> int | Unreadable:
    """`nvidia-smi -L` -> 8; the lines of MIG slices below a card count for nothing."""
    if says_none(text):
        return 0
    lines = rows(text, 8 * MAX_LISTED)
    if isinstance(lines, Unreadable):
        return lines
    strange = next((x for x in lines if not _LISTED.match(x) and not x.startswith("MIG ")), None)
    if strange is not None:
        return Unreadable(f"no line of a card: {shown(strange)!r}")
    return sum(1 for line in lines if _LISTED.match(line))


def says_none(text: str) -> bool:
    """Whether a driver that runs has found no card."""
    return _NO_CARDS.fullmatch(text.strip()[:64]) is not None


def _bare(value: str) -> str:
    """`24564 MiB` -> `24564`, `16x` -> `16`; a text without such a unit as it is."""
    return re.sub(r"(?<=[0-9])( (MiB|MHz|W|%)|x)$", "", value)


def _listing(gpus: list[dict[str, str]]) -> Listing | Unreadable:
    cards = []
    for index, gpu in enumerate(gpus):
        card = _card(index, gpu)
        if isinstance(card, Unreadable):
            return card
        cards.append(card)
    return Listing(tuple(cards), tuple(i for i, gpu in enumerate(gpus) if gpu.get("mig") == "Enabled"))


def _card(index: int, gpu: Mapping[str, str]) -> Card | Unreadable:
    """A card must say its model, UUID and memory; the driver may be empty here, a check refuses it."""
    vram_mib = whole(gpu.get("vram_mib"), 4 << 20)
    if not vram_mib:
        return Unreadable(
            f"card {index} has memory {shown(gpu.get('vram_mib', ''), 40)!r}, not a number of MiB"
        )
    model, uuid = shown(gpu.get("model", ""), 80), shown(gpu.get("uuid", ""), 64)
    if not model or not uuid:
        return Unreadable(f"card {index} has no model or no UUID")
    return Card(
        index=index,
        uuid=uuid,
        model=model,
        vram_mib=vram_mib,
        driver=_said(gpu.get("driver", "")),
        graphics_clock_mhz=whole(gpu.get("graphics_clock_mhz"), 100_000),
        memory_clock_mhz=whole(gpu.get("memory_clock_mhz"), 100_000),
        power_limit_w=decimal(gpu.get("power_limit_w"), 100_000),
        power_default_w=decimal(gpu.get("power_default_w"), 100_000),
        pcie_generation=whole(gpu.get("pcie_generation"), 99),
        pcie_width=whole(gpu.get("pcie_width"), 99),
        utilisation_pct=whole(gpu.get("utilisation_pct"), 100),
        memory_used_mib=whole(gpu.get("memory_used_mib"), 4 << 20),
    )


def _said(text: str) -> str:
    """The text, empty when it only says that there is none."""
    line = shown(text, 40)
    return "" if line.strip("[]") in {"N/A", "Not Supported", "Unknown Error", "ERR!"} else line


GPU_XML = Fact(
    Command("gpu_xml", "nvidia-smi -q -x", timeout_s=20, limit_bytes=2 << 20),
    parse_xml,
    Severity.FAIL,
    accepted_exit_codes=(0, NO_DEVICES),
)
GPU_CSV = Fact(
    Command(
        "gpu_csv",
        f"nvidia-smi --query-gpu={','.join(CSV_FIELDS)} --format=csv,noheader,nounits",
        timeout_s=20,
        limit_bytes=32 << 10,
    ),
    parse_csv,
    Severity.FAIL,
    accepted_exit_codes=(0, NO_DEVICES),
)
GPU_LIST = Fact(
    Command("gpu_list", "nvidia-smi -L", timeout_s=20, limit_bytes=64 << 10),
    parse_count,
    Severity.FAIL,
    accepted_exit_codes=(0, NO_DEVICES),
)
