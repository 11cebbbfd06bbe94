"""Letting everything come to rest once the faults are over, for a bounded time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import httpx
import sqlalchemy as sa
from prefect.exceptions import PrefectException

from storage.errors import StorageError
from storage.records import EpochState
from storage.state import State
from tasks.errors import SubnetError
from tests.chaos.check_leases import open_work
from tests.chaos.check_rest import under_way
from tests.chaos.renters import Renter
from tests.chaos.system import UP_S, System

SETTLE_S = 480.0
LOOK_S = 2.0
EPOCH_S = 300.0


def settle(
    system: System, engine: sa.Engine, renters: Sequence[Renter], say: Callable[[str], None]
) -> list[str]:
    """End most leases, and wait until nothing moves any more; what still does after so long."""
    since = datetime.now(UTC)
    _wait_for_market(system, say)
    end = time.monotonic() + SETTLE_S
    finished: set[str] = set()
    waits = ["nothing was looked at"]
    told = ""
    while waits and time.monotonic() < end:
        if (code := system.keep()) is not None:
            say(f"subnet up ended with exit code {code}, and is begun again")
        waits = [f"{one.name} has not ended its leases" for one in renters if not _finish(one, finished)]
        waits += _tried(lambda: open_work(engine, datetime.now(UTC)))
        waits += _tried(lambda: [f"run {r.name} is under way" for r in under_way(system.access, since)])
        waits += _tried(lambda: _open_epochs(engine))
        if (now := f"{len(waits)} things go on, e.g. {waits[0]}" if waits else "all is settled") != told:
            told = now
            say(now)
        if waits:
            time.sleep(LOOK_S)
    return waits


def _wait_for_market(system: System, say: Callable[[str], None]) -> None:
    """The time to settle begins when it is up: a start may take minutes beside much else."""
    end = time.monotonic() + UP_S
    while time.monotonic() < end and not _answers(system.market.url):
        if (code := system.keep()) is not None:
            say(f"subnet up ended with exit code {code}, and is begun again")
        time.sleep(LOOK_S)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/v1/health", timeout=5.0, trust_env=False).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


def last_epoch(
    system: System, engine: sa.Engine, ask: Callable[[], None], say: Callable[[str], None]
) -> bool:
    """One more epoch, without a fault, to its end; whether it came."""
    newest = max((s.header.epoch for s in State(engine).latest_epochs(1)), default=-1)
    end, asked_at = time.monotonic() + EPOCH_S, 0.0
    say("one more epoch, without faults")
    while time.monotonic() < end:
        system.keep()
        if time.monotonic() > asked_at + 20:
            asked_at = time.monotonic()
            ask()
        state = State(engine)
        latest = [s for s in state.latest_epochs(1) if s.header.epoch > newest]
        if any(s.state is EpochState.FINISHED and state.is_archived(s.header.epoch) for s in latest):
            return True
        time.sleep(LOOK_S)
    return False


def _finish(renter: Renter, finished: set[str]) -> bool:
    """Whether this renter has ended its leases, but one of the first one's."""
    if renter.name not in finished:
        try:
            renter.finish(keep=1 if renter.name.endswith("0") else 0)
        except SubnetError:
            return False
        finished.add(renter.name)
    return True


def _tried(look: Callable[[], list[str]]) -> list[str]:
    try:
        return look()
    except (StorageError, OSError, ValueError, KeyError, httpx.HTTPError, PrefectException) as error:
        return [f"a look failed: {type(error).__name__}: {str(error)[:120]}"]


def _open_epochs(engine: sa.Engine) -> list[str]:
    return [
        f"epoch {s.header.epoch} is open"
        for s in State(engine).latest_epochs(3)
        if s.state is EpochState.OPEN
    ]
