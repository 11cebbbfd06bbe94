"""A miner who brings a bare machine in and takes it out again, over and over, by the commands that a miner types.

A command that was killed, or that could not do its work, is typed again: that is all a miner has to know.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from deployments.localnet.cast import CAST
from deployments.localnet.roles import wallet_of
from deployments.processes import free_port
from tasks.edges.wallets import hotkey_address
from tasks.onboarding.records import Records
from tasks.onboarding.stages import PROOF
from tasks.onboarding.steps import StepState
from tests.chaos.found import Check, check
from tests.chaos.processes import Process, processes_under
from tests.chaos.system import System
from tests.deployments.miner.bare_machine import CARDS, BareMachine, bare_machine, why_not
from tests.local_systems import SUBNET, environment_of

CARD = next(e for e in CAST.executors if e.executor_id == "basalt-2")
NAME = "bare-1"
WAIT_S, COMMAND_S, LAST_TRIES = 60, 240.0, 4
WARM_S = 2.0
SSHD_PID = "/run/sshd.pid"
"""Of the SSH server that we have begun again there."""


@dataclass
class Miner:
    """One miner with one machine."""

    system: System
    machine: BareMachine
    counts: Counter[str] = field(default_factory=Counter)
    port: int = field(default_factory=lambda: free_port(0))

    def begin(self) -> None:
        """Keys, and money for its place."""
        self._typed("coldkey", "new", "--wallet", "miner", "--no-password", "--json")
        self._typed("hotkey", "new", "--wallet", "miner", "--hotkey", "default", "--json")
        self._typed("fund", "5", "--wallet", "miner", "--json")

    def live(self, stop: threading.Event) -> None:
        """In and out until told to stop."""
        threading.Thread(target=self._keep, args=(stop,), daemon=True).start()
        is_in = False
        while not stop.wait(1.0):
            status = self._offboard() if is_in else self._onboard()
            self.counts[f"{'offboard' if is_in else 'onboard'}: {_said(status)}"] += 1
            if status == 0:
                is_in = not is_in

    def finish(self) -> bool:
        """Take the machine out for the last time; whether that was done."""
        if not any("sshd" in one.command for one in self.processes()):
            self.machine.run("/usr/sbin/sshd", check=False)
        return any(self._offboard() == 0 for _ in range(LAST_TRIES))

    def processes(self) -> list[Process]:
        """What runs on the machine, and may be killed; not the machine itself."""
        return [
            p
            for p in processes_under(self.machine._process.pid)
            if "bare.py" not in p.command and "nsenter" not in p.command and "unshare" not in p.command
        ]

    def check(self, *, is_out: bool) -> Check:
        """The machine is as it was before it was brought in."""
        wrong = [] if is_out else ["it could not be taken out"]
        changed = {p: w for p, w in self.machine.changed().items() if p != SSHD_PID}
        wrong += [f"{path}: {what}" for path, what in sorted(changed.items())]
        return check("a machine that left is as it was", 1, "machine", wrong)

    def end_agent(self) -> None:
        """Nothing outlives us."""
        for file in self.system.layout.folder.rglob("agent.json"):
            with contextlib.suppress(ProcessLookupError, ValueError):
                os.kill(json.loads(file.read_text())["pid"], signal.SIGKILL)

    def _host(self) -> tuple[str, ...]:
        folder = self.machine.folder
        return (
            f"root@{self.machine.named.name}",
            *("--key", str(folder / "key"), "--known-hosts", str(folder / "known")),
        )

    def _onboard(self) -> int:
        return self._run(
            "onboard",
            *self._host(),
            *("--python", self.machine.named.python, "--simulated-cards", CARDS, "--id", NAME),
            *(
                "--port",
                str(self.port),
                "--ceiling",
                "3",
                "--wait",
                str(WAIT_S),
                "--accept-new",
                "--yes",
                "--json",
            ),
        )

    def _offboard(self) -> int:
        return self._run("offboard", *self._host(), "--yes", "--json")

    def _typed(self, *words: str) -> None:
        if status := self._run(*words):
            raise RuntimeError(f"subnet miner {words[0]} ended with {status}: see {self._log}")

    @property
    def _log(self) -> Path:
        return self.system.folder / "miner.log"

    def _run(self, *words: str) -> int:
        with self._log.open("ab") as log:
            log.write(f"\n$ subnet miner {' '.join(words)}\n".encode())
            log.flush()
            process = subprocess.Popen(
                [SUBNET, "miner", *words],
                cwd=self.system.folder,
                env=environment_of(self.system.layout.folder),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
            try:
                return process.wait(COMMAND_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                return -signal.SIGALRM

    def _keep(self, stop: threading.Event) -> None:
        """As the machine's own systemd would: its SSH server is begun again when it dies.

        And kernels are compiled already for whoever proves next: no part of what is tried here.
        """
        while not stop.wait(WARM_S):
            if not any("sshd" in one.command for one in self.processes()):
                self.machine.run("/usr/sbin/sshd", check=False)
            with contextlib.suppress(OSError, AssertionError, ValueError, KeyError):
                if self.machine.run("ls", "-d", "/var/lib/subnet/homes", check=False).startswith("/var"):
                    self.machine.warm(self._next_to_prove())

    def _next_to_prove(self) -> str:
        wallets, records = (
            self.system.layout.subnet / "wallets",
            Records(self.system.layout.folder / "miner" / "agent"),
        )
        try:
            done = records.get(self.machine.named.label, PROOF.name)
        finally:
            records.close()
        if done is None or done.state != StepState.DONE:
            return hotkey_address(wallets, "miner", "default")
        return str(wallet_of(wallets, CAST, CAST.validators[0].name).hotkey.ss58_address)


def _said(status: int) -> str:
    return {0: "done", -signal.SIGALRM: "too slow"}.get(status, "killed" if status < 0 else "failed")


@contextlib.contextmanager
def miner_of(system: System, kernels: Path) -> Iterator[Miner | None]:
    """A miner with a bare machine that runs until the end of the block; None where there can be none."""
    if why_not():
        yield None
        return
    with bare_machine(system.folder / "machine", CARD, kernels=kernels) as machine:
        miner = Miner(system, machine)
        try:
            yield miner
        finally:
            miner.end_agent()
