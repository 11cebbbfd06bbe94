"""Which files of the history count. A table's folder of one day:

    <root>/<table>/day=YYYY-MM-DD/epoch-<n>.parquet   an epoch, as it was archived
                                  fold-<id>.parquet   many epochs in one file; never written again under its name
                                  _folds.json         the manifest: which folds count, and which epochs of each

An epoch file counts unless the manifest names its epoch; a fold counts only as far as the manifest says so. The manifest
is replaced by one rename, so what counts changes in one moment, and whatever was killed before it or after it has
changed nothing or all. Files that no longer count are removed afterwards: a reader that finds one gone looks again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from functools import cache
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from storage.errors import HistoryDamaged, StorageError
from storage.places import Place, each, first_bytes, flush_folder, move, names_in, written
from storage.s3 import S3Path
from storage.schemas import SCHEMAS

T = TypeVar("T")

MANIFEST = "_folds.json"
MAX_MANIFEST_BYTES = 8 << 20
LOOKS = 50
"""Each further look means that somebody has folded or forgotten something meanwhile."""
MAX_EPOCH = (1 << 63) - 1
_EPOCH_FILE = re.compile(r"epoch-(0|[1-9][0-9]{0,18})\.parquet")
_FOLD_FILE = re.compile(r"fold-[0-9a-f]{32}\.parquet")


class FileGone(HistoryDamaged):
    """A file that counted a moment ago is not there any more; look again."""


@dataclass(frozen=True, slots=True)
class Fold:
    """A file with many epochs."""

    file: str
    epochs: Mapping[int, int]
    """Those that count, with the schema that each was archived in."""
    without: tuple[int, ...] = ()
    """Those in the file that do not count any more: they were archived again, or forgotten."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What counts in a table's folder of one day beside its epoch files."""

    folds: tuple[Fold, ...] = ()
    dropped: tuple[int, ...] = ()
    """Epochs whose files do not count and are about to be removed."""

    @property
    def named(self) -> frozenset[int]:
        """The epochs whose own files do not count."""
        return frozenset(self.dropped).union(*(fold.epochs for fold in self.folds))

    def less(self, epoch: int) -> Manifest:
        """The same without this epoch, so that its own file counts again."""
        folds = tuple(_less(fold, epoch) for fold in self.folds)
        return Manifest(tuple(f for f in folds if f.epochs), tuple(e for e in self.dropped if e != epoch))


@dataclass(frozen=True, slots=True)
class Part:
    """A file of the history and the epochs of which its rows count, ascending."""

    path: Place
    day: str
    """YYYY-MM-DD, UTC."""
    epochs: tuple[int, ...]
    fold: Fold | None = None
    """None: the file of one epoch."""

    @property
    def is_filtered(self) -> bool:
        """Whether some of its rows do not count."""
        return self.fold is not None and (bool(self.fold.without) or len(self.epochs) < len(self.fold.epochs))


# --- reading ---------------------------------------------------------------------------------------


def folders_of(root: Place, name: str, day: date | str | None = None) -> list[Place]:
    """A table's folders by day, the oldest first."""
    if name not in SCHEMAS:
        raise StorageError(f"the history has no table {name!r}, it has {', '.join(sorted(SCHEMAS))}")
    wanted = "*" if day is None else date.fromisoformat(str(day)).isoformat()
    return sorted((root / name).glob(f"day={wanted}"))


def day_of(folder: Place) -> str:
    """YYYY-MM-DD, from the folder's name."""
    return folder.name.removeprefix("day=")


def parts_of(folder: Place) -> list[Part]:
    """The files of a table's day that count, in the order of their first epochs.

    The manifest is the same before and after the listing, so the listing is of one moment: files are only removed after
    the manifest has changed.
    """
    if isinstance(folder, S3Path) and MANIFEST not in (found := _listing(folder) or []):
        if not found and folder.is_file():
            raise HistoryDamaged(str(folder), "it is no folder")
        return _parts(folder, Manifest(), found)  # a listing there is of one moment
    for _ in range(LOOKS):
        before = _manifest_bytes(folder)
        names = _listing(folder)
        if _manifest_bytes(folder) == before and (names is None) == (not folder.is_dir()):
            return _parts(folder, _parsed(folder, before), names or [])
    raise HistoryDamaged(str(folder), f"its manifest changed {LOOKS} times in a row")


def table_parts(root: Place, name: str) -> list[Part]:
    """The files of a table that count, by day and epoch.

    An epoch is in the history once: of two days that hold it, as long as its second writing is under way, the later counts.
    """
    found = [part for parts in each(parts_of, folders_of(root, name)) for part in parts]
    days = {epoch: part.day for part in found for epoch in part.epochs}
    if sum(len(part.epochs) for part in found) > len(days):
        kept = (replace(p, epochs=tuple(e for e in p.epochs if days[e] == p.day)) for p in found)
        found = [part for part in kept if part.epochs]
    return found


def settled(read: Callable[[], T]) -> T:
    """What `read` gives; it is called again when a file that it found was folded or forgotten before it was opened."""
    for _ in range(LOOKS):
        try:
            return read()
        except FileGone as gone:
            last = gone
    raise last


def manifest_of(folder: Place) -> Manifest:
    """The manifest of a table's day; an empty one where nothing was folded."""
    return _parsed(folder, _manifest_bytes(folder))


def _less(fold: Fold, epoch: int) -> Fold:
    if epoch not in fold.epochs:
        return fold
    left = {e: version for e, version in fold.epochs.items() if e != epoch}
    return replace(fold, epochs=left, without=(*fold.without, epoch))


def _listing(folder: Place) -> list[str] | None:
    """The names in a folder; what has the name of one of ours and is no file, such as a pipe, would be waited for without end."""
    names = names_in(folder)
    if isinstance(folder, Path):
        for name in names or ():
            path = folder / name
            if (
                (epoch_of(name) is not None or _FOLD_FILE.fullmatch(name))
                and not path.is_file()
                and path.exists()
            ):
                raise HistoryDamaged(str(path), "it is no regular file")
    return names


def _manifest_bytes(folder: Place) -> bytes:
    try:
        return first_bytes(folder / MANIFEST, MAX_MANIFEST_BYTES)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise HistoryDamaged(str(folder / MANIFEST), error.strerror or str(error)) from error


@cache
def _adapter() -> TypeAdapter[Manifest]:
    return TypeAdapter(Manifest)


def _parsed(folder: Place, content: bytes) -> Manifest:
    if not content:
        return Manifest()
    try:
        manifest = _adapter().validate_json(content)
    except ValidationError as error:
        raise HistoryDamaged(str(folder / MANIFEST), str(error)) from error
    strange = [fold.file for fold in manifest.folds if not _FOLD_FILE.fullmatch(fold.file)]
    if strange:
        raise HistoryDamaged(str(folder / MANIFEST), f"it names {strange[0]!r}")
    epochs = [epoch for fold in manifest.folds for epoch in fold.epochs]
    if len(set(epochs)) < len(epochs) or any(not 0 <= epoch <= MAX_EPOCH for epoch in epochs):
        raise HistoryDamaged(str(folder / MANIFEST), "an epoch is in two folds, or is no number of an epoch")
    return manifest


def _parts(folder: Place, manifest: Manifest, names: Iterable[str]) -> list[Part]:
    day, named = day_of(folder), manifest.named
    folds = [Part(folder / f.file, day, tuple(sorted(f.epochs)), f) for f in manifest.folds]
    single = [
        Part(folder / name, day, (epoch,))
        for name in names
        if (epoch := epoch_of(name)) is not None and epoch not in named
    ]
    return sorted(folds + single, key=lambda part: part.epochs[:1])


def epoch_of(name: str) -> int | None:
    """The epoch of an epoch file's name, None for any other file."""
    found = _EPOCH_FILE.fullmatch(name)
    return int(found[1]) if found and int(found[1]) <= MAX_EPOCH else None


# --- writing ---------------------------------------------------------------------------------------


def replace_manifest(folder: Place, manifest: Manifest) -> None:
    """Put a manifest in the place of the old one, in one moment; an empty one is no file."""
    if manifest == Manifest():
        (folder / MANIFEST).unlink(missing_ok=True)
    else:
        hidden = folder / f".{MANIFEST}.part"
        with written(hidden) as file:
            file.write(_text(manifest))
        move(hidden, folder / MANIFEST)
    flush_folder(folder)


def tidy(folder: Place) -> None:
    """Remove what no longer counts in a table's day, for those who read the folder without its manifest."""
    manifest = manifest_of(folder)
    counting, named = {fold.file for fold in manifest.folds}, manifest.named
    for name in _listing(folder) or []:
        is_stray = _FOLD_FILE.fullmatch(name) and name not in counting
        if is_stray or epoch_of(name) in named:
            (folder / name).unlink(missing_ok=True)
    if manifest.dropped:
        replace_manifest(folder, replace(manifest, dropped=()))
    if not _listing(folder):
        folder.rmdir()
        folder = folder.parent
    flush_folder(folder)


def _text(manifest: Manifest) -> bytes:
    folds = [
        {"file": f.file, "epochs": dict(sorted(f.epochs.items())), "without": f.without}
        for f in manifest.folds
    ]
    return json.dumps({"folds": folds, "dropped": manifest.dropped}).encode()
