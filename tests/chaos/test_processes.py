"""Finding the processes of a system, and what each of them is."""

import os
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

from tests.chaos.processes import OWNER, killable, processes_of

FLOW = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(300)']); time.sleep(300)"


@contextmanager
def living(folder, *words, says=""):
    """A process of the folder's system."""
    env = {**os.environ, "SUBNET_FOLDER": str(folder)}
    with subprocess.Popen(words, env=env, start_new_session=True) as process:
        try:
            end = time.monotonic() + 20
            while says not in roles(folder).values():
                assert time.monotonic() < end, roles(folder)
                time.sleep(0.02)
            yield process
        finally:
            os.killpg(process.pid, 9)


def roles(folder):
    return {p.pid: p.role for p in processes_of(folder)}


@pytest.mark.parametrize(
    ("words", "role"),
    [
        (("-m", "deployments.flow_worker", "--pool", "renting"), "renting worker"),
        (("-m", "prefect.engine"), "flow process"),
        (("-m", "deployments.brand_new", "x"), "deployments.brand_new"),
    ],
)
def test_a_role_is_known_by_the_command_line(tmp_path, words, role):
    """One that nobody has named is called by its module, so that it is killed too."""
    program = ("import sys, time; time.sleep(300)", *words)
    with living(tmp_path, sys.executable, "-c", *program, says=role):
        assert list(roles(tmp_path).values()) == [role]


def test_a_child_is_known_by_its_parent(tmp_path):
    """A flow's children are of one kind, whatever they are; they belong to the system even without its folder in their environment."""
    with living(tmp_path, sys.executable, "-c", FLOW, "-m", "prefect.engine", says="child of a flow process"):
        assert sorted(roles(tmp_path).values()) == ["child of a flow process", "flow process"]


def test_strangers_are_never_touched(tmp_path):
    """Another system's, our own, and those of a folder that only begins with the same letters."""
    with living(
        tmp_path / "seed-10", sys.executable, "-c", "import time; time.sleep(300)", "-m", "a", says="a"
    ):
        assert roles(tmp_path / "seed-1") == {}
        assert os.getpid() not in roles(tmp_path / "seed-10")


def test_the_owner_is_no_prey_of_single_kills(tmp_path):
    """Its end is a fault of its own: everything goes with it."""
    with living(
        tmp_path, sys.executable, "-c", "import time; time.sleep(300)", "bin/subnet", "up", says=OWNER
    ):
        assert killable(processes_of(tmp_path)) == {}
