"""The keeper of sessions: started, and ended with all that it holds."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

from tasks.onboarding.changing.filing import put_file
from tasks.onboarding.changing.journal import Change, Entry, Failed, Left, Work
from tasks.onboarding.changing.system import (
    delete,
    end_all,
    is_program,
    is_systemd,
    owner_of,
    parent_of,
    processes,
    run,
    tool,
)

KEEPER_S = 10.0


def start_keeper(wanted: Change, work: Work) -> list[str]:
    """The keeper runs, by systemd where there is one, and with its files as they are."""
    program, unit = wanted["program"], wanted["unit"]
    if not os.access("/usr/bin/python3", os.X_OK):
        raise Failed("PYTHON_MISSING", "the keeper needs /usr/bin/python3")
    done = put_file({"path": unit, "text": wanted["text"], "mode": 0o644}, work) if is_systemd() else []
    begun, now = work.journal.find("keeper", program), digest_of(wanted["reads"])
    running = keepers(program)
    is_up = running and answers(wanted["socket"]) and is_enabled(unit)
    if not done and begun and begun["started_with"] == now and is_up:
        return []
    if work.is_dry:
        return [program]
    folder = str(Path(wanted["socket"]).parent)
    entry = work.journal.note("keeper", program, unit=unit, run=folder, uids=wanted["uids"], started_with="")
    launch(program, unit, running)
    end = time.monotonic() + KEEPER_S
    while not (set(keepers(program)) - set(running) and answers(wanted["socket"])):
        if time.monotonic() > end:
            raise Failed("KEEPER_SILENT", f"{program} does not answer")
        time.sleep(0.05)
    entry["started_with"] = now
    work.journal.save()
    return [program]


def launch(program: str, unit: str, running: list[int]) -> None:
    """Start it, in the place of one that runs; sessions go on."""
    if is_systemd():
        name = Path(unit).name
        for words in (["daemon-reload"], ["enable", name], ["restart", name]):
            tool(["systemctl", "--quiet", *words])
        return
    for pid in running:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    none = subprocess.DEVNULL
    subprocess.Popen(  # noqa: S603  the keeper's own path
        [program, "serve"], stdin=none, stdout=none, stderr=none, start_new_session=True, cwd="/"
    )


def digest_of(paths: list[str]) -> str:
    """Of what these files hold."""
    told = hashlib.blake2s()
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            told.update(Path(path).read_bytes())
    return told.hexdigest()


def undo_keeper(entry: Entry) -> Left:
    """Stopped, with every session."""
    if is_systemd():
        run(["systemctl", "--quiet", "disable", "--now", Path(entry["unit"]).name])
    first, number = entry["uids"]
    end_all(lambda pid: is_program(pid, entry["key"]) or first <= owner_of(pid) < first + number)
    delete(entry["run"])
    return []


def keepers(program: str) -> list[int]:
    """The keeper, without its holders: these are its children, and have its words."""
    found = {pid for pid in processes() if is_program(pid, program)}
    return [pid for pid in found if parent_of(pid) not in found]


def answers(path: str) -> bool:
    """Whether somebody listens at this socket."""
    with socket.socket(socket.AF_UNIX) as door:
        try:
            door.connect(path)
        except OSError:
            return False
    return True


def is_enabled(unit: str) -> bool:
    """Whether it comes up with the machine, where there is a systemd for that."""
    return not is_systemd() or run(["systemctl", "is-enabled", "--quiet", Path(unit).name]).returncode == 0
