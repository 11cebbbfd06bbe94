"""Child processes: they are waited for, ended as a group, and never outlive us."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deployments.processes import ChildDied, ChildSlow, free_port, start

REPOSITORY = Path(__file__).parents[2]


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def until(condition, seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


def test_a_group_ends_with_its_child(tmp_path):
    """What a child has started ends with it, even when the child ignores a polite request."""

    script = "trap '' TERM; sleep 300 & echo $! > grandchild; sleep 300 & wait; wait"
    child = start(
        "stubborn", ["/bin/sh", "-c", script], log=tmp_path / "log", environment={}, folder=tmp_path
    )
    assert until(lambda: (tmp_path / "grandchild").exists() and (tmp_path / "grandchild").read_text().strip())
    grandchild = int((tmp_path / "grandchild").read_text())

    child.stop(grace_s=0.2)

    assert until(lambda: not lives(grandchild))
    assert not lives(child.process.pid)


def test_a_child_that_dies_says_why(tmp_path):
    """The error has the exit code and the end of the log."""

    command = [sys.executable, "-c", "print('no room'); raise SystemExit(3)"]
    child = start("server", command, log=tmp_path / "log", environment={}, folder=tmp_path)

    with pytest.raises(ChildDied, match=r"(?s)exit code 3.*no room"):
        child.wait_until(lambda: False, 20.0)


def test_a_child_that_is_slow_is_told_apart(tmp_path):
    """A child that lives and is not ready in time is another trouble than one that died."""

    child = start("server", ["/bin/sleep", "60"], log=tmp_path / "log", environment={}, folder=tmp_path)

    with pytest.raises(ChildSlow, match=r"not ready after 0\.1 s"):
        child.wait_until(lambda: False, 0.1)
    child.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
def test_children_end_with_a_killed_parent(tmp_path):
    """A kill -9 of the command leaves none of its children behind."""

    code = (
        "import sys, time; from pathlib import Path; from deployments.processes import start\n"
        "c = start('x', ['/bin/sleep', '300'], log=Path(sys.argv[1]) / 'log', environment={}, folder=Path(sys.argv[1]))\n"
        "print(c.process.pid, flush=True); time.sleep(300)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    ) as parent:
        child = int(parent.stdout.readline())
        assert lives(child)
        os.kill(parent.pid, signal.SIGKILL)

    assert until(lambda: not lives(child))


def test_a_taken_port_is_left_alone():
    """When the preferred port is taken, another one is found."""

    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        assert free_port(port) != port
