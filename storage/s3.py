"""A history on S3, or on any server that speaks it: paths that do what the history asks of pathlib's.

An object is there whole or not at all: what is written is gathered here first, put under its hidden name, and takes its place
by a copy on the server, which is one moment there as a rename is on a disk. Credentials come by AWS's own ways
(AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, a machine's role) and are never held here.
"""

from __future__ import annotations

import fnmatch
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import PurePosixPath
from typing import IO, Any
from urllib.parse import urlsplit

import pyarrow as pa

from storage.errors import StorageError

SCHEME = "s3://"
CONNECT_S = 10.0
REQUEST_S = 60.0
IN_MEMORY_BYTES = 64 << 20
"""What is longer than this goes by a file of the system's temporary folder on its way to S3."""
_ADDRESS = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])((?:/[A-Za-z0-9_.=-]+)*)/?")


@dataclass(frozen=True, slots=True)
class Bucket:
    """Where objects are, and what keeps their writers apart."""

    name: str
    endpoint: str = ""
    """http(s)://host:port of another server than AWS's."""
    region: str = ""
    """Empty: the one that AWS says."""
    locks: str = field(default="", repr=False)
    """The state's database: S3 has no locks, and whoever writes works on that database anyway."""


@dataclass(frozen=True, slots=True)
class S3Path:
    """An object, or a folder: all objects whose names begin with this one's and a slash."""

    bucket: Bucket
    key: str
    """Names with slashes between; empty: the bucket itself."""

    def __truediv__(self, name: object) -> S3Path:
        """What is below it."""
        return replace(self, key=f"{self.key}/{name}".strip("/"))

    def __str__(self) -> str:
        return f"{SCHEME}{self._full}"

    def __lt__(self, other: S3Path) -> bool:
        return str(self) < str(other)

    @property
    def name(self) -> str:
        """The last of its names."""
        return PurePosixPath(self.key).name

    @property
    def parent(self) -> S3Path:
        """The folder that it is in."""
        return replace(self, key="" if "/" not in self.key else self.key.rpartition("/")[0])

    def with_name(self, name: str) -> S3Path:
        """Beside it, by another name."""
        return self.parent / name

    def locked_by(self, database_url: str) -> S3Path:
        """The same, whose writers this database keeps apart."""
        return replace(self, bucket=replace(self.bucket, locks=database_url))

    def absolute(self) -> S3Path:
        """Itself."""
        return self

    def relative_to(self, root: S3Path) -> PurePosixPath:
        """The names by which one comes here from there."""
        return PurePosixPath(self.key).relative_to(root.key)

    # --- looking ---------------------------------------------------------------------------------------

    def exists(self) -> bool:
        """Whether there is an object or a folder of this name."""
        return bool(self._info().type.name != "NotFound")

    def is_dir(self) -> bool:
        """Whether there is any object below it."""
        return bool(self._info().type.name == "Directory")

    def is_file(self) -> bool:
        """Whether there is an object of this name."""
        return bool(self._info().is_file)

    def listing(self) -> list[S3Path] | None:
        """What lies in the folder; None when there is none."""
        from pyarrow import fs  # noqa: PLC0415  whoever has no history on S3 does not start its threads

        try:
            found = self.filesystem.get_file_info(fs.FileSelector(self._full))
        except FileNotFoundError:
            return None
        return [self / info.base_name for info in found]

    def iterdir(self) -> Iterator[S3Path]:
        """What lies in the folder; FileNotFoundError when there is none."""
        found = self.listing()
        if found is None:
            raise FileNotFoundError(str(self))
        yield from found

    def glob(self, pattern: str) -> Iterator[S3Path]:
        """What lies below it by these names; there may be several with slashes between."""
        first, _, rest = pattern.partition("/")
        for found in self.listing() or ():
            if fnmatch.fnmatchcase(found.name, first):
                yield from found.glob(rest) if rest else (found,)

    def size(self) -> int:
        """Bytes; FileNotFoundError when there is no such object."""
        info = self._info()
        if not info.is_file:
            raise FileNotFoundError(str(self))
        return int(info.size)

    def tag(self) -> str:
        """What is another one for every other content; FileNotFoundError when there is no such object."""
        with self.opened() as file:
            return str(file.metadata()[b"ETag" if b"ETag" in file.metadata() else "ETag"])

    # --- reading and writing ---------------------------------------------------------------------------

    def opened(self) -> pa.NativeFile:
        """The object, to be read from anywhere in it; FileNotFoundError when it is not there."""
        return self.filesystem.open_input_file(self._full)

    def read_bytes(self) -> bytes:
        """All of it."""
        with self.opened() as file:
            return bytes(file.read())

    def read_text(self, encoding: str = "utf-8") -> str:
        """All of it as text."""
        return self.read_bytes().decode(encoding)

    def write_bytes(self, content: bytes) -> None:
        """Put it there."""
        with self.written() as file:
            file.write(content)

    def write_text(self, content: str, encoding: str = "utf-8") -> None:
        """Put it there."""
        self.write_bytes(content.encode(encoding))

    @contextmanager
    def written(self) -> Iterator[IO[bytes]]:
        """A file whose content is put there at the block's end, and not at all when the block fails.

        OSError when less of it arrived than was sent: a stream to S3 that breaks off can leave its begin.
        """
        with tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES) as file:
            yield file
            size = file.tell()
            file.seek(0)
            with self.filesystem.open_output_stream(self._full) as stream:
                shutil.copyfileobj(file, stream, 8 << 20)
            if self.size() != size:
                raise OSError(f"{self} has not the {size} bytes that were sent")

    def replace(self, place: object) -> None:
        """Take that place, in one moment; what is there so far is no more."""
        self.filesystem.copy_file(self._full, str(place).removeprefix(SCHEME))
        self.unlink()

    def unlink(self, missing_ok: bool = False) -> None:  # noqa: FBT001, FBT002  as pathlib's
        """Remove the object."""
        try:
            self.filesystem.delete_file(self._full)
        except FileNotFoundError:
            if not missing_ok:
                raise

    def rmdir(self) -> None:
        """Remove what marks an empty folder, where the server keeps such marks."""
        if self.is_dir():
            self.filesystem.delete_dir(self._full)

    def mkdir(self, **_: Any) -> None:
        """Nothing: folders are names."""

    @property
    def filesystem(self) -> Any:
        """Arrow's connection; one for each server and process."""
        return _connected(self.bucket.endpoint, self.bucket.region)

    @property
    def source(self) -> str:
        """The path as Arrow's filesystem takes it."""
        return self._full

    @property
    def _full(self) -> str:
        return f"{self.bucket.name}/{self.key}".rstrip("/")

    def _info(self) -> Any:
        return self.filesystem.get_file_info(self._full)


def s3_path(text: str, environment: Mapping[str, str], locks: str = "") -> S3Path:
    """`s3://bucket/folder`, with the server and the region that the environment names as AWS's own tools read it.

    Raises StorageError when it is no such address.
    """
    found = _ADDRESS.fullmatch(text)
    if found is None:
        raise StorageError("an address such as s3://bucket/folder, of letters, digits, '_', '.', '=' and '-'")
    endpoint = environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL") or ""
    if endpoint and not re.fullmatch(r"https?://[^/@]+/?", endpoint):
        raise StorageError("AWS_ENDPOINT_URL is not of the form http://host:port or https://host:port")
    region = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or ""
    return S3Path(Bucket(found[1], endpoint.rstrip("/"), region, locks), found[2].strip("/"))


@cache
def _connected(endpoint: str, region: str) -> Any:
    from pyarrow import fs  # noqa: PLC0415  whoever has no history on S3 does not start its threads

    parts = urlsplit(endpoint)
    return fs.S3FileSystem(
        region=region or ("us-east-1" if endpoint else None),
        scheme=parts.scheme or None,
        endpoint_override=parts.netloc or None,
        connect_timeout=CONNECT_S,
        request_timeout=REQUEST_S,
        allow_delayed_open=True,  # what is short is one request instead of three
    )
