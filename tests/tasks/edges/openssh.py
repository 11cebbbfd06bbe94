"""OpenSSH's own server on loopback, for tests: one of a folder, with this authorized_keys text."""

from __future__ import annotations

import base64
import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.records import Executor
from tasks.edges.shell import EpochKey, Shell, ShellSession
from tasks.errors import HostAway
from tests.tasks.edges.honest import Host

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/bin:/sbin")

needs_sshd = pytest.mark.skipif(
    SSHD is None and not os.environ.get("CI"),
    reason="no OpenSSH server on this machine: apt-get install openssh-server",
)


@contextlib.contextmanager
def openssh(folder: Path, authorized: str, **more: str) -> Iterator[Executor]:
    """The machine whose sshd lets in whom this text says, and runs what is asked as the user of this process."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "host"], check=True)
    (folder / "authorized").write_text(authorized)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    host = Host(port, base64.b64decode((folder / "host.pub").read_text().split()[1]), folder)
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(_command(folder, port, more), stderr=log) as server,
    ):
        try:
            _await_listener(port)
            yield host.executor(user=pwd.getpwuid(os.geteuid()).pw_name)
        finally:
            server.terminate()


def _command(folder: Path, port: int, more: dict[str, str]) -> list[str]:
    options = {
        "ListenAddress": f"127.0.0.1:{port}",
        "HostKey": folder / "host",
        "AuthorizedKeysFile": folder / "authorized",
        "PidFile": folder / "pid",
        "StrictModes": "no",
        "PermitRootLogin": "prohibit-password",
        "LogLevel": "INFO",
    }
    flags = [part for name, value in (options | more).items() for part in ("-o", f"{name}={value}")]
    return [str(SSHD), "-D", "-e", "-f", "/dev/null", *flags]


def _await_listener(port: int) -> None:
    until = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.02)
        else:
            return


def let_in(executor: Executor, key: EpochKey) -> ShellSession:
    """A session there, opened within ten seconds."""
    return Shell().open(executor, key, deadline=time.monotonic() + 10)


def code_of_login(executor: Executor, key: EpochKey) -> str:
    """`in`, or the phase in which the server had enough."""
    try:
        let_in(executor, key).close()
    except HostAway as error:
        return error.phase
    return "in"
