"""All outputs of one machine -> its facts, and a reason for whatever could not be read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from storage.records import Card, HostFacts, Reason, Severity
from tasks.inspection.facts.containers import DOCKER, PODMAN, Engine
from tasks.inspection.facts.fact import NOT_FOUND, Fact
from tasks.inspection.facts.gpu import GPU_CSV, GPU_LIST, GPU_XML, Listing
from tasks.inspection.facts.host import CPU, KERNEL, MEMORY, OS_RELEASE, UPTIME
from tasks.inspection.facts.network import INTERFACES
from tasks.inspection.facts.processes import GPU_PROCESSES
from tasks.inspection.facts.storage import DISK
from tasks.inspection.facts.text import Unreadable
from tasks.inspection.output import Command, FactOutput

Shape = TypeVar("Shape")

FACTS: tuple[Fact[object], ...] = (
    GPU_XML,
    GPU_CSV,
    GPU_LIST,
    GPU_PROCESSES,
    CPU,
    MEMORY,
    DISK,
    OS_RELEASE,
    KERNEL,
    UPTIME,
    DOCKER,
    PODMAN,
    INTERFACES,
)

COMMANDS: tuple[Command, ...] = tuple(fact.command for fact in FACTS)
"""Everything that one inspection runs, in one round trip."""

NVML_NOT_LOADED = 9
NVML_MISMATCH = 18


def read_facts(outputs: Mapping[str, FactOutput]) -> tuple[HostFacts, tuple[Reason, ...]]:
    """Facts and the reasons of what could not be read; never raises, whatever the machine printed."""
    answers = _Answers(outputs)
    listing = _cards(answers)
    cpu = answers.get(CPU)
    os_release = answers.get(OS_RELEASE)
    engine = _engine(answers)
    facts = HostFacts(
        cards=listing.cards,
        gpu_count=answers.get(GPU_LIST),
        processes=answers.get(GPU_PROCESSES) or (),
        cpu_model=cpu.model if cpu else None,
        cpu_count=cpu.count if cpu else None,
        ram_bytes=answers.get(MEMORY),
        disk_free_bytes=answers.get(DISK),
        os_id=os_release.id if os_release else None,
        os_version=os_release.version if os_release else None,
        kernel=answers.get(KERNEL),
        container_runtime=f"{engine.name} {engine.version}" if engine else None,
        container_runtimes=engine.runtimes if engine else (),
        uptime_s=answers.get(UPTIME),
        network_interfaces=answers.get(INTERFACES) or (),
    )
    return facts, tuple(answers.reasons)


class _Answers:
    """The outputs of one machine, and the reasons gathered while they are read."""

    def __init__(self, outputs: Mapping[str, FactOutput]) -> None:
        self._outputs = outputs
        self.reasons: list[Reason] = []

    def get(self, fact: Fact[Shape]) -> Shape | None:
        """The value; None, and a reason, when it can't be read."""
        value = self.read(fact)
        if isinstance(value, Unreadable):
            self.add(_unreadable(fact, value, fact.severity))
            return None
        return value

    def read(self, fact: Fact[Shape]) -> Shape | Unreadable:
        """The value, or why there is none, without a reason."""
        return fact.read(self._outputs.get(fact.command.name))

    def add(self, reason: Reason) -> None:
        """Once: four facts that trip over one broken driver give one reason."""
        if all((r.code, r.wanted) != (reason.code, reason.wanted) for r in self.reasons):
            self.reasons.append(reason)


def _cards(answers: _Answers) -> Listing:
    """The XML's cards when it can be read, else the CSV's; where both can, they must agree."""
    xml, csv = answers.read(GPU_XML), answers.read(GPU_CSV)
    both_failed = isinstance(xml, Unreadable) and isinstance(csv, Unreadable)
    for fact, value in ((GPU_XML, xml), (GPU_CSV, csv)):
        if isinstance(value, Unreadable):
            answers.add(_unreadable(fact, value, Severity.FAIL if both_failed else Severity.WARN))
    listing = next((x for x in (xml, csv) if isinstance(x, Listing)), Listing())
    if isinstance(xml, Listing) and isinstance(csv, Listing) and (reason := _disagreement(xml, csv)):
        answers.add(reason)
    if listing.sliced:
        answers.add(_in_mig_mode(listing))
    return listing


def _engine(answers: _Answers) -> Engine | None:
    """Docker if it answers, else Podman; that neither is installed is no fault of reading."""
    for fact in (DOCKER, PODMAN):
        value = answers.read(fact)
        if isinstance(value, Engine):
            return value
        if value.exit_code != NOT_FOUND:
            answers.add(_unreadable(fact, value, fact.severity))
    return None


def _unreadable(fact: Fact[object], value: Unreadable, severity: Severity) -> Reason:
    if fact.command.name.startswith("gpu_"):
        if value.exit_code in (NOT_FOUND, NVML_NOT_LOADED):
            return _driver_missing(value)
        if value.exit_code == NVML_MISMATCH:
            return _driver_mismatch(value)
    is_unknown = value.is_silent and severity is Severity.FAIL
    return Reason(
        code="FACT_UNREADABLE",
        severity=Severity.NO_VERDICT if is_unknown else severity,
        got=f"{fact.command.name}: {value.why}",
        wanted=f"{fact.command.name} as a healthy machine prints it",
        mend=f"Run `{fact.command.command.splitlines()[0]}` as the executor's user and see what it answers.",
    )


def _driver_missing(value: Unreadable) -> Reason:
    return Reason(
        code="DRIVER_MISSING",
        severity=Severity.FAIL,
        got=value.why,
        wanted="nvidia-smi on the PATH of the executor's user, and a loaded NVIDIA driver",
        mend="Install the NVIDIA driver, load it (`modprobe nvidia`) and see that `nvidia-smi` lists the cards.",
    )


def _driver_mismatch(value: Unreadable) -> Reason:
    return Reason(
        code="DRIVER_MISMATCH",
        severity=Severity.FAIL,
        got=value.why,
        wanted="kernel module and libraries of one driver version",
        mend="The driver was upgraded under a running system: reboot, or unload and reload the nvidia modules.",
    )


def _disagreement(xml: Listing, csv: Listing) -> Reason | None:
    """Two readings of one machine within seconds must name the same cards."""
    one, two = ([_name(card) for card in listing.cards] for listing in (xml, csv))
    if one == two:
        return None
    index = next(
        (i for i, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), min(len(one), len(two))
    )
    said = ["; ".join(names[index : index + 1]) or "no such card" for names in (one, two)]
    return Reason(
        code="GPU_READINGS_DISAGREE",
        severity=Severity.FAIL,
        got=f"card {index}: the XML says {said[0]}, the CSV says {said[1]}",
        wanted="the same cards from `nvidia-smi -q -x` and `nvidia-smi --query-gpu`",
        mend="Put NVIDIA's own nvidia-smi on the PATH, and see that no card drops off the bus.",
    )


def _name(card: Card) -> str:
    return f"{card.model} {card.vram_mib} MiB {card.uuid} driver {card.driver or 'unknown'}"


def _in_mig_mode(listing: Listing) -> Reason:
    return Reason(
        code="GPU_MIG_ENABLED",
        severity=Severity.FAIL,
        got=f"MIG mode on card {', '.join(map(str, listing.sliced))}",
        wanted="whole cards",
        mend="Switch MIG off with `nvidia-smi -mig 0` and reset the card.",
    )
