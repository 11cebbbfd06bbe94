from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from deployments.localnet.fleet.__main__ import command
from deployments.localnet.fleet.running import sessions_for
from tasks.errors import SettingError

REPOSITORY = Path(__file__).parents[4]
COMMAND = [sys.executable, "-m", "deployments.localnet.fleet"]


def _environment(folder):
    return os.environ | {"SUBNET_FOLDER": str(folder), "PYTHONUNBUFFERED": "1"}


def _left(folder):
    """Processes that know of this folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if path.name != str(os.getpid()) and str(folder).encode() in (path / "environ").read_bytes():
                found.append((path / "cmdline").read_bytes())
    return found


@pytest.mark.long
def test_an_epoch_over_a_fleet_tells_what_it_took(tmp_path):
    """All are proved far away, every side is measured, and nothing runs on afterwards."""
    command = [*COMMAND, "--executors", "12", "--rtt", "50", "--wait", "0-1", "--json"]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=REPOSITORY, env=_environment(tmp_path), check=False
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    steps = {step["name"]: step for step in told["steps"]}

    assert told["outcomes"] == {"PROVED": 12}
    assert [phase["name"] for phase in told["phases"]][:3] == ["discovery", "inspection", "proof"]
    assert steps["round trip"]["p50_s"] >= 0.05
    assert steps["connect and login"]["p50_s"] >= 0.05 * 5
    assert all(used["cpu_s"] > 0 and used["peak_memory_mib"] > 0 for used in told["usage"].values())
    assert _left(tmp_path) == []


@pytest.mark.long
def test_ctrl_c_ends_everything(tmp_path):
    """While it is being set up: exit code 130, and no process is left."""
    with subprocess.Popen(
        [*COMMAND, "--executors", "5"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
        env=_environment(tmp_path),
    ) as process:
        assert "setting up 5 executors" in process.stdout.readline()
        time.sleep(1.0)
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        code = process.wait(60)

    assert code == 130
    assert _left(tmp_path) == []


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--wait", "soon"], "rtt or wait"),
        (["--faults", "2"], "faults"),
        (["--kind", "openssh", "--faults", "0.5"], "faults"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_starts(options, named):
    """One sentence with the option's name, and exit code 2."""

    with pytest.raises(SettingError) as refused:
        command.main(options, standalone_mode=False)

    assert refused.value.key == named


def test_ten_thousand_are_proved_in_five_waves(monkeypatch):
    """A thousand sessions at once, as usual, until they would be too many waves for an epoch; a setting goes before."""

    monkeypatch.delenv("SUBNET_MAX_SESSIONS", raising=False)
    usual = [sessions_for(executors) for executors in (12, 1_000, 5_000, 10_000)]
    monkeypatch.setenv("SUBNET_MAX_SESSIONS", "3000")

    assert usual == ["1000", "1000", "1000", "2000"]
    assert sessions_for(10_000) == "3000"
