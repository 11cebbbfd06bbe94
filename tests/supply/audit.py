"""Known holes of what we use: pip-audit over the lock files, and the licences.

    python -m tests.supply.audit         exit code 1: a hole, or a licence that is not allowed

The advisories come from the network. Where they can't be had nothing was audited, and that is what it says, with exit code 0:
a machine without a network is no finding. `--must` makes it one, for whoever releases.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.supply import licences
from tests.supply.locked import IMAGE_LOCK, LOCK, REPOSITORY

SERVICES = ("pypi", "osv")
DEADLINE_S = 600


@dataclass(frozen=True, slots=True)
class Audit:
    """What an audit of one lock file came to."""

    lock: str
    audited: int
    unknown: int
    """Packages that no advisory could be asked for."""
    holes: tuple[str, ...] = ()
    trouble: str = ""

    @property
    def is_whole(self) -> bool:
        """Whether every package was asked for."""
        return not self.trouble and self.unknown == 0 and self.audited > 0


def understood(lock: str, output: str, trouble: str) -> Audit:
    """pip-audit's JSON; without any, its last line of trouble. Packages that it skipped were not audited."""
    try:
        packages = json.loads(output)["dependencies"]
    except (ValueError, KeyError, TypeError):
        return Audit(lock, 0, 0, trouble=(trouble.strip().splitlines() or ["no answer"])[-1][:300])
    holes = tuple(
        f"{one['name']} {one['version']}: {hole['id']}, mended in {', '.join(hole['fix_versions']) or 'no version'}"
        for one in packages
        for hole in one.get("vulns", ())
    )
    skipped = sum("skip_reason" in one for one in packages)
    return Audit(lock, len(packages) - skipped, skipped, holes)


def audit(lock: Path, service: str) -> Audit:
    """Ask one service for all packages of a lock file; nothing is installed, and nothing resolved."""
    command = [
        *(sys.executable, "-m", "pip_audit", "--requirement", str(lock), "--require-hashes", "--disable-pip"),
        *("--format", "json", "--progress-spinner", "off", "--vulnerability-service", service),
    ]
    name = str(lock.relative_to(REPOSITORY))
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=DEADLINE_S)
    except subprocess.TimeoutExpired:
        return Audit(name, 0, 0, trouble=f"no answer in {DEADLINE_S} s")
    return understood(name, done.stdout, done.stderr)


def best(audits: Iterable[Audit]) -> Audit:
    """The first that is whole or has found a hole, else the one that knows most."""
    every = []
    for one in audits:
        if one.is_whole or one.holes:
            return one
        every.append(one)
    return max(every, key=lambda one: one.audited)


def lines_of(one: Audit) -> list[str]:
    """What whoever runs it reads."""
    if one.trouble or not one.audited:
        why = one.trouble or f"none of its {one.unknown} packages is known to the service"
        return [f"{one.lock}: NOT AUDITED, the advisories can't be had here ({why})"]
    told = f"{one.lock}: {one.audited} packages audited, {len(one.holes)} known holes"
    unknown = [f"{one.lock}: {one.unknown} packages NOT AUDITED, no advisory can be asked for them"]
    return [told, *(f"  {hole}" for hole in one.holes), *(unknown if one.unknown else [])]


def main(arguments: list[str]) -> int:
    """The exit code."""
    wrong = licences.faults()
    print(*(f"licence: {name}: {fault}" for name, fault in wrong.items()), sep="\n" if wrong else "", end="")
    print(f"{'' if not wrong else chr(10)}licences: {len(wrong)} packages that may not be used")
    found = [best(audit(lock, service) for service in SERVICES) for lock in (IMAGE_LOCK, LOCK)]
    for one in found:
        print(*lines_of(one), sep="\n")
    is_missing = "--must" in arguments and not all(one.is_whole for one in found)
    return int(bool(wrong) or any(one.holes for one in found) or is_missing)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
