"""The program at the far end: it runs on an executor, from memory, and answers the validator's frames.

It is sent as text and run by `python -I`: nothing but the standard library of Python 3.8, and only its tests
import it. A frame is 4 bytes of length (big-endian) and that many bytes; a request is a JSON object, and each gets
one frame in reply:

    {"do": "facts", "commands": [{"name", "command", "timeout_s", "limit_bytes"}, ...]}
        -> {"facts": [{"name", "exit", "stdout", "stderr", "seconds", "truncated"}, ...]}, output in base64,
           "exit" as a shell has it: 124 stopped at its timeout, 126 could not be started, 128 + n signal n
    {"do": "run", "argv": [word, ...], "stdin": base64, "timeout_s": s, "limit_bytes": n}
        -> {"exit", "stdout", "stderr", "seconds", "truncated"}; no shell sees the words, and no disk what is read
    {"do": "sink", "bytes": n}, then one frame of n bytes  -> {"digest": its BLAKE2s, hex}
    {"do": "source", "bytes": n}                           -> n random bytes
    {"do": "prove", "cache": folder, "digest": blake2s, "form": f, "warm_s": s}, then one frame: a zip archive of the
    package `kernels`, whose kernels of the form `cuda` are compiled first, for at most so long
        -> {"proving": digest, "seconds": s}, and from then on `kernels.prover` has the channel

What it can't do is answered with {"error": CODE, "detail": text}, and ends it. It also ends, with all that it
started, as soon as the session is gone.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import importlib
import importlib.util
import io
import json
import os
import re
import select
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import BinaryIO, cast

PARALLEL_COMMANDS = 4
MAX_FRAME_BYTES = 64 << 20
MAX_ARCHIVE_BYTES = 4 << 20
STDERR_BYTES = 2_048
PIECE_BYTES = 65_536
TIMED_OUT, NOT_STARTED = 124, 126


class Refused(Exception):
    """A request that can't be answered: a stable code, and what was wrong."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(code, detail)
        self.code, self.detail = code, detail[:300]


def main() -> int:
    """Serve requests until the session ends; returns the exit status."""
    frames, children = Frames(sys.stdin.buffer, claim_stdout()), Children()
    threading.Thread(target=die_with_the_session, args=(children,), daemon=True).start()
    try:
        while True:
            request = frames.read()
            if request is None:
                return 0
            answer(parse(request), frames, children)
    except Refused as refused:
        frames.reply({"error": refused.code, "detail": refused.detail})
        return 1
    finally:
        children.kill_all()


class Frames:
    """The channel to the validator."""

    def __init__(self, source: BinaryIO, sink: BinaryIO) -> None:
        self._source, self._sink = source, sink

    def read(self) -> bytes | None:
        """The next frame, None when the validator has gone."""
        header = self._source.read(4)
        size = int.from_bytes(header, "big")
        if len(header) < 4:
            return None
        if size > MAX_FRAME_BYTES:
            raise Refused("BAD_REQUEST", f"a frame of {size} bytes")
        frame = self._source.read(size)
        return frame if len(frame) == size else None

    def write(self, frame: bytes) -> None:
        """Send one frame."""
        self._sink.write(len(frame).to_bytes(4, "big") + frame)
        self._sink.flush()

    def reply(self, answer: dict[str, object]) -> None:
        """Send a JSON object."""
        self.write(json.dumps(answer).encode())


class Children:
    """The commands that we started and that still run, each in a process group of its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[int] = set()
        self._is_over = False

    def start(self, argv: list[str], stdin: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        """Run a program, its messages in plain C; OSError when it can't be."""
        with self._lock:
            if self._is_over:
                raise OSError("the session is over")
            process = subprocess.Popen(  # noqa: S603  a vector: no shell reads it unless it is named
                argv,
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=dict(os.environ, LC_ALL="C"),
                start_new_session=True,
            )
            self._running.add(process.pid)
        return process

    def finish(self, process: subprocess.Popen[bytes], deadline: float) -> int:
        """Its exit status as a shell has it; killed at the deadline."""
        try:
            status = process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            status = TIMED_OUT
            kill_group(process.pid)
            process.wait()
        with self._lock:
            self._running.discard(process.pid)
        return status if status >= 0 else 128 - status

    def kill_all(self) -> None:
        """Kill every group, and let no other start."""
        with self._lock:
            self._is_over = True
            for pid in self._running:
                kill_group(pid)


def kill_group(pid: int) -> None:
    """Kill a command with all that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def claim_stdout() -> BinaryIO:
    """Our own handle on stdout; whatever else prints there from now on goes to stderr."""
    sink = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return sink


def die_with_the_session(children: Children) -> None:
    """Leave at once when nobody can write to our stdin any more: a proof holds its card's memory."""
    watch = select.poll()
    watch.register(0, getattr(select, "POLLRDHUP", 0))
    watch.poll()
    children.kill_all()
    os._exit(0)


def answer(request: dict[str, object], frames: Frames, children: Children) -> None:
    """Do what is asked."""
    what = request.get("do")
    if what == "facts":
        frames.reply(facts(request, children))
    elif what == "run":
        frames.reply(run(request, children))
    elif what == "sink":
        frames.reply(sink(request, frames))
    elif what == "source":
        frames.write(os.urandom(count(request, "bytes")))
    elif what == "prove":
        prove(request, frames)
    else:
        raise Refused("BAD_REQUEST", f"nothing is known to do for {what!r}")


# --- facts -----------------------------------------------------------------------------------------


def facts(request: dict[str, object], children: Children) -> dict[str, object]:
    """What the commands print, a few of them at a time."""
    commands = request.get("commands")
    if not isinstance(commands, list) or not all(isinstance(command, dict) for command in commands):
        raise Refused("BAD_REQUEST", "no list of commands")
    with ThreadPoolExecutor(PARALLEL_COMMANDS) as pool:
        return {"facts": list(pool.map(lambda command: fact(command, children), commands))}


def fact(command: dict[str, object], children: Children) -> dict[str, object]:
    """Run one command to its end, its timeout or its limit."""
    name, line, limit = text(command, "name"), text(command, "command"), count(command, "limit_bytes")
    begin = time.monotonic()
    deadline = begin + seconds(command, "timeout_s")
    try:
        process = children.start(["/bin/sh", "-c", line])
    except OSError as error:
        status, out, err = NOT_STARTED, b"", str(error).encode()
    else:
        with process:
            out, err = collect(process, limit, deadline)
            status = children.finish(process, deadline)
    return {
        "name": name,
        "exit": status,
        "stdout": base64.b64encode(out[:limit]).decode(),
        "stderr": base64.b64encode(err[:STDERR_BYTES]).decode(),
        "seconds": time.monotonic() - begin,
        "truncated": len(out) > limit,
    }


def collect(process: subprocess.Popen[bytes], limit: int, deadline: float) -> tuple[bytes, bytes]:
    """What it prints until it closes both pipes or the deadline is there; of each a byte more than its limit."""
    out, err = bytearray(), bytearray()
    with selectors.DefaultSelector() as pipes:
        pipes.register(cast("BinaryIO", process.stdout), selectors.EVENT_READ, (out, limit + 1))
        pipes.register(cast("BinaryIO", process.stderr), selectors.EVENT_READ, (err, STDERR_BYTES + 1))
        while pipes.get_map() and time.monotonic() < deadline:
            for key, _ in pipes.select(deadline - time.monotonic()):
                piece = os.read(key.fd, PIECE_BYTES)
                kept, most = key.data
                kept += piece[: most - len(kept)]
                if not piece:
                    pipes.unregister(key.fileobj)
    return bytes(out), bytes(err)


# --- programs --------------------------------------------------------------------------------------


def run(request: dict[str, object], children: Children) -> dict[str, object]:
    """Run one program with these very words, to its end, its timeout or its limit."""
    argv, limit = words(request, "argv"), count(request, "limit_bytes")
    begin = time.monotonic()
    deadline = begin + seconds(request, "timeout_s")
    # In memory: what a program reads may be a secret.
    source = os.memfd_create("stdin")
    try:
        os.write(source, octets(request, "stdin"))
        os.lseek(source, 0, os.SEEK_SET)
        process = children.start(argv, source)
    except OSError as error:
        status, out, err = NOT_STARTED, b"", str(error).encode()
    else:
        with process:
            out, err = collect(process, limit, deadline)
            status = children.finish(process, deadline)
    finally:
        os.close(source)
    return {
        "exit": status,
        "stdout": base64.b64encode(out[:limit]).decode(),
        "stderr": base64.b64encode(err[:STDERR_BYTES]).decode(),
        "seconds": time.monotonic() - begin,
        "truncated": len(out) > limit,
    }


# --- bandwidth -------------------------------------------------------------------------------------


def sink(request: dict[str, object], frames: Frames) -> dict[str, object]:
    """Take a frame, and prove that all of it has come."""
    wanted = count(request, "bytes")
    frame = frames.read()
    if frame is None or len(frame) != wanted:
        raise Refused("BAD_REQUEST", f"{wanted} bytes announced, another number sent")
    return {"digest": hashlib.blake2s(frame).hexdigest()}


# --- proof -----------------------------------------------------------------------------------------


def prove(request: dict[str, object], frames: Frames) -> None:
    """Unpack the package `kernels` that comes next, and let its prover have the channel."""
    begin, digest = time.monotonic(), text(request, "digest")
    form, warm_s = text(request, "form"), seconds(request, "warm_s")
    # A real path, because compiled kernels are found again by it: homes may share a folder through a link.
    cache = Path(text(request, "cache")).expanduser().resolve()
    archive = frames.read() or b""
    if hashlib.blake2s(archive).hexdigest() != digest:
        raise Refused("BAD_DIGEST", "the archive is not the one that was announced")
    try:
        folder = unpack(archive, cache / digest)
        os.environ["NUMBA_CACHE_DIR"] = str(cache / "compiled")
        os.environ["CUDA_CACHE_PATH"] = str(cache / "compiled" / "driver")
        prover = import_from(folder)
    except OSError as error:
        raise Refused("NO_CACHE", str(error)) from error
    except ImportError as error:
        raise Refused("NO_PROVER", str(error)) from error
    if form != "cpu":  # simulated cards have no kernels that would have to be loaded
        prover.prepare(form, warm_s)
    frames.reply({"proving": digest, "seconds": time.monotonic() - begin})
    locks = importlib.import_module("kernels.lock").locks_of(os.environ)
    prover.serve(frames.read, frames.write, simulated_cards(), locks)


def import_from(folder: Path) -> ModuleType:
    """The package's prover from this folder, and from no package of the same name that is installed here."""
    sys.path.insert(0, str(folder))
    found = importlib.util.find_spec("kernels.prover")
    if found is None or folder not in Path(found.origin or "/").parents:
        raise ImportError("kernels.prover is not in the archive")
    return importlib.import_module("kernels.prover")


def simulated_cards() -> object:
    """The folder of simulated cards, on a machine that has one: only the CPU form of the proof looks at it."""
    folder = os.environ.get("SUBNET_SIMULATED_CARDS")
    return importlib.import_module("kernels.cards").FolderCards(folder) if folder else None


def unpack(archive: bytes, folder: Path) -> Path:
    """The archive's modules in this folder, whole or not at all; Numba finds no cache for what is inside a zip."""
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(dir=str(folder.parent), prefix=".unpacking-"))
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as packed:
            check_members(packed)
            packed.extractall(fresh)
        fresh.rename(folder)
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise Refused("BAD_ARCHIVE", str(error)) from error
    except OSError:
        if not folder.is_dir():  # else another session was faster: its content is the same
            raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return folder


def check_members(packed: zipfile.ZipFile) -> None:
    """Only modules of the package, and not too much of them."""
    members = packed.infolist()
    for member in members:
        if not re.match(r"kernels/([a-z0-9_]+/)*([a-z0-9_]+\.py)?\Z", member.filename):
            raise Refused("BAD_ARCHIVE", f"member {member.filename!r}")
    if sum(member.file_size for member in members) > MAX_ARCHIVE_BYTES:
        raise Refused("BAD_ARCHIVE", f"more than {MAX_ARCHIVE_BYTES} bytes")


# --- requests --------------------------------------------------------------------------------------


def parse(request: bytes) -> dict[str, object]:
    """The request as an object."""
    try:
        parsed = json.loads(request.decode())
    except ValueError as error:
        raise Refused("BAD_REQUEST", str(error)) from None
    if not isinstance(parsed, dict):
        raise Refused("BAD_REQUEST", "no object")
    return parsed


def text(request: dict[str, object], key: str) -> str:
    """A value that has to be text."""
    value = request.get(key)
    if not isinstance(value, str):
        raise Refused("BAD_REQUEST", f"{key} is {value!r}, expected text")
    return value


def count(request: dict[str, object], key: str) -> int:
    """A value that has to be a number of bytes that fits in a frame."""
    value = request.get(key)
    if not isinstance(value, int) or not 0 <= value <= MAX_FRAME_BYTES:
        raise Refused("BAD_REQUEST", f"{key} is {value!r}, expected 0 to {MAX_FRAME_BYTES}")
    return value


def words(request: dict[str, object], key: str) -> list[str]:
    """A value that has to be a program and its arguments."""
    value = request.get(key)
    if not isinstance(value, list) or not value or not all(isinstance(word, str) for word in value):
        raise Refused("BAD_REQUEST", f"{key} is no list of words")
    if any("\0" in word for word in value):
        raise Refused("BAD_REQUEST", f"{key} has a word with NUL")
    return value


def octets(request: dict[str, object], key: str) -> bytes:
    """A value that has to be base64."""
    try:
        return base64.b64decode(text(request, key), validate=True)
    except ValueError:
        raise Refused("BAD_REQUEST", f"{key} is no base64") from None


def seconds(request: dict[str, object], key: str) -> float:
    """A value that has to be a duration of at most an hour."""
    value = request.get(key)
    if not isinstance(value, (int, float)) or not 0 <= value <= 3_600:
        raise Refused("BAD_REQUEST", f"{key} is {value!r}, expected 0 to 3600 seconds")
    return float(value)


if __name__ == "__main__":
    sys.exit(main())
