"""A hand as a process: `python -m tasks.crew SOCKET NOTE BYTES`, started by `tasks/crew/rosters.py` alone."""

from __future__ import annotations

import os
import sys

from tasks.crew.rosters import serve_as_process

if __name__ == "__main__":
    serve_as_process(*map(int, sys.argv[1:4]))
    sys.stdout.flush()
    # Not sys.exit: nothing is left to be done, and no thread of a library is waited for.
    os._exit(0)
