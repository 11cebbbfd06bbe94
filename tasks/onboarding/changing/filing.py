"""Files and folders of root's."""

from __future__ import annotations

import base64
import contextlib
import errno
import hashlib
import json
import os
import pwd
import stat
from pathlib import Path
from typing import Any

from tasks.onboarding.changing.journal import (
    Change,
    Entry,
    Failed,
    Left,
    Work,
    remove,
    replace_whole,
    temporary,
)
from tasks.onboarding.changing.system import delete

MAX_FILE_BYTES = 1 << 20
"""Of a file that is kept in the journal before it is replaced."""


def put_file(wanted: Change, work: Work) -> list[str]:
    """A file of root's, whole; what was there is kept."""
    path, data, mode = wanted["path"], wanted["text"].encode(), wanted["mode"]
    before, made = kept(path), {"data": base64.b64encode(data).decode(), "mode": mode, "uid": 0, "gid": 0}
    if before == made:
        return []
    refuse_read_only(path)
    if not work.is_dry:
        entry = work.journal.note("file", path, before=before, made=[digest_of(made)])
        note_made(entry, made, work)
        replace_whole(path, data, mode)
    return [path]


def note_made(entry: Entry, made: dict[str, object] | None, work: Work) -> None:
    """What we make of a file, beside what we made of it earlier."""
    if digest_of(made) not in entry["made"]:
        entry["made"].append(digest_of(made))
        work.journal.save()


def digest_of(found: dict[str, object] | None) -> str:
    """Of all that there is to know of a file."""
    return hashlib.blake2s(json.dumps(found, sort_keys=True).encode()).hexdigest()


def kept(path: str) -> dict[str, object] | None:
    """All that there is to know of a file, None when there is none."""
    try:
        status = Path(path).lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    if stat.S_ISLNK(status.st_mode):
        return {"link": os.readlink(path)}  # noqa: PTH115  pathlib's is 3.9's
    if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_FILE_BYTES:
        raise Failed("NOT_OURS", f"{path} is no file, or over {MAX_FILE_BYTES >> 20} MiB")
    data = base64.b64encode(Path(path).read_bytes()).decode()
    return {"data": data, "mode": stat.S_IMODE(status.st_mode), "uid": status.st_uid, "gid": status.st_gid}


def undo_file(entry: Entry) -> Left:
    """As it was; one that is not what we made of it any more is left."""
    path, before = entry["key"], entry["before"]
    now = kept(path)
    if now != before and digest_of(now) not in entry["made"]:
        return [(path, "it was changed since: take out of it what is not yours by hand")]
    put_back(path, before)
    return []


def put_back(path: str, before: dict[str, Any] | None) -> None:
    """What was kept of this file, in its place again."""
    remove([temporary(path)])
    if before is None:
        remove([path])
    elif "link" in before:
        Path(temporary(path)).symlink_to(before["link"])
        Path(temporary(path)).replace(path)
    else:
        data = base64.b64decode(before["data"])
        replace_whole(path, data, before["mode"], before["uid"], before["gid"])


def make_folder(wanted: Change, work: Work) -> list[str]:
    """A folder with its owner and mode; `is_whole`: whatever comes to lie in it is ours."""
    path, mode, owner = wanted["path"], wanted["mode"], wanted["owner"]
    before = standing(path)
    try:
        uid, gid = pwd.getpwnam(owner).pw_uid, pwd.getpwnam(owner).pw_gid
    except KeyError:  # an account that an earlier step makes
        uid = gid = -1
    if before == {"mode": mode, "uid": uid, "gid": gid}:
        return []
    refuse_read_only(path)
    if not work.is_dry:
        work.journal.note("folder", path, before=before, is_whole=wanted["is_whole"])
        with contextlib.suppress(FileExistsError):
            Path(path).mkdir(0o700)
        os.chown(path, uid, gid)
        Path(path).chmod(mode)
    return [path]


def standing(path: str) -> dict[str, int] | None:
    """Mode and owner of a folder."""
    try:
        status = Path(path).stat()
    except FileNotFoundError:
        return None
    if not stat.S_ISDIR(status.st_mode):
        raise Failed("NOT_OURS", f"{path} is no folder")
    return {"mode": stat.S_IMODE(status.st_mode), "uid": status.st_uid, "gid": status.st_gid}


def undo_folder(entry: Entry) -> Left:
    """Away, or as it was; what others put into it is left."""
    path, before = entry["key"], entry["before"]
    if not Path(path).is_dir():
        return []
    if before is not None:
        os.chown(path, before["uid"], before["gid"])
        Path(path).chmod(before["mode"])
    elif entry["is_whole"]:
        delete(path)
    else:
        try:
            Path(path).rmdir()
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:
                raise
            return [
                (
                    path,
                    f"what lies in it is not ours: {', '.join(sorted(p.name for p in Path(path).iterdir())[:5])}",
                )
            ]
    return []


def refuse_read_only(path: str) -> None:
    """READ_ONLY where nothing can be written."""
    place = Path(path)
    while not place.exists() and place != place.parent:
        place = place.parent
    if os.statvfs(str(place)).f_flag & os.ST_RDONLY:
        raise Failed("READ_ONLY", f"{place} lies on a file system that is read-only")
