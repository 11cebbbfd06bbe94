from __future__ import annotations

import asyncio
import heapq
import itertools

import pytest

from deployments.localnet.fleet.links import HELD_BYTES, TICK_S, Link, Way, Wheel


class Handle:
    """What `call_at` gives."""

    def __init__(self, when, call):
        self._when, self.call = when, call

    def when(self):
        return self._when

    def cancel(self):
        self.call = None


class Clock:
    """A loop's clock that runs as fast as one likes."""

    def __init__(self):
        self.now, self._due, self._order = 0.0, [], itertools.count()

    def time(self):
        return self.now

    def call_at(self, when, call):
        handle = Handle(when, call)
        heapq.heappush(self._due, (when, next(self._order), handle))
        return handle

    def run(self, until):
        while self._due and self._due[0][0] <= until:
            when, _, handle = heapq.heappop(self._due)
            self.now = max(self.now, when)
            if handle.call is not None:
                handle.call()
        self.now = until


class Socket(asyncio.Transport):
    """The near end: what was written to it and when, and whether it is read."""

    def __init__(self, clock):
        super().__init__()
        self._clock, self.written, self.is_read, self.closed_at = clock, [], True, None

    def write(self, data):
        self.written.append((self._clock.now, data))

    def pause_reading(self):
        self.is_read = False

    def resume_reading(self):
        self.is_read = True

    def close(self):
        self.closed_at = self._clock.now

    def is_closing(self):
        return self.closed_at is not None


class Server(asyncio.Protocol):
    """The far end: what it saw and when."""

    def __init__(self, clock):
        self._clock, self.seen, self.transport = clock, [], None

    def connection_made(self, transport):
        self.transport = transport
        self.seen.append((self._clock.now, "made"))
        transport.write(b"banner")

    def data_received(self, data):
        self.seen.append((self._clock.now, bytes(data)))

    def connection_lost(self, _exc):
        self.seen.append((self._clock.now, "lost"))


@pytest.fixture
def clock():
    return Clock()


def _connected(clock, rtt_ms, mbit_s=None):
    socket, server = Socket(clock), Server(clock)
    link = Link(server, Way.of(rtt_ms, mbit_s), Wheel(clock))
    link.connection_made(socket)
    return socket, server, link


def test_a_banner_comes_after_two_round_trips(clock):
    """One and a half are the handshake's, half a one is the banner's own way."""
    socket, server, _ = _connected(clock, rtt_ms=100)
    clock.run(1.0)

    assert server.seen == [(pytest.approx(0.15, abs=TICK_S), "made")]
    assert socket.written == [(pytest.approx(0.2, abs=TICK_S), b"banner")]


def test_an_answer_takes_a_round_trip(clock):
    """Half of it on the way there, half on the way back."""
    socket, server, link = _connected(clock, rtt_ms=100)
    clock.run(1.0)
    link.data_received(b"ask")
    clock.run(1.051)
    server.transport.write(b"answer")
    clock.run(2.0)

    assert server.seen[-1] == (pytest.approx(1.05, abs=TICK_S), b"ask")
    assert socket.written[-1] == (pytest.approx(1.1, abs=2 * TICK_S), b"answer")


def test_bytes_keep_their_order_and_are_none_lost(clock):
    """However they are cut."""
    _, server, link = _connected(clock, rtt_ms=30)
    for number in range(200):
        clock.run(number * 0.0007)
        link.data_received(bytes([number]))
    clock.run(5.0)

    assert b"".join(data for _, data in server.seen[1:]) == bytes(range(200))


def test_what_is_sent_with_the_handshake_is_not_seen_before_it(clock):
    """A client that speaks first is heard when the connection is there."""
    _, server, link = _connected(clock, rtt_ms=100)
    link.data_received(b"SSH-2.0-early")
    clock.run(1.0)

    assert [what for _, what in server.seen] == ["made", b"SSH-2.0-early"]


def test_a_line_takes_its_time_for_bytes(clock):
    """A megabyte over 80 Mbit/s, a tenth of a second each 2^20 bytes, and half a round trip before the first of them."""
    _, server, link = _connected(clock, rtt_ms=100, mbit_s=80)
    clock.run(1.0)
    for _ in range(10):
        link.data_received(bytes(100_000))
    clock.run(3.0)

    assert server.seen[-1][0] == pytest.approx(1.05 + 0.1, abs=2 * TICK_S)


def test_a_slow_line_holds_its_sender_back(clock):
    """Above a megabyte on its way the socket is not read, and is read again when it has got through."""
    socket, _, link = _connected(clock, rtt_ms=20, mbit_s=80)
    clock.run(1.0)
    link.data_received(bytes(HELD_BYTES + 1))
    was_read = socket.is_read
    clock.run(2.0)

    assert not was_read
    assert socket.is_read


def test_a_hang_up_comes_after_the_last_bytes(clock):
    """What was written before `close` is not lost by it."""
    socket, server, _ = _connected(clock, rtt_ms=100)
    clock.run(1.0)
    server.transport.write(b"last words")
    server.transport.close()
    clock.run(2.0)

    assert socket.written[-1] == (pytest.approx(1.05, abs=TICK_S), b"last words")
    assert socket.closed_at == pytest.approx(1.05, abs=TICK_S)


def test_the_far_end_hears_once_that_the_near_one_is_gone(clock):
    """After half a round trip, and nothing after it."""
    _, server, link = _connected(clock, rtt_ms=100)
    clock.run(1.0)
    link.data_received(b"all")
    link.eof_received()
    link.connection_lost(None)
    clock.run(2.0)

    assert [what for _, what in server.seen] == ["made", b"all", "lost"]
    assert server.seen[-1][0] == pytest.approx(1.05, abs=TICK_S)


def test_a_wheel_turns_once_for_all_that_is_due_at_a_tick(clock):
    """In the order given; and what is put in for an earlier time goes first."""
    wheel, done = Wheel(clock), []
    wheel.at(0.5, done.append, "third")
    wheel.at(0.1, done.append, "first")
    wheel.at(0.1, done.append, "second")
    wheel.at(-1.0, done.append, "at once")
    clock.run(1.0)

    assert done == ["at once", "first", "second", "third"]
