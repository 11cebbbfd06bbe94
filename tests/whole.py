"""One whole local system for the tests that come to it as users do: a first epoch, one that is killed, then `subnet up`.

Its fixtures are of the session, since all of it takes minutes: whoever uses them is of the group `epoch`, and files of that
group are in the order of a life (`test_epoch.py`, `test_epoch_up.py`, `test_epoch_up_pages.py`, `test_epoch_up_then_down.py`).
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

SUBNET = Path(sys.executable).with_name("subnet")
REPOSITORY = Path(__file__).parents[1]
DEADLINE_S = 400.0
NOTICE_S = 5
POLICY = {"base": "localnet", "name": "in a hurry", "renting": {"spot_notice_s": NOTICE_S}}
"""A spot lease is told so long before its end: two minutes are nothing to wait for in a test."""


@pytest.fixture(scope="session")
def whole_folder(tmp_path_factory, request) -> Path:
    """The folder of the whole system; its path has a space, as users' paths do."""
    from tests.local_systems import warm

    folder = tmp_path_factory.mktemp("local system")
    warm(folder, request.config.cache.mkdir("kernels"))
    return folder


@pytest.fixture(scope="session")
def first_epoch(whole_folder) -> dict:
    """What the first epoch on the fresh folder tells programs."""
    return finished(started(whole_folder))


@pytest.fixture(scope="session")
def killed_epoch(first_epoch, whole_folder):
    """An epoch after the first one, killed with SIGKILL in the middle of its proofs."""
    process = started(whole_folder)
    assert until(lambda: phase_is_at_work(whole_folder, "proof") or process.poll() is not None, DEADLINE_S)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)


@pytest.fixture(scope="session")
def whole_up(killed_epoch, whole_folder):
    """`subnet up`, once it has run an epoch."""
    before = newest(whole_folder)
    process = started(whole_folder, "up", settings={"SUBNET_POLICY": str(_hurried_policy(whole_folder))})
    try:
        assert until(lambda: newest(whole_folder) > before or process.poll() is not None, DEADLINE_S)
        assert process.poll() is None, process.communicate()
        yield process
    finally:
        subprocess.run([SUBNET, "down"], cwd=REPOSITORY, env=surroundings(whole_folder), check=True)
        process.wait(60)


def _hurried_policy(folder: Path) -> Path:
    path = folder / "policy.json"
    path.write_text(json.dumps(POLICY), encoding="utf-8")
    return path


def surroundings(folder: Path) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("SUBNET_", "PREFECT_", "NUMBA_"))}
    home = folder / "home"
    home.mkdir(exist_ok=True)
    return {**kept, "SUBNET_FOLDER": str(folder / ".local"), "HOME": str(home)}


def started(folder: Path, *command: str, settings: Mapping[str, str] | None = None) -> subprocess.Popen:
    return subprocess.Popen(
        [SUBNET, *(command or ("epoch", "--json"))],
        cwd=REPOSITORY,
        env={**surroundings(folder), **(settings or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=_hears_ctrl_c,  # noqa: PLW1509  no other thread of the tests starts anything
    )


def _hears_ctrl_c() -> None:
    """As at a terminal, also where the tests run as a job in the background, whose Ctrl-C is another's."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def finished(process: subprocess.Popen) -> dict:
    out, log = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, log
    return json.loads(out)


def processes_of(folder: Path) -> list[str]:
    """Command lines of the processes that still work in this folder."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            told = (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes()
            if entry.name.isdigit() and str(folder).encode() in told:
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found


def until(condition, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.1)
    return bool(condition())


def phase_is_at_work(folder: Path, name: str) -> bool:
    from storage.database import open_database
    from storage.records import EpochState
    from storage.state import State

    database = folder / ".local" / "validator.sqlite"
    if not database.exists():
        return False
    engine = open_database(f"sqlite:///{database}")
    try:
        latest = State(engine).latest_epochs(1)
        phases = State(engine).read_phases(latest[0].header.epoch) if latest else ()
        return bool(latest and latest[0].state is EpochState.OPEN and any(p.name == name for p in phases))
    finally:
        engine.dispose()


def newest(folder: Path) -> int:
    """The number of the archive's last finished epoch."""
    from storage.history import read_table
    from storage.records import EpochState

    told = read_table(folder / ".local" / "history", "epochs", columns=["epoch", "state"])
    return int(told["epoch"][told["state"] == EpochState.FINISHED.value].max())


def typed(folder: Path, line: str, stdin: str | None = None) -> str:
    """What a command prints that succeeds."""
    done = subprocess.run(
        [SUBNET, *shlex.split(line)],
        cwd=REPOSITORY,
        env=surroundings(folder),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 0, f"subnet {line}\n{done.stdout}{done.stderr}"
    return done.stdout
