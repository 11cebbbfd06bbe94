"""The program at the far end: it runs on an executor, from memory, and answers the validator's frames.

It is sent as text and run by `python -I`: nothing but the standard library of Python 3.8, and only its tests
import it. A frame is 4 bytes of length (big-endian) and that many bytes; a request is a JSON object, and each gets
one frame in reply:

    {"do": "facts", "commands": [{"name", "command", "timeout_s", "limit_bytes"}, ...]}
        -> {"facts": [{"name", "exit", "stdout", "stderr", "seconds", "truncated"}, ...]}, output in base64,
           "exit" as a shell has it: 124 stopped at its timeout, 126 could not be started, 128 + n signal n
    {"do": "run", "argv": [word, ...], "stdin": base64, "timeout_s": s, "limit_bytes": n, "is_merged": bool}
        -> {"exit", "stdout", "stderr", "seconds", "truncated"}; no shell sees the words, and no disk what is read;
           merged: what goes to stderr stands in stdout
    {"do": "stream", as "run"}  -> frames of at most 256 KiB of stdout, an empty one, then as "run" without stdout
    {"do": "feed", "argv", "timeout_s", "limit_bytes"}, then frames for its stdin and an empty one  -> as "run"
    {"do": "install", "cache": folder, "digest": blake2s}  -> {"path": where it is}, or {"path": ""}: it is not there;
           then frames of a zip archive of programs, and an empty one  -> {"path"}
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
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import BinaryIO, cast

PARALLEL_COMMANDS = 4
MAX_FRAME_BYTES = 64 << 20
MAX_ARCHIVE_BYTES, MAX_TOOLBOX_BYTES = 4 << 20, 32 << 20
MAX_STREAM_BYTES = 1 << 40
STDERR_BYTES = 2_048
PIECE_BYTES, STREAM_BYTES = 65_536, 262_144
TIMED_OUT, NOT_STARTED = 124, 126
MODULE = re.compile(r"kernels/([a-z0-9_]+/)*([a-z0-9_]+\.py)?\Z")
TOOL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}\Z")


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
        self.is_fed = True
        """Whether the last sequence of frames has come to its end."""

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

    def start(
        self, argv: list[str], stdin: int = subprocess.DEVNULL, *, is_merged: bool = False
    ) -> subprocess.Popen[bytes]:
        """Run a program, its messages in plain C; OSError when it can't be. Merged: stderr goes where stdout goes."""
        with self._lock:
            if self._is_over:
                raise OSError("the session is over")
            process = subprocess.Popen(  # noqa: S603  a vector: no shell reads it unless it is named
                argv,
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT if is_merged else subprocess.PIPE,
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
    """Kill a command with all that it started, but for what has become another user's."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
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
    elif what == "stream":
        frames.reply(stream(request, frames, children))
    elif what == "feed":
        frames.reply(feed(request, frames, children))
    elif what == "install":
        frames.reply(install(request, frames))
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
    return dict(ended(status, out, err, begin, limit), name=name)


def collect(process: subprocess.Popen[bytes], limit: int, deadline: float) -> tuple[bytes, bytes]:
    """What it prints until it closes both pipes or the deadline is there; of each a byte more than its limit."""
    out, err = bytearray(), bytearray()
    with selectors.DefaultSelector() as pipes:
        pipes.register(cast("BinaryIO", process.stdout), selectors.EVENT_READ, (out, limit + 1))
        if process.stderr is not None:
            pipes.register(process.stderr, selectors.EVENT_READ, (err, STDERR_BYTES + 1))
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
    limit, begin = count(request, "limit_bytes"), time.monotonic()
    deadline = begin + seconds(request, "timeout_s")
    try:
        process = start(request, children)
    except OSError as error:
        return ended(NOT_STARTED, b"", str(error).encode(), begin, limit)
    with process:
        out, err = collect(process, limit, deadline)
        status = children.finish(process, deadline)
    return ended(status, out, err, begin, limit)


def stream(request: dict[str, object], frames: Frames, children: Children) -> dict[str, object]:
    """Run one program and send what it prints as it comes; at its limit it is killed."""
    left, begin = large_count(request, "limit_bytes"), time.monotonic()
    deadline = begin + seconds(request, "timeout_s")
    try:
        process = start(request, children)
    except OSError as error:
        frames.write(b"")
        return ended(NOT_STARTED, b"", str(error).encode(), begin, 0)
    err = bytearray()
    with process, selectors.DefaultSelector() as pipes:
        stdout = cast("BinaryIO", process.stdout)
        pipes.register(stdout, selectors.EVENT_READ)
        if process.stderr is not None:
            pipes.register(process.stderr, selectors.EVENT_READ)
        while left >= 0 and pipes.get_map() and time.monotonic() < deadline:
            for key, _ in pipes.select(deadline - time.monotonic()):
                piece = os.read(key.fd, STREAM_BYTES)
                if not piece:
                    pipes.unregister(key.fileobj)
                elif key.fileobj is stdout:
                    sent = piece[: max(0, left)]
                    left -= len(piece)
                    if sent:
                        frames.write(sent)
                else:
                    err += piece[: STDERR_BYTES - len(err)]
        status = children.finish(process, deadline if left >= 0 else 0.0)
    frames.write(b"")
    return ended(status, b"", bytes(err), begin, 0, is_cut=left < 0)


def feed(request: dict[str, object], frames: Frames, children: Children) -> dict[str, object]:
    """Run one program that reads what comes in frames, until an empty one."""
    limit, begin = count(request, "limit_bytes"), time.monotonic()
    deadline = begin + seconds(request, "timeout_s")
    frames.is_fed = False
    try:
        process = children.start(words(request, "argv"), subprocess.PIPE)
    except OSError as error:
        drain(frames)
        return ended(NOT_STARTED, b"", str(error).encode(), begin, limit)
    with process, ThreadPoolExecutor(1) as pool:
        watching = pool.submit(watch, process, children, limit, deadline)
        stdin = cast("BinaryIO", process.stdin)
        try:
            # A program that has ended or was killed reads no more: the rest is dropped, so that the answer can come.
            with contextlib.suppress(BrokenPipeError):
                for piece in pieces(frames):
                    stdin.write(piece)
            drain(frames)
        except Refused:
            kill_group(process.pid)  # half an input must not look like a whole one
            raise
        with contextlib.suppress(BrokenPipeError):
            stdin.close()
        status, out, err = watching.result()
    return ended(status, out, err, begin, limit)


def start(request: dict[str, object], children: Children) -> subprocess.Popen[bytes]:
    """The program, with its input in memory: what a program reads may be a secret. OSError when it can't be."""
    source = os.memfd_create("stdin")
    try:
        os.write(source, octets(request, "stdin"))
        os.lseek(source, 0, os.SEEK_SET)
        return children.start(words(request, "argv"), source, is_merged=request.get("is_merged") is True)
    finally:
        os.close(source)


def watch(
    process: subprocess.Popen[bytes], children: Children, limit: int, deadline: float
) -> tuple[int, bytes, bytes]:
    """Collect to the end and have the status, killed at the deadline: then whoever writes to it is free."""
    out, err = collect(process, limit, deadline)
    return children.finish(process, deadline), out, err


def pieces(frames: Frames) -> Iterator[bytes]:
    """The frames until an empty one."""
    while True:
        frame = frames.read()
        if frame is None:
            raise Refused("BAD_REQUEST", "the session ended amid its frames")
        if not frame:
            frames.is_fed = True
            return
        yield frame


def drain(frames: Frames) -> None:
    """Take the frames that are left."""
    while not frames.is_fed and next(pieces(frames), None) is not None:
        pass


def ended(
    status: int, out: bytes, err: bytes, begin: float, limit: int, *, is_cut: bool = False
) -> dict[str, object]:
    """The reply for a program that is over."""
    return {
        "exit": status,
        "stdout": base64.b64encode(out[:limit]).decode(),
        "stderr": base64.b64encode(err[:STDERR_BYTES]).decode(),
        "seconds": time.monotonic() - begin,
        "truncated": is_cut or len(out) > limit,
    }


# --- toolbox ---------------------------------------------------------------------------------------


def install(request: dict[str, object], frames: Frames) -> dict[str, object]:
    """Programs in a folder that is named by their digest: whole or not at all, and sent only when they are not there."""
    digest = text(request, "digest")
    if not re.match(r"[0-9a-f]{16,64}\Z", digest):
        raise Refused("BAD_REQUEST", "no digest")
    try:
        folder = Path(text(request, "cache")).expanduser().resolve() / digest
        if folder.is_dir():
            return {"path": str(folder)}
        frames.reply({"path": ""})
        archive = bytearray()
        for piece in pieces(frames):
            archive += piece
            if len(archive) > MAX_TOOLBOX_BYTES:
                raise Refused("BAD_ARCHIVE", f"more than {MAX_TOOLBOX_BYTES} bytes")
        if hashlib.blake2s(archive).hexdigest() != digest:
            raise Refused("BAD_DIGEST", "the archive is not the one that was announced")
        unpack(bytes(archive), folder, TOOL, MAX_TOOLBOX_BYTES, mode=0o755)
    except OSError as error:
        raise Refused("NO_CACHE", str(error)) from error
    return {"path": str(folder)}


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


def unpack(
    archive: bytes,
    folder: Path,
    wanted: re.Pattern[str] = MODULE,
    limit: int = MAX_ARCHIVE_BYTES,
    mode: int = 0,
) -> Path:
    """The archive's members in this folder, whole or not at all; Numba finds no cache for what is inside a zip."""
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(dir=str(folder.parent), prefix=".unpacking-"))
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as packed:
            check_members(packed, wanted, limit)
            packed.extractall(fresh)
        if mode:  # for everybody: what is mounted into a container is read by whoever is root there
            for path in (fresh, *fresh.iterdir()):
                path.chmod(mode)
        fresh.rename(folder)
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise Refused("BAD_ARCHIVE", str(error)) from error
    except OSError:
        if not folder.is_dir():  # else another session was faster: its content is the same
            raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return folder


def check_members(packed: zipfile.ZipFile, wanted: re.Pattern[str], limit: int) -> None:
    """Only members with such names, and not too much of them."""
    members = packed.infolist()
    for member in members:
        if not wanted.match(member.filename):
            raise Refused("BAD_ARCHIVE", f"member {member.filename!r}")
    if sum(member.file_size for member in members) > limit:
        raise Refused("BAD_ARCHIVE", f"more than {limit} bytes")


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


def large_count(request: dict[str, object], key: str) -> int:
    """A value that has to be a number of bytes, of any number of frames."""
    value = request.get(key)
    if not isinstance(value, int) or not 0 <= value <= MAX_STREAM_BYTES:
        raise Refused("BAD_REQUEST", f"{key} is {value!r}, expected 0 to {MAX_STREAM_BYTES}")
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
