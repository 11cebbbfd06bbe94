"""Checks of the machine around the cards: memory, disk, line, system, container engine."""

from __future__ import annotations

import re

from storage.records import Reason, Severity
from tasks.inspection.checks.subject import Subject, fail, gib, warn
from tasks.policy import InspectionPolicy

INSTALLED_SHARE = 0.95
"""Firmware and kernel keep up to 5 % of the installed memory from MemTotal: 16 GiB of modules show as 15.3 to 15.6."""
CHANNEL_WINDOW_BYTES = 1_310_720
"""Ours; OpenSSH's own is 2 MiB."""
CHANNEL_SHARE = 1 / 3
MAX_RTT_MS = 300.0
"""Nothing on earth is farther on a sound line."""


def ram_below_minimum(subject: Subject) -> Reason | None:
    """Installed memory, as far as the kernel shows it."""
    got, wanted = subject.facts.ram_bytes, subject.policy.min_ram_bytes
    if got is not None and got >= INSTALLED_SHARE * wanted:
        return None
    return fail("RAM_BELOW_MINIMUM", gib(got), f"{gib(wanted)} of RAM", "Add memory to the machine.")


def disk_below_minimum(subject: Subject) -> Reason | None:
    """Free disk for images and a renter's data."""
    got, wanted = subject.facts.disk_free_bytes, subject.policy.min_disk_free_bytes
    if got is not None and got >= wanted:
        return None
    return fail(
        "DISK_BELOW_MINIMUM",
        f"{gib(got)} free",
        f"{gib(wanted)} free where the container engine or the executor's user stores its data",
        "Remove what is not needed (`docker system prune`) or add a disk.",
    )


def network_speed_too_slow(subject: Subject) -> Reason | None:
    """Each way, smoothed over epochs; not measured is no verdict, since it may be our side."""
    got = subject.bandwidth
    least = least_mbit_s(got.rtt_ms if got else None, subject.policy.min_mbit_s)
    wanted = f"{least:.3g} Mbit/s each way"
    mend = "Give the machine a faster line, or free the one it has."
    if got is None:
        return Reason("NETWORK_SPEED_TOO_SLOW", Severity.NO_VERDICT, "not measured", wanted, mend)
    # Written so that nan fails.
    if got.up_mbit_s >= least and got.down_mbit_s >= least:
        return None
    return fail(
        "NETWORK_SPEED_TOO_SLOW", f"{got.up_mbit_s:.1f} Mbit/s up, {got.down_mbit_s:.1f} down", wanted, mend
    )


def least_mbit_s(rtt_ms: float | None, asked_mbit_s: float) -> float:
    """What a machine that far away must reach for the minimum to hold: what one SSH channel carries falls with the way.

    A channel has at most one window under way, window / round trip, and spends a few round trips getting there: a third
    of it is asked for. A way that is made longer on purpose gains little (the round trip is capped) and costs
    score, which counts the Mbit/s as they are.
    """
    if rtt_ms is None:
        return asked_mbit_s
    carried_mbit_s = CHANNEL_WINDOW_BYTES * 8e-3 / min(max(rtt_ms, 1.0), MAX_RTT_MS)
    return min(asked_mbit_s, CHANNEL_SHARE * carried_mbit_s)


def os_not_linux(subject: Subject) -> Reason | None:
    """Rentals and the proof run on Linux only."""
    kernel = subject.facts.kernel
    if kernel is not None and kernel.startswith("Linux "):
        return None
    return fail(
        "OS_NOT_LINUX", kernel or "not said", "Linux", "Install Linux, Ubuntu 22.04 or later at best."
    )


def os_not_recommended(subject: Subject) -> Reason | None:
    """Ubuntu of at least the recommended version; anything else only warns."""
    facts, wanted = subject.facts, subject.policy.recommended_ubuntu
    if facts.os_id == "ubuntu" and _version(facts.os_version) >= _version(wanted):
        return None
    got = " ".join(x for x in (facts.os_id, facts.os_version) if x) or "not said"
    return warn(
        "OS_NOT_RECOMMENDED",
        got,
        f"Ubuntu {wanted} or later",
        "It works, but is not what is tested most; move to Ubuntu at the next occasion.",
    )


def container_runtime_missing(subject: Subject) -> Reason | None:
    """Without an engine the machine can be proved, not rented."""
    if subject.facts.container_runtime is not None:
        return None
    return warn(
        "CONTAINER_RUNTIME_MISSING",
        "no Docker or Podman that answers the executor's user",
        "Docker with the NVIDIA runtime",
        "Install Docker and nvidia-container-toolkit, and add the executor's user to the docker group.",
    )


def host_minimum_lowered(subject: Subject) -> Reason | None:
    """Under a policy that asks less of the host than the real one, every row says so."""
    if not subject.policy.host_is_lowered:
        return None
    return warn(
        "HOST_MINIMUM_LOWERED",
        f"minimum of {_host_minimum(subject.policy)}",
        f"on a real network {_host_minimum(InspectionPolicy())}",
        "Nothing to do: this policy is for the local subnet.",
    )


def _version(text: str | None) -> tuple[int, ...]:
    """`22.04` -> (22, 4); what has no such form is older than everything."""
    parts = (text or "").split(".")
    return tuple(map(int, parts)) if all(re.fullmatch(r"[0-9]{1,6}", p) for p in parts) else ()


def _host_minimum(policy: InspectionPolicy) -> str:
    return f"{gib(policy.min_ram_bytes)} RAM, {gib(policy.min_disk_free_bytes)} disk, {policy.min_mbit_s:g} Mbit/s"
