"""What a machine needs beside the validators' minimum, to be brought in: facts of its own, and what speaks against it.

The facts are asked like the validators' own (a constant command, a pure parser); the checks are functions of what was
found and give at most one reason each. A fact that the machine did not give never passes a check.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from storage.records import HostFacts, Reason, Severity
from tasks.edges.wire import literal_address
from tasks.inspection.facts.fact import Fact
from tasks.inspection.facts.text import Unreadable, decimal, shown
from tasks.inspection.output import Command, FactOutput

OLDEST_PYTHON = (3, 10)
"""Of the numba that the prover runs on."""
CLOCK_FAILS_S = 30.0
"""A validator's certificate is good from a minute before it is made: half of it is left for the others' clocks."""
CLOCK_WARNS_S = 2.0
PRIVILEGES = ("root", "sudo", "none")

# The interpreter that runs us is the one that validators will be told of: its first word, as it was started.
_OWN_PYTHON = "p=$(tr '\\0' '\\n' </proc/$PPID/cmdline | head -n 1)"
_LOOK = (
    "import importlib.util as u,json,sys;"
    'print(json.dumps({"python":list(sys.version_info[:3]),'
    '"has":[m for m in ("numpy","numba","numba_cuda") if u.find_spec(m)]}))'
)
PORT_PROBE = (
    "import os,socket,sys\n"
    "try: s=socket.create_server(('::',0),family=socket.AF_INET6,dualstack_ipv6=True)\n"
    "except (OSError,ValueError): s=socket.create_server(('',0))\n"
    "t=os.urandom(16).hex()\n"
    "print(s.getsockname()[1],t,flush=True)\n"
    "s.settimeout(6)\n"
    "c=s.accept()[0]\n"
    "c.sendall(t.encode())\n"
    "c.close()\n"
)
"""Listens once on a port of the system's choice, as a renter's container does, and greets whoever comes."""
PROBE_ARGV = ("/bin/sh", "-c", f'{_OWN_PYTHON}; exec "$p" -I -c "$0"', PORT_PROBE)


@dataclass(frozen=True, slots=True)
class Environment:
    """The Python that the prover will run on."""

    version: tuple[int, int, int]
    has: tuple[str, ...]
    """Of numpy, numba and numba_cuda."""


@dataclass(frozen=True, slots=True)
class Found:
    """All that was learned of one machine."""

    facts: HostFacts
    privilege: str | None = None
    """root, sudo (without a password) or none."""
    environment: Environment | None = None
    toolkit: str | None = None
    """The version of NVIDIA's container toolkit."""
    clock_offset_s: float | None = None
    """How far the machine's clock is ahead of ours."""
    clock_error_s: float = 0.0
    """Half a round trip: by so much the offset may be wrong."""
    is_port_open: bool | None = None
    """Whether a port of its own choice could be reached from here; None: not tried."""
    seen_from: str | None = None
    """The address that this computer has for the machine, where it told one."""
    needs_cards: bool = True
    """Whether its cards are real: simulated ones are proved without numba-cuda."""


def parse_privilege(text: str) -> str | Unreadable:
    """'root', 'sudo' or 'none'."""
    word = text.strip()
    return (
        word if word in PRIVILEGES else Unreadable(f"no word of {', '.join(PRIVILEGES)}: {shown(text, 40)!r}")
    )


def parse_environment(text: str) -> Environment | Unreadable:
    """One JSON object -> Environment(version=(3, 12, 3), has=('numpy', 'numba'))."""
    try:
        said = json.loads(text)
        version, has = said["python"], said["has"]
    except (ValueError, RecursionError, KeyError, TypeError):
        return Unreadable(f"no JSON of the interpreter: {shown(text, 60)!r}")
    is_version = isinstance(version, list) and len(version) == 3
    if not is_version or not all(type(n) is int and 0 <= n < 100 for n in version):
        return Unreadable("no version of Python")
    if not isinstance(has, list) or len(has) > 3 or not all(isinstance(m, str) and len(m) < 20 for m in has):
        return Unreadable("no list of modules")
    return Environment((version[0], version[1], version[2]), tuple(has))


def parse_toolkit(text: str) -> str | Unreadable:
    """`NVIDIA Container Toolkit CLI version 1.17.8` -> '1.17.8'."""
    found = re.search(r"version ([0-9]{1,4}(?:\.[0-9]{1,4}){1,3})", text[:2_000])
    return found[1] if found else Unreadable(f"no version: {shown(text, 60)!r}")


def parse_clock(text: str) -> float | Unreadable:
    """`date +%s.%N` -> seconds since 1970."""
    seconds = decimal(text.strip()[:40], 1e11)
    return Unreadable(f"no seconds: {shown(text, 40)!r}") if seconds is None else seconds


def parse_seen_from(text: str) -> str | Unreadable:
    """`203.0.113.5 40022 203.0.113.7 22` -> '203.0.113.5'."""
    try:
        return str(literal_address(text.partition(" ")[0][:45]))
    except ValueError:
        return Unreadable(f"no address: {shown(text, 40)!r}")


PRIVILEGE = Fact(
    Command(
        "privilege",
        'if [ "$(id -u)" = 0 ]; then echo root; elif sudo -n true 2>/dev/null; then echo sudo; else echo none; fi',
        timeout_s=10,
        limit_bytes=64,
    ),
    parse_privilege,
    Severity.FAIL,
)
ENVIRONMENT = Fact(
    Command("environment", f"""{_OWN_PYTHON}; "$p" -I -c '{_LOOK}'""", timeout_s=15, limit_bytes=1 << 10),
    parse_environment,
    Severity.FAIL,
)
TOOLKIT = Fact(
    Command("toolkit", "nvidia-ctk --version", timeout_s=10, limit_bytes=4 << 10),
    parse_toolkit,
    Severity.WARN,
)
SEEN_FROM = Fact(
    Command("seen-from", 'echo "$SSH_CONNECTION"', timeout_s=5, limit_bytes=256),
    parse_seen_from,
    Severity.WARN,
)
CLOCK = Fact(Command("clock", "date +%s.%N", timeout_s=5, limit_bytes=64), parse_clock, Severity.WARN)
ASKED: tuple[Command, ...] = (PRIVILEGE.command, ENVIRONMENT.command, TOOLKIT.command, SEEN_FROM.command)
"""Together; the clock is asked by itself, or its answer would be as old as the slowest of the others."""


def read_needs(outputs: Mapping[str, FactOutput], facts: HostFacts) -> Found:
    """What the machine told; what can't be read is not there, and the checks say what that means."""

    def told(fact: Fact[object]) -> object | None:
        value = fact.read(outputs.get(fact.command.name))
        return None if isinstance(value, Unreadable) else value

    privilege, environment, toolkit = told(PRIVILEGE), told(ENVIRONMENT), told(TOOLKIT)
    seen_from = told(SEEN_FROM)
    return Found(
        facts,
        privilege=privilege if isinstance(privilege, str) else None,
        environment=environment if isinstance(environment, Environment) else None,
        toolkit=toolkit if isinstance(toolkit, str) else None,
        seen_from=seen_from if isinstance(seen_from, str) else None,
    )


# --- checks ----------------------------------------------------------------------------------------


def privilege_missing(found: Found) -> Reason | None:
    """Installing and confining needs root, or sudo that asks for no password."""
    if found.privilege in ("root", "sudo"):
        return None
    got = "neither root nor sudo without a password" if found.privilege else "not said"
    return _fail("PRIVILEGE_MISSING", got, "root, or `sudo` without a password")


def python_too_old(found: Found) -> Reason | None:
    """The prover's numba has no build for older ones."""
    wanted = "Python " + ".".join(map(str, OLDEST_PYTHON)) + " or later"
    if found.environment is None:
        return _fail("PYTHON_TOO_OLD", "an interpreter that does not say what it is", wanted)
    if found.environment.version[:2] >= OLDEST_PYTHON:
        return None
    return _fail("PYTHON_TOO_OLD", "Python " + ".".join(map(str, found.environment.version)), wanted)


def prover_missing(found: Found) -> Reason | None:
    """Without its modules no card is proved."""
    wanted = ("numpy", "numba", "numba_cuda") if found.needs_cards else ("numpy", "numba")
    has = found.environment.has if found.environment else ()
    missing = [module for module in wanted if module not in has]
    if not missing:
        return None
    return _fail("PROVER_MISSING", f"no {', '.join(missing)} in this interpreter", ", ".join(wanted))


def toolkit_missing(found: Found) -> Reason | None:
    """Without it containers get no cards: the machine can be proved, not rented."""
    if found.toolkit is not None:
        return None
    return _warn("NVIDIA_TOOLKIT_MISSING", "no `nvidia-ctk` that answers", "NVIDIA's container toolkit")


def runtime_without_cards(found: Found) -> Reason | None:
    """Docker must know the toolkit's runtime; Podman takes cards by CDI."""
    facts = found.facts
    is_docker = (facts.container_runtime or "").startswith("docker")
    if found.toolkit is None or not is_docker or "nvidia" in facts.container_runtimes:
        return None
    got = "runtimes " + (", ".join(facts.container_runtimes) or "none")
    return _warn("NVIDIA_RUNTIME_MISSING", got, "the runtime `nvidia` in Docker")


def clock_off(found: Found) -> Reason | None:
    """What is within the error of the measurement is no offset."""
    wanted = f"within {CLOCK_WARNS_S:g} s of this computer's clock"
    if found.clock_offset_s is None:
        return _warn("CLOCK_OFF", "a clock that was not told", wanted)
    least_s = abs(found.clock_offset_s) - found.clock_error_s
    if least_s <= CLOCK_WARNS_S:
        return None
    side = "ahead" if found.clock_offset_s > 0 else "behind"
    got = f"{abs(found.clock_offset_s):.1f} s {side}"
    return (_fail if least_s > CLOCK_FAILS_S else _warn)("CLOCK_OFF", got, wanted)


def ports_closed(found: Found) -> Reason | None:
    """A renter's ports are published on the machine, on ports that its system picks."""
    if found.is_port_open is None or found.is_port_open:
        return None
    got = "a port that the machine opened was not to be reached from here"
    return _warn("PORTS_CLOSED", got, "ports of its ephemeral range open to the world")


NEEDS: tuple[Callable[[Found], Reason | None], ...] = (
    privilege_missing,
    python_too_old,
    prover_missing,
    toolkit_missing,
    runtime_without_cards,
    clock_off,
    ports_closed,
)


def check_needs(found: Found) -> tuple[Reason, ...]:
    """All reasons at once, in the order of `NEEDS`."""
    return tuple(reason for check in NEEDS if (reason := check(found)) is not None)


def _fail(code: str, got: str, wanted: str) -> Reason:
    return Reason(code, Severity.FAIL, got, wanted, MENDS[code])


def _warn(code: str, got: str, wanted: str) -> Reason:
    return Reason(code, Severity.WARN, got, wanted, MENDS[code])


MENDS: Mapping[str, str] = {
    "PRIVILEGE_MISSING": "Log in as root, or let the user act as root without a password.",
    "PYTHON_TOO_OLD": "Install a later Python and name it by --python.",
    "PROVER_MISSING": "Install the prover's modules into the interpreter that is announced.",
    "NVIDIA_TOOLKIT_MISSING": "Install NVIDIA's container toolkit.",
    "NVIDIA_RUNTIME_MISSING": "Tell Docker of the toolkit's runtime.",
    "CLOCK_OFF": "Let the machine keep its clock by the network's time.",
    "PORTS_CLOSED": "Open the ports in the machine's firewall and in front of it.",
}
