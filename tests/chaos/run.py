"""A run from its begin to its report: system, load, faults, rest, checks."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa

from deployments.localnet.cast import CAST
from deployments.localnet.roles import wallet_of
from deployments.prefect_setup import run_deployment
from storage.database import open_database
from tasks.errors import SubnetError
from tests.chaos import check_epochs, check_leases, check_rest
from tests.chaos.faults import Faults, Hit
from tests.chaos.found import Check, check, tried
from tests.chaos.miners import Miner, miner_of
from tests.chaos.plan import Fault, Kind, plan
from tests.chaos.renters import Renter, make_renters
from tests.chaos.report import Report
from tests.chaos.settling import last_epoch, settle
from tests.chaos.system import System, system_in
from tests.chaos.watching import Watcher
from tests.deployments.miner.bare_machine import why_not
from tests.local_systems import warm

EPOCH_EVERY_S = 30.0
KEEP_S = 0.5
JOIN_S = 300.0
AT_START, LONGEST_START_S = 0.2, 600.0
"""The share of faults that may hit a system that is not up yet."""


@dataclass(frozen=True)
class Load:
    """Who keeps the system busy, and who looks on."""

    renters: Sequence[Renter]
    miner: Miner | None
    watcher: Watcher

    @property
    def lives(self) -> list[Callable[[threading.Event], None]]:
        """What each of them does until told to stop."""
        miners = [self.miner.live] if self.miner is not None else []
        return [*(renter.live for renter in self.renters), *miners, self.watcher.watch]

    @property
    def counted(self) -> list[Counter[str]]:
        """What each has done, and how often."""
        return [*(renter.counts for renter in self.renters), *([self.miner.counts] if self.miner else [])]


@dataclass
class Run:
    """What was asked for."""

    folder: Path
    seed: int
    seconds: float
    renters: int
    has_miner: bool
    kinds: tuple[Kind, ...]
    say: Callable[[str], None]
    counts: Counter[str] = field(default_factory=Counter)

    def live(self) -> Report:
        """All of it."""
        faults = plan(self.seed, self.seconds, self.kinds)
        self.say(f"seed {self.seed}: {len(faults)} faults in {self.seconds:.0f} s, in {self.folder}")
        kernels = self.folder.parent / "kernels"
        kernels.mkdir(exist_ok=True)
        warm(self.folder, kernels)
        with system_in(self.folder) as system, self._miner(system, kernels) as miner:
            system.wait(lambda: self._ask_for_epoch(system))
            self.say("the system is up and has proved machines")
            if miner is not None:
                miner.begin()
            load = Load(
                make_renters(system, self.seed, self.renters),
                miner,
                Watcher(system.layout.folder / "validator.sqlite", system.engine_host),
            )
            hits = self._chaos(system, faults, load)
            engine = open_database(f"sqlite:///{system.layout.folder / 'validator.sqlite'}")
            try:
                checks = self._checks(system, engine, load)
            finally:
                engine.dispose()
        for one in load.counted:
            self.counts.update(one)
        return Report(self.seed, self.seconds, hits, dict(self.counts), checks)

    @contextlib.contextmanager
    def _miner(self, system: System, kernels: Path) -> Iterator[Miner | None]:
        if not self.has_miner:
            yield None
            return
        with miner_of(system, kernels) as miner:
            if miner is None:
                self.say(f"nobody brings machines in: a bare machine needs {why_not()}")
            yield miner

    def _chaos(self, system: System, faults: Sequence[Fault], load: Load) -> list[Hit]:
        """Load and faults at once, for the time given."""
        hits: list[Hit] = []
        doer = Faults(system, load.miner.processes if load.miner else list)
        with self._loaded(system, load):
            began = time.monotonic()
            for fault in faults:
                self._wait_until(began + fault.at_s, system)
                if fault.one >= AT_START:
                    began += self._wait_until_up(system)
                hits.append(doer.do(fault))
                self.say(f"fault {fault.number}/{len(faults)}: {fault.kind.value}: {hits[-1].target}")
            self._wait_until(began + self.seconds, system)
        doer.end()
        return hits

    def _wait_until(self, moment: float, system: System) -> None:
        while time.monotonic() < moment:
            if (code := system.keep()) is not None:
                self.say(f"subnet up ended with exit code {code}, and is begun again")
            time.sleep(KEEP_S)

    def _wait_until_up(self, system: System) -> float:
        """Begins of the whole system take long: most faults wait for their end; how long that took."""
        began = time.monotonic()
        while not system.is_up() and time.monotonic() - began < LONGEST_START_S:
            self._wait_until(time.monotonic() + KEEP_S, system)
        return time.monotonic() - began

    @contextlib.contextmanager
    def _loaded(self, system: System, load: Load) -> Iterator[None]:
        """Epochs, renters, the miner and the watcher, each in a thread, until the end of the block."""
        stop = threading.Event()
        works = [*load.lives, lambda stop: self._ask_for_epochs(system, stop)]
        threads = [threading.Thread(target=work, args=(stop,), daemon=True) for work in works]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join(JOIN_S)

    def _ask_for_epochs(self, system: System, stop: threading.Event) -> None:
        while not stop.wait(EPOCH_EVERY_S):
            self._ask_for_epoch(system)

    def _ask_for_epoch(self, system: System) -> None:
        """One run at a time: what is asked for while another runs is cancelled by its deployment."""
        try:
            run_deployment("validate/localnet", system.access)
        except (SubnetError, OSError, ValueError, KeyError):
            self.counts["epoch not asked for, Prefect away"] += 1
        else:
            self.counts["epoch asked for"] += 1

    def _checks(self, system: System, engine: sa.Engine, load: Load) -> list[Check]:
        """Everything to rest, one epoch more, then what is to hold: with the system up, and with it down."""
        self.say("the faults are over: everything is to settle")
        settled_from = datetime.now(UTC)
        waits = settle(system, engine, load.renters, self.say)
        is_out = load.miner is None or load.miner.finish()
        has_epoch = last_epoch(system, engine, lambda: self._ask_for_epoch(system), self.say)
        layout, now = system.layout, datetime.now(UTC)
        settings = layout.settings({})
        hotkey = wallet_of(layout.subnet / "wallets", CAST, CAST.validators[0].name).hotkey.ss58_address
        self.say("checking")
        history = settings.history
        looks: list[tuple[str, Callable[[], Check]]] = [
            ("epochs are closed", lambda: check_epochs.check_closed(history, engine)),
            ("weights", lambda: check_epochs.check_weights(history, engine)),
            ("weights set once", lambda: check_epochs.check_set_once(layout.chain, hotkey, engine)),
            ("history", lambda: check_epochs.check_history(history)),
            ("leased twice", lambda: check_leases.check_not_twice(load.watcher)),
            ("leases", lambda: check_leases.check_wanted(engine, load.renters)),
            ("operations", lambda: check_leases.check_operations(engine)),
            ("events", lambda: check_leases.check_sequence(engine)),
            ("machines", lambda: check_leases.check_machines(engine, system.engine_host)),
            ("ledger", lambda: check_leases.check_ledger(engine)),
            ("charges", lambda: check_leases.check_charges(engine, now)),
            ("flow runs", lambda: check_rest.check_runs(system.access, settled_from)),
        ]
        if (miner := load.miner) is not None:
            looks.append(("miner", lambda: miner.check(is_out=is_out)))
        checks = [
            check("everything settles", 1, "system", waits),
            check("an epoch comes to its end afterwards", 1, "epoch", [] if has_epoch else ["none did"]),
            *(tried(name, look) for name, look in looks),
        ]
        if load.miner is not None:
            load.miner.end_agent()
        engine.dispose()
        self.say("the system is told to stop")
        code = system.end()
        return [
            *checks,
            check_rest.check_databases(layout.folder),
            check_rest.check_nothing_left(system, code),
        ]
