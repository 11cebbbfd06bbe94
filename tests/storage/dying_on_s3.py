"""A process that archives an epoch again, or folds, on S3, and is killed before one of its requests that change something there.

    python -m tests.storage.dying_on_s3 archive|fold sqlite:///state

Reads lines of `s3://bucket/folder N`; N < 0: count the requests and live. Answers each with its exit status and its count. It forks
for each line: the imports cost more than what is tried. It is never connected to S3 itself, since a connection survives no fork.
"""

import os
import signal
import sys
import traceback
from functools import partial

from storage import history, s3
from storage.convert import tables_of
from storage.s3 import S3Path, s3_path
from tests.storage.histories import fold, outcome

CHANGES = ("open_output_stream", "copy_file", "delete_file", "delete_dir")


class Counting:
    """Arrow's filesystem, each change counted; the process dies before the last that it may make."""

    def __init__(self, inner, most):
        self.inner, self.most, self.count = inner, most, 0

    def __getattr__(self, name):
        found = getattr(self.inner, name)
        return partial(self.change, found) if name in CHANGES else found

    def change(self, act, *given, **named):
        """Do it, or die."""
        if self.count == self.most:
            os.kill(os.getpid(), signal.SIGKILL)
        self.count += 1
        return act(*given, **named)


def write(root, epoch, machines=2):
    """One table of an epoch."""
    with history.alone(root):
        history.finish_tidying(root)
        table = tables_of(outcome(epoch, machines=machines))["scores"]
        history._write_table(root / "scores", outcome(epoch).started_at.date().isoformat(), epoch, table)


def act_once(act, address, state, most):
    """Make the history once, without being counted; then act. How many requests changed something."""
    root = s3_path(address, os.environ, state)
    if not root.is_dir():
        for epoch in (1, 2, 3):
            write(root, epoch)
        if act == "archive":
            fold(root, tables=["scores"])
    counting = Counting(root.filesystem, most)
    s3._connected = lambda *_: counting
    assert isinstance(root, S3Path)
    if act == "archive":
        write(root, 2)
    else:
        fold(root, tables=["scores"])
    return counting.count


def forked(*asked):
    """The same in a child: its exit status, and its count if it lived."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.write(writer, str(act_once(*asked)).encode())
            status = 0
        except BaseException:  # noqa: BLE001  a child ends here, whatever happened
            traceback.print_exc()
        os._exit(status)
    os.close(writer)
    with os.fdopen(reader) as told:
        count = told.read()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), count


def main(act, state):
    """One child after the other."""
    for line in sys.stdin:
        address, most = line.split()
        status, count = forked(act, address, state, int(most))
        sys.stdout.write(f"{status} {count}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
