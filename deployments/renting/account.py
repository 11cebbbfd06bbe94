"""Which market a renter talks to and with which API key: files of their own, never an argument, one key for one market.

A market is, in this order: `--api`, SUBNET_API, what `subnet rent login` has kept, the local market of `subnet up`.
A key goes only to the market it was kept for, and never in the clear over a network.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tasks.errors import NotLoggedIn, SettingError

REPOSITORY = Path(__file__).parents[2]
MAX_FILE_BYTES = 4096
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_KEY = re.compile(r"sn_[A-Za-z0-9]{1,64}_[A-Za-z0-9_-]{16,200}\Z", re.ASCII)
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,252})\Z|[0-9A-Fa-f:.]{2,45}\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Market:
    """An address of the API, and the file with the key for it."""

    url: str
    key_file: Path
    is_ours: bool = True
    """Whether we made the key's file; another's is what SUBNET_API_KEY_FILE names."""

    @property
    def is_loopback(self) -> bool:
        """Whether it runs on this computer."""
        return (urlsplit(self.url).hostname or "") in LOOPBACK


def find_market(environment: Mapping[str, str], asked: str | None) -> Market:
    """The market of `--api`, the environment, the last login, or this computer; SettingError when there is none."""
    folder, local = config_folder(environment), local_folder(environment)
    kept = _read_text(folder / "api")
    key_file = environment.get("SUBNET_API_KEY_FILE", "")
    named = (("--api", asked), ("SUBNET_API", environment.get("SUBNET_API")), (str(folder / "api"), kept))
    for key, value in named:
        if value:
            url = checked_url(key, value.strip())
            own = folder / "keys" / re.sub(r"[^a-z0-9.-]", "_", url.partition("://")[2].lower())
            return Market(url, Path(key_file).expanduser() if key_file else own, is_ours=not key_file)
    url = _local_url(local / "run" / "market.json")
    own = local / "rent" / "api-key"
    return Market(url, Path(key_file).expanduser() if key_file else own, is_ours=not key_file)


def config_folder(environment: Mapping[str, str]) -> Path:
    """Where the renter's settings lie: `~/.config/subnet`, or below XDG_CONFIG_HOME."""
    base = environment.get("XDG_CONFIG_HOME") or str(
        Path(environment.get("HOME") or "~").expanduser() / ".config"
    )
    return Path(base).absolute() / "subnet"


def local_folder(environment: Mapping[str, str]) -> Path:
    """The folder of the local system on this computer."""
    return Path(environment.get("SUBNET_FOLDER") or str(REPOSITORY / ".local")).expanduser().absolute()


def checked_url(key: str, value: str) -> str:
    """The address without a trailing slash; http only to this computer: a key in the clear is everybody's key."""
    try:
        parts = urlsplit(value)
        host, _port = parts.hostname or "", parts.port
    except ValueError:
        raise SettingError(key, value[:100], "an address like https://market.example") from None
    is_plain = not (parts.username or parts.password or parts.query or parts.fragment)
    if (
        parts.scheme not in {"http", "https"}
        or not _HOST.match(host)
        or not is_plain
        or not value.isprintable()
    ):
        raise SettingError(key, value[:100], "an address like https://market.example")
    if parts.scheme == "http" and host not in LOOPBACK:
        raise SettingError(
            key,
            value[:100],
            "https:// (http:// would show your key to the network; http://127.0.0.1 behind `ssh -L` is fine)",
        )
    return value.rstrip("/")


def checked_key(text: str) -> str:
    """An API key as the market prints it; its text is never shown, also not when it is wrong."""
    key = text.strip()
    if not _KEY.match(key):
        raise SettingError("the API key", "(not shown)", "sn_<id>_<secret>, as the market printed it")
    return key


def read_key(market: Market) -> str:
    """The key for a market; NotLoggedIn when there is none, SettingError when others could read it."""
    try:
        with market.key_file.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(MAX_FILE_BYTES).decode("ascii", "replace")
    except (FileNotFoundError, NotADirectoryError):
        raise NotLoggedIn(market.url) from None
    except OSError as error:
        raise SettingError(
            str(market.key_file), "this file", f"one that can be read ({error.strerror})"
        ) from None
    if market.is_ours and stat.S_IMODE(mode) & 0o077:
        raise SettingError(str(market.key_file), f"mode {stat.S_IMODE(mode):04o}", "0600: chmod 600 it")
    return checked_key(text)


def save_login(environment: Mapping[str, str], market: Market, key: str, *, is_local: bool) -> None:
    """Keep the key, for this market only; the market itself is the next commands' too, unless it is the local one."""
    write_private(market.key_file, checked_key(key) + "\n")
    if not is_local:
        write_private(config_folder(environment) / "api", market.url + "\n")


def forget_login(environment: Mapping[str, str], market: Market) -> bool:
    """Remove a market's key from this computer; False when there was none."""
    was = market.is_ours and market.key_file.exists()
    if was:
        market.key_file.unlink(missing_ok=True)
    kept = config_folder(environment) / "api"
    if _read_text(kept).strip() == market.url:
        kept.unlink(missing_ok=True)
    return was


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.unlink(missing_ok=True)
    file = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(file, "w") as opened:
            opened.write(text)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def is_local(environment: Mapping[str, str], market: Market) -> bool:
    """Whether the market is the one that `subnet up` keeps on this computer."""
    return market.key_file == local_folder(environment) / "rent" / "api-key"


def _local_url(run_file: Path) -> str:
    told = _read_text(run_file)
    try:
        found = json.loads(told) if told else {}
    except ValueError:
        found = {}
    url = found.get("url") if isinstance(found, dict) else None
    if not isinstance(url, str):
        raise SettingError(
            "SUBNET_API",
            "",
            "the market's address: set it, or --api, or `subnet rent login --api https://...`; `subnet up` starts a local one",
        )
    return checked_url(str(run_file), url)


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(MAX_FILE_BYTES).decode("utf-8", "replace").strip()
    except OSError:
        return ""
