"""Children that are begun again when they die: at once, then with growing pauses, and not for ever."""

import signal
import sys
import time

import pytest

from deployments.processes import ChildDied, start, tail
from deployments.supervising import FIRST_PAUSE_S, MOST_DEATHS, STEADY_S, Supervised

SLEEPS = "print('born', flush=True); import time; time.sleep(300)"


class Clock:
    """Moved by hand."""

    def __init__(self):
        self.at = 1_000.0

    def __call__(self):
        return self.at


@pytest.fixture
def begin(tmp_path):
    """Begins a child with this program."""

    def begun(program=SLEEPS, *, is_again=True):
        command = [sys.executable, "-S", "-c", program]
        log = tmp_path / "log"
        return start("door", command, log=log, environment={}, folder=tmp_path, is_again=is_again)

    return begun


def die(supervised):
    """By a kill that nobody can catch."""
    supervised.child.process.kill()
    supervised.child.process.wait()


def test_one_that_lives_is_left_alone(begin):
    """Nothing is told of it."""
    one = Supervised(begin(is_again=False), begin)
    process = one.child.process

    assert one.look() == ""
    assert one.child.process is process
    one.stop()
    assert process.returncode == -signal.SIGTERM


def test_one_that_was_killed_is_begun_again(begin, tmp_path):
    """After a moment, with its log kept, and whoever wrote down its process id is told."""
    clock, told = Clock(), []
    one = Supervised(
        begin(is_again=False), begin, began_again=lambda: told.append(one.child.process.pid), now=clock
    )
    end = time.monotonic() + 20
    while "born" not in tail(tmp_path / "log"):
        assert time.monotonic() < end
        time.sleep(0.01)
    die(one)

    assert "ended with exit code -9" in one.look()
    assert one.look() == ""
    clock.at += FIRST_PAUSE_S
    assert one.look() == "the door is begun again"
    assert told == [one.child.process.pid]
    assert one.child.process.poll() is None
    assert "born" in (tmp_path / "log").read_text()
    one.stop()


def test_pauses_grow_and_begin_anew_after_a_steady_life(begin):
    """Half a second, one, two; and half a second again for who had lived for a minute."""
    clock = Clock()
    one = Supervised(begin(is_again=False), begin, now=clock)
    pauses = []
    for lived_s in (1.0, 1.0, 1.0, STEADY_S + 1.0):
        clock.at += lived_s
        die(one)
        pauses.append(one.look().partition("begun again in ")[2].partition(" s")[0])
        clock.at += 15.0
        one.look()
    one.stop()

    assert pauses == ["0.5", "1", "2", "0.5"]


def test_one_that_dies_again_and_again_is_given_up(begin):
    """Its error has the end of its log."""
    clock = Clock()
    one = Supervised(
        begin("raise SystemExit('no room')"), lambda: begin("raise SystemExit('no room')"), now=clock
    )

    def live(times):
        for _ in range(times):
            one.child.process.wait()
            one.look()
            clock.at += 20.0

    with pytest.raises(ChildDied, match="no room"):
        live(3 * MOST_DEATHS)
