"""One bare machine's way to its first verdict and back, as a miner types it, killed again and again on the way.

    python -m tests.deployments.miner.onboarding_life FOLDER KERNELS KILLS        prints one line of JSON of what was seen

KILLS is `none`, `all`, or names of steps with commas between. `all`: the command is killed by SIGKILL at the first moment that it
tells of, the next one at the second, and so on; else when each of the named steps begins. The last one comes to the end. Runs as
a process of its own, because it forks: every command is a child that does what a fresh one would, without its imports.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from deployments.cli import subnet
from deployments.localnet.cast import CAST, Cast, CastValidator
from deployments.localnet.chain.substrate import LocalSubstrate
from deployments.localnet.layout import Layout
from deployments.localnet.roles import open_chain, wallet_of
from deployments.localnet.setup import make_network
from deployments.miner import onboarding
from deployments.processes import free_port
from flows.edges import open_edges
from flows.validate import validate_epoch
from tasks.edges.wallets import hotkey_address
from tasks.onboarding.records import Records
from tasks.onboarding.stages import PROOF, Progress
from tasks.onboarding.steps import StepState
from tasks.policy import LOCALNET
from tests.deployments.miner.bare_machine import CARDS, BareMachine, bare_machine

VALIDATORS = Cast("owner", (CastValidator("validator", 4_000.0), CastValidator("witness-1", 3_000.0)), ())
CARD = next(e for e in CAST.executors if e.executor_id == "basalt-2")
NAME = "rack1-a"
LIMIT_S = 180.0
MOST_KILLS = 80


class Life:
    """The miner's computer, the chain with a validator, and one machine."""

    def __init__(self, folder: Path, machine: BareMachine) -> None:
        self.folder, self.machine, self.layout = folder, machine, Layout(folder / ".local")
        self.layout.subnet.mkdir(parents=True)
        os.environ["SUBNET_FOLDER"] = str(self.layout.folder)
        os.chdir(folder)
        key = ("--key", str(machine.folder / "key"), "--known-hosts", str(folder / "known_hosts"))
        self.host = (f"root@{machine.named.name}", *key)
        self.how = (
            *("--python", machine.named.python, "--simulated-cards", CARDS, "--id", NAME),
            *(
                "--port",
                str(free_port(0)),
                "--ceiling",
                "3",
                "--wait",
                "100",
                "--accept-new",
                "--yes",
                "--json",
            ),
        )
        self.log = folder / "told"

    def start(self, do: Callable[[], object]) -> int:
        """A child that does it; its process id. What it prints is in the log."""
        self.log.unlink(missing_ok=True)
        pid = os.fork()
        if pid == 0:
            out = os.open(self.log, os.O_WRONLY | os.O_CREAT, 0o600)
            os.dup2(out, 1)
            os.dup2(os.open(self.folder / "errors", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), 2)
            try:
                code = do()
            except BaseException:  # noqa: BLE001  a child ends here, whatever happened
                traceback.print_exc()
                code = 70
            sys.stdout.flush()
            os._exit(code if isinstance(code, int) else 0)
        return pid

    def run(self, do: Callable[[], object]) -> tuple[int, str]:
        """The same to its end: the exit code, or minus the signal, and what it printed."""
        return self.ended(self.start(do))

    def ended(self, pid: int) -> tuple[int, str]:
        """How it ended."""
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        return status, self.log.read_text() if self.log.exists() else ""

    def typed(self, *words: str) -> dict[str, object]:
        """A command of the miner's that has to go well; its JSON."""
        status, printed = self.run(lambda: subnet.main(["miner", *words], standalone_mode=False))
        if status != 0:
            sys.exit(
                f"{words} ended with {status}: {printed}\n{(self.folder / 'errors').read_text()[-3000:]}"
            )
        return json.loads(printed) if "--json" in words else {}

    def tried(self, *words: str, but: tuple[str, ...] = ()) -> dict[str, object]:
        """A command that may go wrong, without some of its words; its JSON and its exit code."""
        kept = [word for word in words if word not in but]
        status, printed = self.run(lambda: subnet.main(["miner", *kept], standalone_mode=False))
        return {"status": status, "told": json.loads(printed or "{}")}

    def onboard(self, is_last: Callable[[int, Progress], bool]) -> Callable[[], object]:
        """The command, which kills itself at the first moment for which that holds."""

        def do() -> object:
            show, count = onboarding.Lines.__call__, 0

            def told(lines: onboarding.Lines, progress: Progress) -> None:
                nonlocal count
                count += 1
                show(lines, progress)
                if is_last(count, progress):
                    os.kill(os.getpid(), signal.SIGKILL)

            onboarding.Lines.__call__ = told
            return subnet.main(["miner", "onboard", *self.host, *self.how], standalone_mode=False)

        return do

    def epoch(self) -> None:
        """One epoch of the validator's."""
        asyncio.run(self._epoch())

    async def _epoch(self) -> None:
        settings = self.layout.settings(os.environ)
        async with open_edges(settings, lambda: LocalSubstrate(self.layout.chain)) as edges:
            await validate_epoch(edges, None, LOCALNET)

    def is_served(self) -> bool:
        """Whether the agent listens and the chain knows it, by the step's own record."""
        errors = self.folder / "errors"
        return (
            errors.exists()
            and re.search(r" s  this computer +agent +(done|nothing)", errors.read_text()) is not None
        )

    def to_verdict(self) -> tuple[int, str, float]:
        """The command to its end, and a validator's epoch as soon as the agent serves; how long it took."""
        began = time.monotonic()
        (self.folder / "errors").unlink(missing_ok=True)
        pid = self.start(self.onboard(lambda *_: False))
        while (
            not self.is_served()
            and time.monotonic() - began < LIMIT_S
            and os.waitpid(pid, os.WNOHANG) == (0, 0)
        ):
            time.sleep(0.1)
        told = self.log
        self.log = self.folder / "of the epoch"
        epoch = self.start(self.epoch)
        assert self.ended(epoch)[0] == 0, (self.folder / "errors").read_text()[-3000:]
        self.log = told
        status, printed = self.ended(pid)
        return status, printed, time.monotonic() - began

    def files(self) -> list[str]:
        """What the command has made on the miner's own computer."""
        miner = self.layout.folder / "miner"
        return sorted(str(path.relative_to(miner)) for path in miner.rglob("*") if path.is_file())

    def here(self) -> dict[str, str]:
        """The same with what stands in it, but for logs and what counts steps and visits."""
        kept = ("miner.toml", "ca", "ca.pub", "agent.json", "miner.toml.old")
        miner = self.layout.folder / "miner"
        return {name: (miner / name).read_text() for name in self.files() if Path(name).name in kept}


def main(folder: Path, kernels: Path, kills: str) -> dict[str, object]:
    """All of it; what was seen."""
    folder.mkdir(parents=True, exist_ok=True)
    with bare_machine(folder / "machine", CARD, kernels=kernels) as machine:
        life = Life(folder, machine)
        try:
            return lived(life, kills)
        finally:
            end_agent(life)


def lived(life: Life, kills: str) -> dict[str, object]:
    """From bare to bare."""
    life.run(lambda: make_network(life.layout.subnet, VALIDATORS))
    life.typed("coldkey", "new", "--wallet", "miner", "--no-password", "--json")
    life.typed("hotkey", "new", "--wallet", "miner", "--hotkey", "default", "--json")
    life.typed("fund", "5", "--wallet", "miner", "--json")
    dry = life.typed("onboard", *life.host, *life.how, "--dry-run")
    seen: dict[str, object] = {
        "dry": dry,
        "after dry": life.machine.changed(),
        "here after dry": life.files(),
    }
    seen["killed at"] = killed(life, kills)
    status, printed, seconds = life.to_verdict()
    seen |= {"status": status, "first": json.loads(printed or "{}"), "seconds": seconds}
    after, here = life.machine.changed(), life.here()
    places = life.run(lambda: print(extrinsics(life)))[1]
    again = life.typed("onboard", *life.host, *life.how)
    seen["with another"] = life.tried("onboard", silent(life), *life.host, *life.how, but=("--id", NAME))
    seen |= {"again": again, "changed again": differing(after, life.machine.changed())}
    seen |= {
        "here again": differing(here, life.here()),
        "paid again": life.run(lambda: print(extrinsics(life)))[1] != places,
    }
    seen |= {"new": sorted(set(after)), "config": here.get("miner.toml", "")}
    seen["rented"] = rented(life)
    seen["config while rented"] = life.here()["miner.toml"]
    seen["off"] = life.typed("offboard", *life.host, "--yes", "--json")
    seen |= {"left": life.machine.changed(), "here at the end": sorted(life.here())}
    seen["off again"] = life.typed("offboard", *life.host, "--yes", "--json")
    return seen


def silent(life: Life) -> str:
    """A machine where nobody answers, beside the one that does."""
    return f"root@{life.machine.named.name.rpartition('.')[0]}.250:9"


def rented(life: Life) -> dict[str, object]:
    """Taking the machine out while its engine has a renter's container."""
    engine = life.machine.run("cat", "/usr/bin/docker")
    shown = '#!/bin/sh\n[ "$1" = ps ] && echo 0123456789ab\n'
    life.machine.run("tee", "/usr/bin/docker", stdin=shown)
    told = life.tried("offboard", *life.host, "--yes", "--json")
    life.machine.run("tee", "/usr/bin/docker", stdin=engine)
    return told


def killed(life: Life, kills: str) -> list[str]:
    """At what the command was killed, one after the other."""
    died: list[str] = []
    names = kills.split(",") if kills not in ("all", "none") else []
    for number in range({"all": MOST_KILLS, "none": 0}.get(kills, len(names))):
        is_last = at_step(names[number]) if names else at_moment(number + 1)
        (life.folder / "errors").unlink(missing_ok=True)
        status, printed = life.run(life.onboard(is_last))
        lines = (life.folder / "errors").read_text().splitlines()
        if status != -signal.SIGKILL:
            sys.exit(f"it was not killed but ended with {status}: {printed} {lines[-20:]}")
        died.append(names[number] if names else re.sub(r"[0-9.]+ s", "", lines[-1])[:60].strip())
        warm(life)
        if not names and " this computer          agent " in lines[-1]:
            break  # the next moment is the last one, and the one after the same
    return died


def at_step(name: str) -> Callable[[int, Progress], bool]:
    """When a step begins."""
    return lambda _, progress: progress.step == name and not progress.is_over


def at_moment(number: int) -> Callable[[int, Progress], bool]:
    """At the moment of this number; at the latest when it waits for the verdict, which nobody makes."""
    return lambda count, progress: count == number or (progress.step == "verdict" and not progress.is_over)


def warm(life: Life) -> None:
    """Kernels are compiled already, for whoever proves next: no part of what is tried here."""
    if life.machine.run("ls", "-d", "/var/lib/subnet/homes", check=False).startswith("/var"):
        life.machine.warm(life.run(lambda: print(next_to_prove(life)))[1].strip())


def next_to_prove(life: Life) -> str:
    """The miner until its own proof is done, then the validator: one copy of kernels belongs to one of them."""
    wallets, records = life.layout.subnet / "wallets", Records(life.layout.folder / "miner" / "agent")
    done = records.get(life.machine.named.label, PROOF.name)
    records.close()
    if done is None or done.state != StepState.DONE:
        return hotkey_address(wallets, "miner", "default")
    return wallet_of(wallets, VALIDATORS, "validator").hotkey.ss58_address


def extrinsics(life: Life) -> str:
    """What the chain has of the miner: its uid and balance."""
    wallets = life.layout.subnet / "wallets"
    chain = open_chain(life.layout.chain)
    try:
        hotkey = hotkey_address(wallets, "miner", "default")
        view = chain.view()
        me = view.by_hotkey(hotkey)
        terms = chain.registration(hotkey, me.coldkey)
        return f"{me.uid} {me.endpoint} {terms.free_rao}"
    finally:
        chain.close()


def differing(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """Whose value is another."""
    return sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))


def end_agent(life: Life) -> None:
    """Nothing outlives us."""
    for file in life.layout.folder.rglob("agent.json"):
        try:
            os.kill(json.loads(file.read_text())["pid"], signal.SIGKILL)
        except (ProcessLookupError, ValueError):
            continue


def _told() -> NoReturn:
    told = main(Path(sys.argv[1]).absolute(), Path(sys.argv[2]), sys.argv[3])
    print(json.dumps(told))
    sys.exit(0)


if __name__ == "__main__":
    _told()
