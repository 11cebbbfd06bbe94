"""Thousands of sessions in one thread: waiting for a socket lets the others of the thread go on (gevent).

A session is then a stack of a few kilobytes and no thread, nobody competes for the interpreter, and starting many at
once costs no more than starting them one by one. Only what waits in this module lets others go on: a call that blocks
otherwise blocks all sessions of its thread.
"""

from __future__ import annotations

import socket
from functools import partial

import gevent
from gevent.hub import get_hub
from gevent.lock import BoundedSemaphore

from tasks.edges.bounded import For, Wait
from tasks.edges.shell import Pacer, Shell, ShellSettings

_EVENTS = {For.READING: 1, For.WRITING: 2}
"""libev's numbers."""


def wait(sock: socket.socket, what: For, timeout_s: float) -> None:
    """Let the other sessions of this thread go on until the socket is ready, or the time is over."""
    hub, current = get_hub(), gevent.getcurrent()
    watcher = hub.loop.io(sock.fileno(), _EVENTS[what])
    timer = hub.loop.timer(max(0.0, timeout_s))
    try:
        watcher.start(current.switch)
        timer.start(current.switch)
        hub.switch()
    finally:
        watcher.close()
        timer.close()


def green_shell(settings: ShellSettings, how: Wait = wait) -> Shell:
    """A shell for the sessions of one thread."""
    pacer = Pacer(
        settings.starts_per_s,
        settings.max_handshakes,
        sleep=gevent.sleep,
        places=partial(BoundedSemaphore, settings.max_handshakes),
    )
    return Shell(settings, pacer, how)
