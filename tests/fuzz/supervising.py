"""A target in a process of its own: what hangs or crashes there is a finding too, and its input is known.

    python -m tests.fuzz.supervising <target> <seed> <seconds> <folder> <shown>     (the far end, started by `supervised`)

The far end writes each input into a file that both ends have mapped before it tries it, and a line of JSON when it is done.
"""

from __future__ import annotations

import json
import mmap
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from tests.fuzz.mutating import MAX_BYTES
from tests.fuzz.running import Finding, Run, fuzz, keep
from tests.fuzz.target import Target

_HEADER_BYTES = 16
START_S = 60.0
"""To import everything, on a busy machine."""
STUCK_S = 20.0
"""An input that takes so long would take for ever."""


def supervised(target: Target, seed: int, seconds: float, folder: Path, stuck_s: float = STUCK_S) -> Run:
    """Fuzz it for so long; when an input has killed or stopped the process, the run ends with that finding."""
    began = time.monotonic()
    with tempfile.TemporaryFile() as file:
        file.truncate(_HEADER_BYTES + MAX_BYTES)
        with mmap.mmap(file.fileno(), 0) as shown:
            argv = ["-m", "tests.fuzz.supervising", target.name, str(seed), str(seconds), str(folder)]
            with subprocess.Popen(
                [sys.executable, *argv, str(file.fileno())],
                stdout=subprocess.PIPE,
                pass_fds=[file.fileno()],
                text=True,
                cwd=Path(__file__).parents[2],
            ) as process:
                is_stuck = not _ends(process, shown, stuck_s)
                told = "" if is_stuck or process.stdout is None else process.stdout.read()
            if told:
                return _read(told)
            count, data = _last(shown)
    detail = (
        f"nothing for {stuck_s:g} s" if is_stuck else f"the process ended with status {process.returncode}"
    )
    finding = keep(folder, target.name, "stuck" if is_stuck else "crash", data, detail)
    return Run(target.name, seed, count, time.monotonic() - began, findings=[finding])


def _ends(process: subprocess.Popen[str], shown: mmap.mmap, stuck_s: float) -> bool:
    """Whether it ends by itself; else it is killed."""
    count, until = 0, time.monotonic() + START_S
    while time.monotonic() < until:
        try:
            process.wait(0.2)
        except subprocess.TimeoutExpired:
            if (now := _last(shown)[0]) != count:
                count, until = now, time.monotonic() + stuck_s
        else:
            return True
    process.kill()
    return False


def _last(shown: mmap.mmap) -> tuple[int, bytes]:
    """How many inputs there were, and the last one."""
    size = int.from_bytes(shown[8:16], "big")
    return int.from_bytes(shown[:8], "big"), shown[_HEADER_BYTES : _HEADER_BYTES + size]


def _read(told: str) -> Run:
    fields = json.loads(told)
    findings = [Finding(**{**f, "path": Path(f["path"])}) for f in fields.pop("findings")]
    return Run(**fields, findings=findings)


def main(arguments: list[str]) -> None:
    """The far end."""
    from tests.fuzz.targets import named

    name, seed, seconds, folder, shown = arguments
    with mmap.mmap(int(shown), 0) as view:
        count = 0

        def watch(data: bytes) -> None:
            nonlocal count
            count += 1
            view[8:16] = len(data).to_bytes(8, "big")
            view[_HEADER_BYTES : _HEADER_BYTES + len(data)] = data
            view[:8] = count.to_bytes(8, "big")

        until = time.monotonic() + float(seconds)
        run = fuzz(named(name), int(seed), until=until, folder=Path(folder), watch=watch)
    print(json.dumps(asdict(run), default=str))


if __name__ == "__main__":
    main(sys.argv[1:])
