"""Server-sent events: what happens to leases, what their programs print, what they use, as it comes.

Each feed is bounded in time, and each key in feeds; a key that is revoked ends its feeds within a few seconds. A client that goes
away ends the generator, which lets go of whatever it holds.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime
from functools import partial
from time import monotonic

from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from deployments.marketplace import views
from deployments.marketplace.console import LogRead, LogTail, follow_console
from deployments.marketplace.guard import Caller
from deployments.marketplace.market import Desk
from deployments.marketplace.problems import Refused, problem_of
from storage.health import Metric
from storage.rental import LeaseEvent, Rental, RentalState
from tasks.errors import SubnetError
from tasks.renting.api_keys import ended
from tasks.renting.moves import CLOSED

BATCH = 200
CHUNK_CHARACTERS = 64 << 10
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
Pieces = AsyncIterator[bytes]


def told(kind: str, data: object, name: str = "") -> bytes:
    """One event, as the stream has it."""
    text = data if isinstance(data, str) else json.dumps(data)
    lines = "".join(f"data: {line}\n" for line in text.split("\n"))
    known_as = f"id: {name}\n" if name else ""
    return f"{known_as}event: {kind}\n{lines}\n".encode()


def alive() -> bytes:
    """A comment: the connection is."""
    return b": alive\n\n"


def respond(desk: Desk, caller: Caller, pieces: Pieces) -> StreamingResponse:
    """The feed, if its key may have one more."""
    limits, key_id, renter_id = desk.market.limits, caller.key.key_id, caller.renter_id
    if not desk.renters_streams.enter(renter_id):
        raise _too_many(f"you have {limits.streams_per_renter} feeds open, or too many are open in all")
    if not desk.streams.enter(key_id):
        desk.renters_streams.leave(renter_id)
        raise _too_many(f"this key has {limits.streams_per_key} feeds open, or too many are open in all")

    def leave() -> None:
        desk.streams.leave(key_id)
        desk.renters_streams.leave(renter_id)

    return _Feed(leave, _until_refused(pieces))


def _too_many(detail: str) -> Refused:
    return Refused(429, "TOO_MANY_FEEDS", detail, "close one", headers={"Retry-After": "5"})


def refusal(refused: Refused) -> StreamingResponse:
    """A feed that says why there is none: of a status a browser's reader of feeds learns nothing."""

    async def one() -> Pieces:
        yield _end_of(refused)

    return StreamingResponse(one(), media_type="text/event-stream", headers=_HEADERS)


class _Feed(StreamingResponse):
    """A feed that is counted until its connection is over: of a client that is gone at once not one piece is asked for."""

    def __init__(self, leave: Callable[[], None], pieces: Pieces) -> None:
        super().__init__(pieces, media_type="text/event-stream", headers=_HEADERS)
        self._leave = leave

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it, and let another one in."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._leave()


async def _until_refused(pieces: Pieces) -> Pieces:
    """The pieces, and why they end."""
    try:
        yield alive()
        async for piece in pieces:
            yield piece
    except SubnetError as error:
        yield _end_of(problem_of(error))
    finally:
        await pieces.aclose()  # type: ignore[attr-defined]  # a generator's


class _Turn:
    """When a feed says that it is alive, when it looks whether its key is, and when it ends."""

    def __init__(self, desk: Desk, caller: Caller, why_over: Callable[[], str] | None = None) -> None:
        self._desk, self._caller, self._why_over = desk, caller, why_over
        now = monotonic()
        self.end_s = now + desk.market.limits.stream_s
        self._next_beat_s = now + desk.market.limits.heartbeat_s
        self._next_check_s = now + desk.market.limits.key_check_s

    @property
    def is_over(self) -> bool:
        """Whether it has lasted as long as it may."""
        return monotonic() >= self.end_s

    def beat(self, *, has_spoken: bool) -> bytes:
        """A sign of life if it is time for one; nothing else."""
        now = monotonic()
        if not has_spoken and now < self._next_beat_s:
            return b""
        self._next_beat_s = now + self._desk.market.limits.heartbeat_s
        return b"" if has_spoken else alive()

    async def check_key(self) -> str:
        """Why the key, or who came with it, opens nothing any more; empty: it does, or it is not time to look."""
        if monotonic() < self._next_check_s:
            return ""
        self._next_check_s = monotonic() + self._desk.market.limits.key_check_s
        return await run_in_threadpool(self._look)

    def _look(self) -> str:
        found = self._desk.stores.renters.key(self._caller.key.key_id)
        why = ended(found[0], self._desk.market.now()) if found else "the API key is gone"
        return why or (self._why_over() if self._why_over else "")


async def lease_events(desk: Desk, caller: Caller, after: int, lease_id: str = "") -> Pieces:
    """What happens to one lease, or to all of the caller's, from an event's number on; it ends with the lease."""
    turn, sequence = _Turn(desk, caller), after
    async with desk.pulse.listen(caller.renter_id, caller.key.key_id) as ear:
        is_closed = False
        while not turn.is_over:
            events = await run_in_threadpool(
                desk.stores.events.after, sequence, lease_id=lease_id, renter_id=caller.renter_id, limit=BATCH
            )
            for event in events:
                sequence = event.sequence
                yield _lease_event(event)
            if len(events) == BATCH or (events and lease_id):
                continue
            if lease_id and not is_closed and await _is_closed(desk, lease_id):
                is_closed = True  # its last events may have come since they were read: they are told first
                continue
            if is_closed:
                yield told(
                    "end", {"code": "LEASE_OVER", "detail": "the lease is over: nothing more happens to it"}
                )
                return
            if ear.ended:
                yield told("end", {"code": "KEY_ENDED", "detail": ear.ended})
                return
            while not await ear.hears(desk.market.limits.heartbeat_s) and not turn.is_over:
                yield alive()


async def log_lines(
    desk: Desk,
    caller: Caller,
    lease: Rental,
    tail: int,
    since: datetime | None,
    *,
    has_times: bool,
    behind_ns: int = -1,
    cleaned: Callable[[str], str] = str,
    why_over: Callable[[], str] | None = None,
) -> Pieces:
    """What the lease's program prints, over one session, until the container stands still.

    `behind_ns`: only what was printed later than this; the event of a last piece is known by it. `why_over`: looked at
    together with the key.
    """
    turn = _Turn(desk, caller, why_over)
    lines = LogTail(has_times=has_times, behind_ns=behind_ns, cleaned=cleaned)
    renter_id, limits = caller.renter_id, desk.market.limits
    ask = partial(lines.read, tail, since, limits.log_bytes)
    async with follow_console(desk, renter_id, lease) as console:
        while not turn.is_over:
            begun_s = monotonic()
            read = await console.call_within(desk.follower_reads, renter_id, ask)
            took_s = monotonic() - begun_s
            for piece in _log_pieces(read) if read else ():
                yield piece
            if beat := turn.beat(has_spoken=bool(read and read.text)):
                yield beat
            if why := await turn.check_key():
                yield told("end", {"code": "KEY_ENDED", "detail": why})
                return
            found = await run_in_threadpool(desk.stores.rentals.get, lease.lease_id)
            is_read = read is not None and not read.text
            if is_read and (found is None or found.state is not RentalState.ACTIVE):
                yield told("end", {"code": "NOT_RUNNING", "detail": "the container stands still"})
                return
            # whoever's machine is slow leaves room for others
            await asyncio.sleep(max(limits.poll_s, min(took_s, limits.key_check_s)))


async def samples(desk: Desk, caller: Caller, lease_id: str, since: datetime | None) -> Pieces:
    """What a lease uses, as it is measured, which is every few seconds as long as the feed is open; it ends with the lease."""
    turn = _Turn(desk, caller)
    newest = since or desk.market.now()
    while not turn.is_over:
        found, is_closed = await run_in_threadpool(_newer_samples, desk, lease_id, newest)
        for one in found:
            newest = one.at
            yield told("metrics", views.sample(one).model_dump_json())
        if beat := turn.beat(has_spoken=bool(found)):
            yield beat
        if why := await turn.check_key():
            yield told("end", {"code": "KEY_ENDED", "detail": why})
            return
        if not found and is_closed:
            yield told("end", {"code": "LEASE_OVER", "detail": "the lease is over"})
            return
        await asyncio.sleep(desk.market.limits.poll_s)


def _newer_samples(desk: Desk, lease_id: str, newest: datetime) -> tuple[tuple[Metric, ...], bool]:
    """What was measured since, and whether the lease is closed; whoever asks looks at it."""
    lease = desk.stores.rentals.get(lease_id)
    if lease is not None:
        desk.samplers.look(lease)
    return desk.stores.health.metrics(lease_id, newest, BATCH), lease is None or lease.state in CLOSED


def _log_pieces(read: LogRead) -> Iterator[bytes]:
    """What was read, in events of a bounded size; by the last of them it is known where to go on."""
    for start in range(0, len(read.text), CHUNK_CHARACTERS):
        end = start + CHUNK_CHARACTERS
        name = str(read.behind_ns) if end >= len(read.text) and read.behind_ns >= 0 else ""
        yield told("log", {"text": read.text[start:end], "truncated": read.is_truncated}, name)


def _end_of(refused: Refused) -> bytes:
    return told("end", {"code": refused.code, "detail": refused.detail})


def _lease_event(event: LeaseEvent) -> bytes:
    return told("lease", views.event(event).model_dump_json(), str(event.sequence))


async def _is_closed(desk: Desk, lease_id: str) -> bool:
    found = await run_in_threadpool(desk.stores.rentals.get, lease_id)
    return found is None or found.state in CLOSED
