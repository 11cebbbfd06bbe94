"""A hand: it does what the foreman says, a greenlet for every machine, until its link ends.

serve(sock)     over one connected socket; returns when the foreman has gone
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import ssl
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import gevent
from gevent.event import AsyncResult, Event
from gevent.socket import wait_read, wait_write

from storage.records import HostReport
from tasks.crew import frames
from tasks.crew.gates import HandWave
from tasks.crew.orders import (
    YES,
    Alive,
    Answer,
    Ask,
    AtGate,
    Begin,
    BeginWave,
    DoProofs,
    DoVisits,
    Hello,
    Keep,
    OpenGate,
    Order,
    Proved,
    Proving,
    Stepped,
    Told,
    Visit,
    Visited,
    decode,
    encode,
    encode_reports,
    encode_verdicts,
)
from tasks.crew.station import Station, Suspect, Worker
from tasks.errors import LeftBehind
from tasks.inspection.ours import carried_over, is_late, our_fault
from tasks.inspection.visit import visit
from tasks.proof.busy import Notary
from tasks.proof.proving import Occasion, Talked, prove_machine, verdicts_of

_log = logging.getLogger("subnet.hand")
ALIVE_S = 1.0
BREATH_S = 0.05
"""Steps of machines are told together, so often."""
READ_BYTES = 1 << 18


def serve(sock: socket.socket, suspect: Suspect | None = None) -> None:
    """Be a hand on this connection; returns when the other side has gone."""
    sock.setblocking(False)  # noqa: FBT003  the socket's own name
    _Hand(sock, suspect or Suspect()).run()


class _Hand:
    def __init__(self, sock: socket.socket, suspect: Suspect) -> None:
        self._sock, self._suspect = sock, suspect
        self._outbox: list[bytes] = []
        self._has_mail: Any = Event()
        self._questions: dict[int, Any] = {}
        self._asked = self._steps = self._machines = 0
        self._station: Station | None = None
        self._begin: Begin | None = None
        self._waves: dict[int, tuple[BeginWave, HandWave]] = {}
        self._provers: dict[str, Worker] = {}
        """The greenlets of the wave's machines."""
        self._workers: set[Any] = set()

    def run(self) -> None:
        helpers = [gevent.spawn(self._write), gevent.spawn(self._live), gevent.spawn(self._tell_steps)]
        self._tell(Hello(os.getpid()))
        try:
            while (received := self._read()) is not None:
                self._do(*received)
        except OSError:
            pass  # the foreman died: so do we
        finally:
            gevent.killall([*helpers, *self._workers], block=True, timeout=2.0)
            if self._station is not None:
                self._station.release_but(())

    # --- the link ----------------------------------------------------------------------------------

    def _tell(self, told: Any, body: bytes = b"") -> None:
        self._outbox.append(frames.pack(encode(Told, told), body))
        self._has_mail.set()

    def _write(self) -> None:
        while True:
            self._has_mail.wait()
            self._has_mail.clear()
            mail, self._outbox = memoryview(b"".join(self._outbox)), []
            while mail:
                try:
                    mail = mail[self._sock.send(mail) :]
                except (BlockingIOError, ssl.SSLWantWriteError):
                    wait_write(self._sock.fileno())
                except OSError:
                    return  # the reader finds out

    def _read(self) -> tuple[Any, memoryview] | None:
        header = self._take(frames.HEADER_BYTES)
        if header is None:
            return None
        head_bytes, body_bytes = frames.sizes(bytes(header))
        content = self._take(head_bytes + body_bytes)
        if content is None:
            return None
        return decode(Order, content[:head_bytes]), content[head_bytes:]

    def _take(self, size: int) -> memoryview | None:
        got, view_at = bytearray(size), 0
        with memoryview(got) as view:
            while view_at < size:
                try:
                    count = self._sock.recv_into(view[view_at:], min(READ_BYTES, size - view_at))
                except (BlockingIOError, ssl.SSLWantReadError):
                    wait_read(self._sock.fileno())
                    continue
                if not count:
                    return None
                view_at += count
        return memoryview(got)

    def _live(self) -> None:
        while True:
            due = time.monotonic() + ALIVE_S
            gevent.sleep(ALIVE_S)
            self._tell(Alive(max(0.0, time.monotonic() - due)))

    def _tell_steps(self) -> None:
        while True:
            gevent.sleep(BREATH_S)
            if self._steps:
                steps, self._steps = self._steps, 0
                self._tell(Stepped(steps))

    def _ask(self, what: Any, lines: tuple[str, ...]) -> str:
        self._asked += 1
        number, answer = self._asked, AsyncResult()
        self._questions[number] = answer
        self._tell(Ask(number, what, lines))
        return str(answer.get())

    # --- what is asked of us -----------------------------------------------------------------------

    def _do(self, order: Any, body: memoryview) -> None:
        match order:
            case Begin():
                self._begin, self._station = order, Station(order, self._ask, self._suspect)
                self._spawn(self._station.keep_pace)
            case DoVisits():
                self._spawn(self._visits, order, decode(tuple[Visit, ...], body))
            case Keep():
                self._keep(order)
            case BeginWave():
                wave = HandWave(
                    order.wave, order.members, order.limits_s, self._tell_gate, hurried=order.hurried
                )
                self._waves = {order.wave: (order, wave)}
            case DoProofs():
                self._spawn(self._proofs, order, decode(tuple[Proving, ...], body))
            case OpenGate():
                if order.wave in self._waves:
                    self._go_on_without(self._waves[order.wave][1].open(order.gate))
            case Answer():
                self._questions.pop(order.number).set(order.value)

    def _go_on_without(self, left_behind: Iterable[str]) -> None:
        """Nothing is waited for that would come too late."""
        for key in left_behind:
            if (worker := self._provers.pop(key, None)) is not None:
                worker.kill(LeftBehind(), block=False)

    def _tell_gate(self, standing: AtGate) -> None:
        self._tell(standing)

    def _spawn(self, work: Any, *args: Any) -> Any:
        return self._start(Worker(work, *args))

    def _start(self, worker: Any) -> Any:
        self._workers.add(worker)
        worker.rawlink(self._workers.discard)
        worker.start()
        return worker

    def _machine(self, number: int, work: Any, *args: Any) -> Any:
        """A greenlet for a machine, which is named by this number when it has to be named."""
        worker = Worker(work, *args)
        worker.number = number
        return self._start(worker)

    def _keep(self, order: Keep) -> None:
        station = self._at_work
        if order.is_rest_closed:
            station.release_but(order.keys)
        else:
            station.release(order.keys)

    @property
    def _at_work(self) -> Station:
        if self._station is None:
            raise AssertionError("the first order is to begin")
        return self._station

    def _visits(self, order: DoVisits, visits: Sequence[Visit]) -> None:
        station, until = self._at_work, time.monotonic() + order.left_s
        station.admit({v.executor.key: v.access for v in visits})
        station.patience.expect(len(visits))
        first = order.number << 16
        workers = [self._machine(first + i, self._visit, v, until) for i, v in enumerate(visits, 1)]
        for worker, wanted in zip(workers, visits, strict=True):
            worker.is_visit, worker.is_hurried = True, wanted.is_hurried
        gevent.joinall(workers)
        reports: Iterable[HostReport] = (worker.value for worker in workers)
        self._tell(Visited(order.number), encode_reports(tuple(reports)))

    def _visit(self, wanted: Visit, until: float) -> HostReport:
        station, executor = self._at_work, wanted.executor
        try:
            with station.turn(until) as is_ours:
                left_s = until - station.clock()
                if not is_ours or left_s <= 0.0:
                    return carried_over(executor)
                measures = wanted.measures_bandwidth
                report = visit(station, executor, wanted.record, until, measures_bandwidth=measures)
                # Whose time the phase's end has cut was not late.
                is_cut = left_s < station.policy.inspection.session_deadline_s
                return carried_over(executor) if is_cut and is_late(report) else report
        except Exception as error:  # noqa: BLE001  a machine that finds a fault of ours costs only itself
            _log.exception("the visit to %s failed", executor.key)
            return our_fault(executor, error)
        finally:
            station.patience.end(gevent.getcurrent(), station.clock())
            self._steps += 1

    def _proofs(self, order: DoProofs, provings: Sequence[Proving]) -> None:
        station, begin = self._at_work, self._begin
        assert begin is not None
        told, gates = self._waves[order.wave]
        station.admit({p.executor.key: p.access for p in provings})
        notary = Notary(
            sign=partial(station.ask, "sign"),
            is_signed_by=lambda text, hotkey: station.ask("signed", (text, hotkey)) == YES,
            permitted=frozenset(begin.permitted),
            now=time.time,
            is_ours_elsewhere=lambda key: station.ask("elsewhere", (key,)) == YES,
        )
        occasion = Occasion(begin.netuid, begin.own_hotkey, told.block, told.block_hash, told.attempt, notary)
        first = order.number << 16
        workers = [
            self._machine(first + i, self._prove, occasion, gates, proving)
            for i, proving in enumerate(provings, 1)
        ]
        mine = dict(zip((p.executor.key for p in provings), workers, strict=True))
        self._provers |= mine
        gevent.joinall(workers)
        for key in mine:
            self._provers.pop(key, None)
        station.release(p.executor.key for p in provings)
        self._suspect.note(0)
        verdicts = verdicts_of([w.value for w in workers if w.value is not None], station.policy)
        bare = encode_verdicts([replace(v, transcript=b"") for v in verdicts])
        transcripts = [v.transcript for v in verdicts]
        head = Proved(order.number, len(bare), tuple(map(len, transcripts)))
        self._tell(head, b"".join((bare, *transcripts)))

    def _prove(self, occasion: Occasion, gates: HandWave, proving: Proving) -> Talked | None:
        key = proving.executor.key
        try:
            return prove_machine(self._at_work, occasion, gates, proving, secrets.token_bytes)
        except Exception:  # noqa: BLE001  a machine that finds a fault of ours costs only itself
            _log.exception("the proof of %s failed", key)
            return None
        finally:
            gates.leave(key)
            self._steps += 1
