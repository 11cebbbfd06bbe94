"""The one credential of a Prefect server, in a file that only its owner may read.

Whoever reaches a Prefect server can run code on its workers, so none of ours is ever open. The server makes the file when it
starts and there is none; whoever works with the server reads it. It knows no Prefect: its settings are read when it is imported.

A file is believed to be the credential of a server on this computer alone, unless `SUBNET_PREFECT_AUTH_FILE` names it: a password
is sent to nobody who only stands in PREFECT_API_URL.
"""

from __future__ import annotations

import ipaddress
import os
import re
import secrets
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from tasks.errors import SettingError

FILE = "SUBNET_PREFECT_AUTH_FILE"
ASKED, SENT = "PREFECT_SERVER_API_AUTH_STRING", "PREFECT_API_AUTH_STRING"
"""What a Prefect server asks for, and what its clients send."""
USER = "subnet"
MAX_BYTES = 4_096
_REPOSITORY = Path(__file__).parents[1]


def file_of(environment: Mapping[str, str]) -> Path:
    """Where the credential is kept: where the setting says, else beside the Prefect server's own files."""
    if asked := environment.get(FILE, ""):
        return Path(asked).expanduser()
    return auth_file(Path(environment.get("SUBNET_FOLDER") or _REPOSITORY / ".local").expanduser())


def auth_file(folder: Path) -> Path:
    """Where the credential is kept beside the state."""
    return folder / "prefect" / "auth"


def read_auth(file: Path) -> str:
    """`user:password`; SettingError when others may read it, or it is something else."""
    expected = "user:password on one line, with a password of 16 characters or more"
    return read_secret(FILE, file, r"[!-9;-~]{1,64}:[!-~]{16,256}", expected)


def read_secret(key: str, file: Path, pattern: str, expected: str) -> str:
    """The one line of a file that its owner alone may read; SettingError, without the line, when it is something else."""
    try:
        if file.stat().st_mode & 0o077:
            raise SettingError(key, str(file), "a file that its owner alone may read: `chmod 600` it")
        text = file.read_bytes()[:MAX_BYTES].decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(key, str(file), f"a file that can be read ({error})") from None
    if not re.fullmatch(pattern, text):
        raise SettingError(key, str(file), f"a file with {expected}")
    return text


def make_auth(file: Path) -> str:
    """The credential of this file, made when there is none; two servers that start at once have one."""
    if not file.exists():
        try:
            _make(file)
        except OSError as error:
            raise SettingError(FILE, str(file), f"a file that can be made ({error.strerror})") from None
    return read_auth(file)


def _make(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f"{file.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as made:
        made.write(f"{USER}:{secrets.token_urlsafe(32)}\n")
    with suppress(FileExistsError):
        os.link(draft, file)
    draft.unlink()


def require_auth(environment: MutableMapping[str, str]) -> None:
    """For a server: a credential that is asked for, whether somebody has thought of one or not."""
    if not environment.get(ASKED):
        environment[ASKED] = make_auth(file_of(environment))


def take_auth(environment: MutableMapping[str, str]) -> None:
    """For whoever works with the server that PREFECT_API_URL names: the credential of its file, where that is its server's.

    That of this computer is made here when there is none: all processes may start at once, and the server finds it.
    """
    url = environment.get("PREFECT_API_URL", "")
    if environment.get(SENT) or not url:
        return
    if environment.get(FILE):
        environment[SENT] = read_auth(file_of(environment))
    elif is_here(url):
        environment[SENT] = make_auth(file_of(environment))


def is_here(url: str) -> bool:
    """Whether an address is of this computer alone."""
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
