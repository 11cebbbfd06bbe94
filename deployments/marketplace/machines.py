"""Sessions to the machines of leases, for what a request waits for: commands, logs; and for what is measured while somebody looks."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime

from deployments.marketplace.market import Desk, Printed
from storage.rental import Rental
from tasks.edges.engine import Output
from tasks.errors import HostAway
from tasks.renting.market import Market
from tasks.renting.meter import Meter, Reading
from tasks.renting.site import Site

LOG_S = 15.0


class MachineConsoles:
    """Opens them through the miners' doors, as the flows do; usable while `opened` is."""

    def __init__(self, open_market: Callable[[], AbstractAsyncContextManager[Market]]) -> None:
        self._open_market = open_market
        self._market: Market | None = None

    @asynccontextmanager
    async def opened(self, desk: Desk) -> AsyncIterator[None]:
        """The outside worlds, in the app's own event loop."""
        del desk
        async with self._open_market() as market:
            self._market = market
            try:
                yield
            finally:
                self._market = None

    async def open(self, rental: Rental, deadline_s: float) -> MachineConsole:
        """A session to the machine of this lease."""
        if self._market is None or rental.access is None:
            raise HostAway("open", "the marketplace is ending")
        site = await self._market.enter(rental.executor_key, deadline_s, lease_id=rental.lease_id)
        return MachineConsole(site, rental.access.container)


class MachineConsole:
    """One container, over one session to its machine; its calls block."""

    def __init__(self, site: Site, container: str) -> None:
        self._site, self._container = site, container
        self._meter: Meter | None = None

    def execute(self, argv: tuple[str, ...], stdin: bytes, timeout_s: float, limit_bytes: int) -> Printed:
        """Run a command inside."""
        deadline = time.monotonic() + timeout_s
        engine = self._site.engine(deadline)
        return _printed(
            engine.execute(self._container, argv, stdin=stdin, limit_bytes=limit_bytes, deadline=deadline)
        )

    def logs(self, tail: int, since: datetime | None, limit_bytes: int) -> Printed:
        """The last lines of its log, each with its time."""
        deadline = time.monotonic() + LOG_S
        engine = self._site.engine(deadline)
        return _printed(
            engine.logs(
                self._container,
                tail=tail,
                since=since,
                has_timestamps=True,
                limit_bytes=limit_bytes,
                deadline=deadline,
            )
        )

    def measure(self, card_uuids: tuple[str, ...], timeout_s: float) -> Reading:
        """What the container and these cards do now."""
        deadline = time.monotonic() + timeout_s
        engine = self._site.engine(deadline)
        if self._meter is None or self._meter.runtime is not engine:
            self._meter = Meter(engine, self._container)
        return self._meter.read(card_uuids, deadline=deadline)

    def close(self) -> None:
        """End the session."""
        self._site.close()


def _printed(output: Output) -> Printed:
    return Printed(output.exit_code, output.stdout, output.stderr, output.truncated)
