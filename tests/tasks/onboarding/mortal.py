"""An interpreter that dies: the hand's program runs until its changes are used up, and is then killed like by `kill -9`.

mortal.py -I -c PROGRAM         counts every call that could change the machine, before it is made
/var/lib/cards/lives            how many are left; none: it lives for ever
"""

import os
import signal
import sys
from pathlib import Path

LIVES = "/var/lib/cards/lives"
CHANGING = (
    "os.rename",
    "os.remove",
    "os.mkdir",
    "os.rmdir",
    "os.chmod",
    "os.chown",
    "os.symlink",
    "os.kill",
    "subprocess.Popen",
)


def counted(event, arguments):
    """Die when it is time."""
    is_writing = (
        event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
    )
    if not (event in CHANGING or is_writing) or "tasks.onboarding.changing.main" not in sys.modules:
        return
    if arguments and str(arguments[0]) in (LIVES, str(os.getpid())):  # its own: it would never come to die
        return
    left = int(Path(LIVES).read_text())
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    Path(LIVES).write_text(str(left - 1))


if __name__ == "__main__":
    if sys.argv[1:3] != ["-I", "-c"] or not Path(LIVES).exists():
        os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
    sys.addaudithook(counted)
    program = sys.argv[3]
    sys.argv = ["-c"]
    exec(compile(program, "program", "exec"), {"__name__": "__main__"})
