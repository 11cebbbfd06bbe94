"""A private Redis for tests: on a loopback port of its own, nothing of it on the disk, ended with the block."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from deployments.processes import free_port
from tests.engines import skip_or_fail


@contextmanager
def redis() -> Iterator[str]:
    """Its address, without a database's number; the test that asks is skipped where there is no redis-server."""
    program = shutil.which("redis-server", path="/usr/local/bin:/usr/bin:/bin")
    if program is None:
        skip_or_fail("there is no Redis here: apt install redis-server")
    port = free_port(0)
    words = ["--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no", "--dir", "/"]
    server = subprocess.Popen([program, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait(port)
        yield f"redis://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


def _wait(port: int) -> None:

    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("Redis did not start")
