"""What a miner's agent keeps in its folder: swaps of cards that it shows to validators, and what these told it last.

    FOLDER/swaps/<unix seconds>-<executor>.txt      a signed statement each, shown while it is valid
    FOLDER/results/<validator's hotkey>.json        the last results of each validator, whole or not at all
    FOLDER/agent.sqlite                             who came to the door, and nonces (`deployments/miner/visits.py`, `tasks/edges/nonces.py`)

Everything read back is bounded: a file that is too large, no regular file or of another form is passed over.
"""

from __future__ import annotations

import os
import re
import stat
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from tasks.edges import wire
from tasks.swaps import Swap, read_swap

SHOWN_S = 604_800
"""How long a swap is shown: as long as validators take it by their own default."""
MAX_VALIDATORS = 256
_SWAP_FILE = re.compile(r"([0-9]{1,11})-[a-z0-9-]{1,64}\.txt", re.ASCII)
_RESULT_FILE = re.compile(r"[1-9A-HJ-NP-Za-km-z]{48}\.json", re.ASCII)


def keep_swap(folder: Path, swap: Swap) -> Path:
    """Keep a signed swap for the agent to show; the file that it lies in."""
    path = folder / "swaps" / f"{int(swap.signed_at.timestamp())}-{swap.executor_id}.txt"
    _write(path, swap.statement.encode("ascii"))
    return path


def shown_swaps(folder: Path, now_s: float) -> tuple[str, ...]:
    """The statements that are still valid, the newest first, at most as many as an answer holds."""
    names = sorted(
        (
            name
            for name in _names(folder / "swaps")
            if (match := _SWAP_FILE.fullmatch(name)) and _is_fresh(match, now_s)
        ),
        key=lambda name: (-int(name.partition("-")[0]), name),
    )
    texts = (_read(folder / "swaps" / name, wire.MAX_STATEMENT_CHARS) for name in names[: wire.MAX_SWAPS])
    return tuple(text for content in texts if read_swap(text := content.decode("ascii", "replace")))


def keep_results(folder: Path, validator: str, results: wire.Results) -> None:
    """Keep what a validator told, in the place of what it told before."""
    _write(folder / "results" / f"{validator}.json", results.model_dump_json().encode("utf-8"))
    _forget_oldest(folder / "results")


def told_results(folder: Path) -> dict[str, wire.Results]:
    """The last results of each validator, by its hotkey."""
    found = {}
    for name in sorted(n for n in _names(folder / "results") if _RESULT_FILE.fullmatch(n)):
        with suppress(ValidationError):
            content = _read(folder / "results" / name, 2 * wire.MAX_RESULTS_BYTES)
            found[name.removesuffix(".json")] = wire.Results.model_validate_json(content)
    return found


def _is_fresh(match: re.Match[str], now_s: float) -> bool:
    return now_s - int(match[1]) <= SHOWN_S


def _names(folder: Path) -> list[str]:
    try:
        return [path.name for path in folder.iterdir()]
    except FileNotFoundError:
        return []


def _read(path: Path, limit_bytes: int) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return b""
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return b""
        content = file.read(limit_bytes + 1)
    return content if len(content) <= limit_bytes else b""


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    draft.replace(path)


def _forget_oldest(folder: Path) -> None:
    """Validators come and go: what the longest silent ones told is dropped."""
    paths = [folder / name for name in _names(folder) if _RESULT_FILE.fullmatch(name)]
    if len(paths) > MAX_VALIDATORS:
        for path in sorted(paths, key=lambda p: p.stat().st_mtime_ns)[:-MAX_VALIDATORS]:
            path.unlink(missing_ok=True)
