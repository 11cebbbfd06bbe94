"""The systemd units of a validator: understood by systemd, hardened, started after what they need and killed in order."""

import configparser
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deployments.sites import REPOSITORY
from tests.engines import skip_or_fail

UNITS = REPOSITORY / "deployments" / "systemd"
SERVICES = sorted(path.name for path in UNITS.glob("*.service"))
MOST_EXPOSED = 2.0
"""Of systemd's own scale, on which an ordinary service has 9.6."""


@pytest.fixture(scope="module")
def units(tmp_path_factory):
    """The units as they are installed, their programs those of these tests."""
    if shutil.which("systemd-analyze") is None:
        skip_or_fail("systemd-analyze is needed: apt install systemd")
    folder = tmp_path_factory.mktemp("units")
    shutil.copytree(UNITS, folder, dirs_exist_ok=True)
    for unit in folder.glob("*.service"):
        unit.write_text(unit.read_text().replace("/opt/subnet/.venv/bin/", f"{Path(sys.executable).parent}/"))
    return folder


def analysed(units, *words):
    """What systemd-analyze says, with these units before those of the system."""
    return subprocess.run(
        ["systemd-analyze", *words],
        cwd=units,
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{units}:"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def settings(name):
    """Section -> key -> value of a unit; of what is said twice, the last."""
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str
    parser.read(UNITS / name)
    return parser


def test_systemd_understands_all_of_it(units):
    """Not a word of complaint, of the file that hardens them neither."""
    done = analysed(units, "verify", *(f"./{name}" for name in SERVICES), "./subnet.target")

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("name", SERVICES)
def test_each_may_do_next_to_nothing_beside_its_work(units, name):
    """By systemd's own measure."""
    done = analysed(units, "security", "--offline=yes", "--no-pager", f"./{name}")

    found = re.search(r"exposure level for \S+: ([0-9.]+)", done.stdout)
    assert found, done.stderr
    assert float(found.group(1)) <= MOST_EXPOSED


@pytest.mark.parametrize("name", SERVICES)
def test_each_has_a_bound_of_memory_and_of_tasks(name):
    """And is slowed down before it is killed."""
    service = settings(name)["Service"]

    assert {"MemoryHigh", "MemoryMax", "TasksMax"} <= set(service)


def test_when_memory_is_short_an_epoch_is_killed_first_and_prefect_last():
    """A killed epoch is found by the next one; without Prefect's server nobody says what was at work."""
    order = sorted(SERVICES, key=lambda name: -int(settings(name)["Service"]["OOMScoreAdjust"]))

    assert (order[0], order[-1]) == ("subnet-worker.service", "subnet-prefect.service")
    assert settings("subnet-worker.service")["Service"]["OOMPolicy"] == "continue"


@pytest.mark.parametrize("name", ["subnet-worker.service", "subnet-renting.service", "subnet-market.service"])
def test_who_works_with_prefect_ends_before_its_server(name):
    """Started after it, and so stopped before it: what is cut off can still say so."""
    assert "subnet-prefect.service" in settings(name)["Unit"]["After"].split()


@pytest.mark.parametrize("name", SERVICES)
def test_each_starts_what_there_is(name):
    """Its command is one of ours, with options that it has."""
    program, *words = settings(name)["Service"]["ExecStart"].split()
    words = [word for word in words if not word.isdigit()]
    here = Path(sys.executable).with_name(Path(program).name)
    asked = (
        words[: words.index("deployments.prefect_process") + 3]
        if "deployments.prefect_process" in words
        else words
    )
    done = subprocess.run(
        [here, *[word for word in asked if not word.startswith("--")], "--help"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert done.returncode == 0, done.stderr
    for option in (word for word in words if word.startswith("--")):
        assert option in done.stdout
