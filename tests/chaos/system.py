"""The system under chaos: `subnet up` in a folder of its own, begun again when it dies, as a unit of systemd's would be."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from deployments.localnet.engine_place import place_of
from deployments.localnet.layout import Layout
from deployments.prefect_auth import auth_file, read_auth
from deployments.prefect_server import PrefectServer
from deployments.renting.account import Market
from tests.chaos.processes import Process, processes_of
from tests.local_systems import REPOSITORY, SUBNET, LocalSystem, environment_of, own_ports, wait_until

UP_S, END_S = 1_200.0, 120.0
AGAIN_S, ASK_S = 1.0, 60.0


@dataclass
class System:
    """One that is kept up until it is ended."""

    folder: Path
    ports: dict[str, str] = field(default_factory=own_ports)
    _process: subprocess.Popen[bytes] | None = None
    _begun_at: float = 0.0

    @property
    def layout(self) -> Layout:
        """Where everything of it lies."""
        return Layout(self.folder / ".local")

    @property
    def local(self) -> LocalSystem:
        """What commands are typed to."""
        return LocalSystem(self.layout.folder)

    @property
    def market(self) -> Market:
        """Its marketplace's address, also while it is down."""
        return Market(f"http://127.0.0.1:{self.ports['SUBNET_MARKET_PORT']}", self.folder / "no-key")

    @property
    def access(self) -> dict[str, str]:
        """What a client of its Prefect server has in its environment, also while it is down."""
        told = json.loads((self.layout.run / "stack.json").read_text(encoding="utf-8"))
        return PrefectServer(str(told["prefect_url"]), auth=read_auth(auth_file(self.layout.folder))).access

    @property
    def engine_host(self) -> str:
        """DOCKER_HOST of its machines' engine."""
        return place_of(self.layout.subnet).host

    @property
    def owner(self) -> int:
        """Process id of `subnet up`."""
        assert self._process is not None
        return self._process.pid

    def processes(self) -> list[Process]:
        """All that live now."""
        return processes_of(self.layout.folder)

    def begin(self) -> None:
        """Start it; what it prints is in `up.log`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._begun_at = time.time()
        with (self.folder / "up.log").open("ab") as log:
            self._process = subprocess.Popen(
                [SUBNET, "up"],
                env=environment_of(self.layout.folder) | self.ports,
                cwd=REPOSITORY,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def keep(self) -> int | None:
        """Begin it again when it has ended: with which exit code; None while it lives."""
        assert self._process is not None
        code = self._process.poll()
        if code is not None:
            time.sleep(AGAIN_S)
            self.begin()
        return code

    def wait(self, ask: Callable[[], None]) -> None:
        """Until an epoch has proved machines and the marketplace offers them; `ask` asks for one more epoch."""
        asked = time.monotonic()

        def has_offers() -> bool:
            nonlocal asked
            if self.keep() is not None or not self.is_up():
                asked = time.monotonic()
                return False
            if time.monotonic() - asked > ASK_S:
                asked = time.monotonic()
                ask()
            return self.local.has_offers()

        wait_until(has_offers, UP_S, 0.5)

    def is_up(self) -> bool:
        """Whether it has told where its marketplace is, since its last begin."""
        file = self.layout.run / "market.json"
        return file.exists() and file.stat().st_mtime >= self._begun_at

    @property
    def is_alive(self) -> bool:
        """Whether `subnet up` runs."""
        return self._process is not None and self._process.poll() is None

    def end(self) -> int:
        """Stop it as a person does; its exit code, or -9 when it had to be killed."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


@contextlib.contextmanager
def system_in(folder: Path) -> Iterator[System]:
    """A system that is up; whatever is left of it at the end of the block is killed."""
    system = System(folder)
    system.begin()
    try:
        yield system
    finally:
        if system.is_alive:
            system.end()
        for one in processes_of(system.layout.folder):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(one.pid, signal.SIGKILL)
