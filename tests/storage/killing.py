"""Killing a process before a line of the modules that change the history's files, whichever line is asked for."""

import os
import signal
import sys

import pytest

from storage import compaction, folders, history, locks, places, retention

EVERY_OTHER_OR_EACH = pytest.mark.parametrize("every", [2, pytest.param(1, marks=pytest.mark.long)])
"""Which of the moments a test kills at: every other one each day, each of them in the long tests."""

_TRACED = {module.__file__ for module in (compaction, folders, history, locks, places, retention)}


def _at_each_line(act, at_line):
    """Run `act`; `at_line` is called before every line of the modules that fold."""

    def trace(frame, event, argument):
        if frame.f_code.co_filename not in _TRACED:
            return None
        if event == "line":
            at_line()
        return trace

    sys.settrace(trace)
    try:
        act()
    finally:
        sys.settrace(None)


def _look(folder):
    """Every name under the folder, and every file's size: this is asked before each line, so it is lean."""
    with os.scandir(folder) as entries:
        return {e.name: _look(e.path) if e.is_dir() else e.stat().st_size for e in entries}


def moments_of(act, root):
    """The lines before which the folder is not as it was a line earlier: a kill anywhere else leaves what one of these does."""
    count, last, found = 0, None, []

    def at_line():
        nonlocal count, last
        now = _look(root)
        if now != last:
            found.append(count)
        last = now
        count += 1

    _at_each_line(act, at_line)
    return found


def killed_at(act, line):
    """Whether a process that does this was killed before this line."""
    count = 0

    def at_line():
        nonlocal count
        if count == line:
            os.kill(os.getpid(), signal.SIGKILL)
        count += 1

    child = os.fork()
    if not child:
        _at_each_line(act, at_line)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
