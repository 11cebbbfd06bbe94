"""The local system's processes: a Prefect server and the world (miners, executors, two more validators).

One stack at a time works in a folder. Whoever has started it holds a lock; a second command finds its addresses
beside the lock and uses it, and a stack whose owner was killed is swept away before a new one starts.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import IO

from deployments.automations import ensure_crash_automation
from deployments.localnet.cast import CAST
from deployments.localnet.engine import EngineMissing, LocalEngine, cards_of, serve_engine
from deployments.localnet.holder import Holder, holder_of, take
from deployments.localnet.layout import Layout
from deployments.localnet.setup import Localnet, prepare
from deployments.prefect_auth import auth_file, make_auth
from deployments.prefect_server import DEFAULT_PORT, PrefectServer, client_environment, launch
from deployments.processes import Child, asked_port, start, tail
from deployments.sites import REPOSITORY
from deployments.supervising import Supervised

WORLD_DEADLINE_S = 180.0
POLL_S = 0.2


@dataclass(frozen=True)
class Stack:
    """A running local system."""

    layout: Layout
    localnet: Localnet
    server: PrefectServer
    world: Child | None
    """None when another command has started it."""
    engine_host: str = ""
    """DOCKER_HOST of the local machines' container engine; empty when this command has started none."""
    kept: tuple[Supervised, ...] = ()
    """What this command has started: `look` at them, and they are begun again when they die."""

    @property
    def environment(self) -> dict[str, str]:
        """What a process of the validator needs to work on this system."""
        ours = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
        return (
            ours
            | client_environment(self.layout.folder, self.server)
            | {"SUBNET_FOLDER": str(self.layout.folder), "NUMBA_CACHE_DIR": str(self.layout.folder / "numba")}
        )


@contextmanager
def local_stack(folder: Path, say: Callable[[str], None], *, is_kept: bool = False) -> Iterator[Stack]:
    """Use the local system that is kept up, or start one and stop it at the end; `is_kept` lets others use it.

    What another command has started for itself alone ends with that command: it is waited for.
    """
    layout = Layout(folder)
    layout.run.mkdir(parents=True, exist_ok=True)
    with (layout.run / "stack.lock").open("a+") as lock:
        kept = _wait_for(lock, layout, say)
        if kept is not None:
            yield _join(kept, layout, say)
            return
        _sweep(layout)
        with _started(layout, say, is_kept=is_kept) as stack:
            yield stack


def _wait_for(lock: IO[str], layout: Layout, say: Callable[[str], None]) -> Holder | None:
    """Whose system can be used; None once the lock is ours."""
    has_said = False
    while not take(lock):
        holder = holder_of(layout)
        if holder is not None and holder.is_kept and holder.is_ready:
            return holder
        if not has_said:
            who = f"process {holder.pid}" if holder else "another command"
            say(f"waiting for {who}, which works in {layout.folder}")
            has_said = True
        time.sleep(POLL_S)
    return None


@contextmanager
def _started(layout: Layout, say: Callable[[str], None], *, is_kept: bool) -> Iterator[Stack]:
    with ExitStack() as stack:
        stack.callback((layout.run / "stack.json").unlink, missing_ok=True)
        server = launch(layout.folder, REPOSITORY, asked_port("SUBNET_PREFECT_PORT", DEFAULT_PORT))
        stack.callback(server.stop)
        _write_holder(layout, _holder(server))
        say("preparing the local subnet: chain, wallets, machines, compiled kernels")
        localnet = prepare(layout.subnet)
        # Only a system that stays up is rented from: an epoch needs no container engine.
        engine = _start_engine(layout, stack, say) if is_kept else None

        def tell() -> None:
            children = [world.child, engine.child] if engine else [world.child]
            _write_holder(layout, replace(_holder(server, *children), is_kept=is_kept, is_ready=True))

        world = Supervised(
            _start_world(layout), partial(_start_world, layout, is_again=True), began_again=tell
        )
        stack.callback(world.stop)
        log = world.child.log
        world.child.wait_until(lambda: "ready" in tail(log), WORLD_DEADLINE_S)
        say(f"local subnet is up: {len(localnet.miners)} miners, {len(localnet.executors)} machines")
        has_engine = engine is not None and _wait_for_engine(engine, say)
        server.wait()
        ensure_crash_automation(client_environment(layout.folder, server))
        tell()
        say(f"Prefect server is up: {server.url}")
        host = engine.place.host if engine and has_engine else ""
        kept = [world, Supervised(_child_of(server), server.begin_again, began_again=tell)]
        if engine and has_engine:
            kept.append(Supervised(engine.child, engine.begin_again, began_again=tell))
        yield Stack(layout, localnet, server, world.child, host, tuple(kept))


def _child_of(server: PrefectServer) -> Child:
    assert server.child is not None  # it was launched here
    return server.child


def _start_engine(layout: Layout, stack: ExitStack, say: Callable[[str], None]) -> LocalEngine | None:
    """Begin to start it; without one everything but renting works, and it is said what is missing."""
    try:
        return stack.enter_context(serve_engine(layout.subnet, cards_of(CAST), layout.logs / "engine.log"))
    except EngineMissing as missing:
        say(f"nothing can be rented here, since there is no container engine: {missing}")
        return None


def _wait_for_engine(engine: LocalEngine, say: Callable[[str], None]) -> bool:
    try:
        say(f"container engine is up: Docker {engine.wait()} at {engine.place.host}")
    except EngineMissing as missing:
        say(f"nothing can be rented here, since there is no container engine: {missing}")
        return False
    return True


def _start_world(layout: Layout, *, is_again: bool = False) -> Child:
    ours = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    return start(
        "local subnet",
        [sys.executable, "-m", "deployments.localnet.world", "--folder", str(layout.subnet)],
        log=layout.logs / "world.log",
        environment=ours | {"NUMBA_CACHE_DIR": str(layout.folder / "numba"), "PYTHONUNBUFFERED": "1"},
        folder=REPOSITORY,
        is_again=is_again,
    )


def _join(holder: Holder, layout: Layout, say: Callable[[str], None]) -> Stack:
    say(f"using the local system of process {holder.pid}: {holder.prefect_url}")
    server = PrefectServer(holder.prefect_url, auth=make_auth(auth_file(layout.folder)))
    return Stack(layout, prepare(layout.subnet), server, None)


def _sweep(layout: Layout) -> None:
    """End what a killed owner has left running; on Linux its children have died with it."""
    holder = holder_of(layout)
    if holder is None:
        return
    for group in holder.children:
        if _is_ours(group, layout):
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(group, signal.SIGKILL)
    (layout.run / "stack.json").unlink(missing_ok=True)


def _is_ours(pid: int, layout: Layout) -> bool:
    """Whether the process still is the one that was started, and not a stranger with its number."""
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False
    return str(layout.folder).encode() in environment


def _holder(server: PrefectServer, *others: Child) -> Holder:
    children = tuple(child.process.pid for child in (server.child, *others) if child is not None)
    return Holder(os.getpid(), server.url, children)


def _write_holder(layout: Layout, holder: Holder) -> None:
    temporary = layout.run / f"stack.json.{os.getpid()}"
    temporary.write_text(json.dumps(asdict(holder)), encoding="utf-8")
    temporary.replace(layout.run / "stack.json")
