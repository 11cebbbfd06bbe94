"""The command line without waiting for its imports: a process that has done them becomes a new one for each command typed.

A command is a process of its own, with its own arguments, folder, environment and exit code, as if the console script had
been started; only what it imports was imported before.
"""

import importlib
import json
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from deployments.cli import main

REPOSITORY = Path(__file__).parents[2]
Typed = Callable[..., subprocess.CompletedProcess[str]]


@contextmanager
def warm(*modules: str) -> Iterator[Typed]:
    """`subnet(*arguments, folder=..., **environment)` of a process that has imported these modules and nothing else of ours."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.deployments.warm", *modules],
        cwd=REPOSITORY,
        env=_kept(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        asked, told = process.stdin, process.stdout

        def subnet(
            *arguments: str, folder: Path, typed: str = "", **environment: str
        ) -> subprocess.CompletedProcess[str]:
            environment = {**_kept(), "SUBNET_FOLDER": str(folder / ".local"), **environment}
            asked.write(json.dumps([arguments, str(folder), environment, typed]) + "\n")
            asked.flush()
            return subprocess.CompletedProcess(arguments, *json.loads(told.readline()))

        yield subnet
        asked.close()


def _kept() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith(("SUBNET_", "PREFECT_"))}


def _serve() -> None:
    """Fork for each command and tell how it went, until nobody asks any more."""
    for line in iter(sys.stdin.readline, ""):
        arguments, folder, environment, typed = json.loads(line)
        with (
            tempfile.TemporaryFile() as read,
            tempfile.TemporaryFile() as out,
            tempfile.TemporaryFile() as err,
        ):
            read.write(typed.encode())
            read.seek(0)
            child = os.fork()
            if not child:
                for number, file in enumerate((read, out, err)):
                    os.dup2(file.fileno(), number)
                _run(arguments, folder, environment)
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            said = [(file.seek(0), file.read().decode())[1] for file in (out, err)]
        sys.stdout.write(json.dumps([code, *said]) + "\n")
        sys.stdout.flush()


def _run(arguments: list[str], folder: str, environment: dict[str, str]) -> NoReturn:
    """Be the command, and end without taking down all that was imported."""
    sys.stdin = open(0, closefd=False)  # noqa: SIM115  the old one may have read what is not for us
    sys.argv = ["subnet", *arguments]
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    code: object = 1
    try:
        main()
    except SystemExit as ended:
        code = ended.code
    except BaseException:  # noqa: BLE001  as the interpreter would show it
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else code is not None)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        importlib.import_module(name)
    with (
        tempfile.TemporaryDirectory() as compiled
    ):  # what commands import beside is compiled by the first of them
        sys.dont_write_bytecode, sys.pycache_prefix = False, compiled
        _serve()
