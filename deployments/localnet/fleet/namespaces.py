"""The fleet's hosts from inside: `python -m deployments.localnet.fleet.namespaces PLAN`, in namespaces of its own.

It is the first process of a process namespace, with mounts of its own (`hosts.py` starts it so): when it ends, however
it ends, the kernel ends every process in there, and with them go networks, devices and mounts. Each host is a network
namespace with one TUN device and an OpenSSH server on port 22.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from deployments.localnet.executors import USER
from deployments.localnet.fleet.packets import (
    GATEWAY,
    MTU,
    NETWORKS,
    OURS,
    Host,
    carry,
    enter_new_network,
    open_tun,
    packed,
)

PORT = 22
REAP_S = 0.5
SSHD_CONFIG = """\
HostKey {host_key}
AuthorizedKeysFile {authorized_keys}
PidFile none
UsePAM no
PasswordAuthentication no
PermitRootLogin yes
StrictModes no
UseDNS no
LogLevel ERROR
MaxStartups 1000
SetEnv {environment}
"""
"""Sessions run as whoever runs the rig, which is root: they do what the validator asks, whose key alone is let in."""


@dataclass(frozen=True, slots=True)
class Planned:
    """One host."""

    address: str
    rtt_ms: float
    host_key: str
    authorized_keys: str
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Plan:
    """All of them."""

    folder: str
    """Where configurations are written, and the home of all hosts' user."""
    sshd: str
    ip: str
    hosts: tuple[Planned, ...]


def main(arguments: Sequence[str]) -> int:
    """Bring all hosts up, say `ready`, and carry their packets until told to stop."""
    plan = read_plan(Path(arguments[0]))
    stops: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda got, _frame: stops.append(got))
    _mount(plan)
    ours = open_tun(OURS)
    routes = (f"route add {network}.0/24 dev {OURS} src {GATEWAY}" for network in NETWORKS)
    _ip(plan, f"addr add {GATEWAY}/32 dev {OURS}", f"link set {OURS} mtu {MTU} up", *routes)
    hosts = {packed(host.address): _start(plan, host) for host in plan.hosts}
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    carry(hosts, ours, _Reaper(stops).is_over)
    return 0


def read_plan(path: Path) -> Plan:
    """The plan that `hosts.py` has written."""
    told = json.loads(path.read_text(encoding="utf-8"))
    return Plan(**{**told, "hosts": tuple(Planned(**host) for host in told["hosts"])})


class _Reaper:
    """Asked often whether it is over, it also sees the processes end whose parents have: it is their last parent."""

    def __init__(self, stops: Sequence[int]) -> None:
        self._stops, self._next = stops, 0.0

    def is_over(self) -> bool:
        """Whether a signal has come."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + REAP_S
            with suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
        return bool(self._stops)


def _mount(plan: Plan) -> None:
    """A user for the hosts in a password file that only they see."""
    users = Path("/etc/passwd").read_text(encoding="utf-8")
    mine = Path(plan.folder) / "passwd"
    mine.write_text(
        f"{users.rstrip()}\n{USER}:*:{os.getuid()}:{os.getgid()}::{plan.folder}:/bin/sh\n", encoding="utf-8"
    )
    _run("mount", "--bind", str(mine), "/etc/passwd")
    # Where OpenSSH wants an empty folder; made on the real disk if it never ran here.
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)


def _start(plan: Plan, host: Planned) -> Host:
    """One host: this thread goes into a network of its own, and the server that it starts stays there."""
    enter_new_network()
    device = open_tun("eth0")
    _ip(
        plan,
        "link set lo up",
        f"addr add {host.address}/32 dev eth0",
        f"link set eth0 mtu {MTU} up",
        "route add default dev eth0",
    )
    config = Path(plan.folder) / f"sshd-{host.address}.conf"
    environment = " ".join(f"{name}={value}" for name, value in host.environment.items())
    config.write_text(
        SSHD_CONFIG.format(
            host_key=host.host_key, authorized_keys=host.authorized_keys, environment=environment
        ),
        encoding="utf-8",
    )
    subprocess.Popen(  # noqa: S603  OpenSSH with our own configuration
        [plan.sshd, "-D", "-e", "-f", str(config), "-p", str(PORT)], stdin=subprocess.DEVNULL
    )
    _await_listening(host.address)
    return Host(device, host.rtt_ms / 2e3)


def _await_listening(address: str) -> None:
    """From within its own network, where the way is short."""
    until = time.monotonic() + 10.0
    while time.monotonic() < until:
        with socket.socket() as probe:
            if probe.connect_ex((address, PORT)) == 0:
                return
        time.sleep(0.01)
    raise TimeoutError(f"no SSH server came up on {address}")


def _ip(plan: Plan, *lines: str) -> None:
    _run(plan.ip, "-batch", "-", given="\n".join(lines) + "\n")


def _run(*words: str, given: str = "") -> None:
    subprocess.run(words, input=given, text=True, check=True, timeout=30)  # noqa: S603  our own constants


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
