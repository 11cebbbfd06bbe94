"""The validator's settings, read once from the environment when a flow or a command starts.

Every key, its meaning and its default stand in `.env.example`; a value that does not fit is a
`SettingError` that names the key, the value and what was expected.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlsplit

from flows.policies import SUFFIX, named_policy
from storage.errors import StorageError
from storage.places import Place
from storage.s3 import SCHEME, s3_path
from tasks.errors import SettingError
from tasks.origins import origin_of
from tasks.policy import PRESETS
from tasks.pricing.sources import SOURCES

PREFIX = "SUBNET_"
HIDDEN = "(not shown)"
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
CREWS = ("processes", "threads", "dask", "ray")
PRESET_NETWORKS = ("embedded", "finney", "test", "local", "archive")


@dataclass(frozen=True, slots=True)
class Settings:
    """Where this validator's outside worlds are, and who it is."""

    network: str = "embedded"
    """`embedded`, `finney`, `test`, `local` or a ws:// or wss:// address."""
    netuid: int = 51
    wallet_path: Path = Path(".local/wallets")
    wallet_name: str = "validator"
    wallet_hotkey: str = "default"
    wallet_password_file: Path | None = None
    """Holds the password of an encrypted hotkey; never the environment, never an argument."""
    policy: str = "default"
    database_url: str = "sqlite:///.local/validator.sqlite"
    history: Place = Path(".local/history")
    """A folder, or one on S3 with the server and the region of AWS's own variables."""
    cache: Path = Path(".local/cache")
    price_sources: tuple[str, ...] = tuple(SOURCES)
    """Names of the sources that are asked; none: only the price file counts."""
    price_file: Path | None = None
    """Another price file than ours."""
    trustee: str = ""
    """The address that miners send their collateral to; empty: deposits are recorded on the operator's word."""
    deposit_address: str = ""
    """The address that renters send TAO to; empty: only operators credit them."""
    chain_deadline_s: float = 45.0
    miner_deadline_s: float = 10.0
    executors_per_shard: int = 100
    max_sessions: int = 1_000
    """Machines that are talked to at once; a network with more is proved in several waves."""
    max_open: int = 10_000
    """SSH sessions that stay open, idle, from a machine's visit to its proof: 0.1 MiB each. Who has none logs in twice."""
    crew: str = "processes"
    """Who talks to machines: `processes` of this computer, `threads` of the flow's own, or workers of `dask` or `ray`."""
    cluster: str = ""
    """Where the scheduler of Dask or Ray is; empty: a cluster of this computer, for each epoch."""
    crew_host: str = "127.0.0.1"
    """The address at which workers of a cluster reach the flow."""
    hands: int = 0
    """Of them at once, at most; 0: one a core."""
    hand_mib: int = 2_048
    """What one may hold in memory before it is ended and its machines go to another."""
    secrets_key: Path = Path(".local/secrets.key")
    """Encrypts renters' secrets in the database; made when it is not there."""
    backups: Path = Path(".local/backups")
    """The folder of renters' backups."""
    trusted_proxies: tuple[Network, ...] = ()
    """Proxies before the marketplace whose X-Forwarded-For is believed; none: nobody's is."""
    market_origins: tuple[str, ...] = ()
    """Where browsers find the marketplace's pages, such as https://market.example; none: on its own computer, at any port."""
    operators: tuple[str, ...] = ()
    """Hotkeys whose owners see the operator's page, beside the validator's own."""
    sign_up: str = ""
    """`open`: whoever looks at the marketplace's pages may make an account; `closed`: operators make them; empty: open on
    the local subnet alone."""
    keep_transcripts_days: int = 0
    """Days after which `subnet history forget` empties transcripts; 0: never."""
    keep_days: int = 0
    """Days after which it forgets everything; 0: never."""

    @property
    def is_embedded(self) -> bool:
        """Whether the chain is the local subnet's own."""
        return self.network == "embedded"

    @property
    def is_sign_up_open(self) -> bool:
        """Whether whoever looks at the marketplace's pages may make an account."""
        return self.sign_up == "open" or (not self.sign_up and self.is_embedded)


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Settings from variables named SUBNET_*; what is not set keeps its default."""
    known = {PREFIX + name.upper() for name in _READERS}
    for key in environment:
        if key.startswith(PREFIX) and key not in known and key not in _ELSEWHERE:
            # Never its value: a mistaken key is likely to be a password's.
            raise SettingError(key, HIDDEN, "a known key; .env.example lists them all")
    values = {
        name: read(PREFIX + name.upper(), environment[PREFIX + name.upper()].strip())
        for name, read in _READERS.items()
        if environment.get(PREFIX + name.upper(), "").strip()
    }
    settings = Settings(**values)  # type: ignore[arg-type]  # each reader returns its field's type
    return (
        settings
        if isinstance(settings.history, Path)
        else replace(settings, history=_on_s3(settings, environment))
    )


def _on_s3(settings: Settings, environment: Mapping[str, str]) -> Place:
    """The history with the server that AWS's own variables name, and the database that keeps its writers apart."""
    try:
        return s3_path(str(settings.history), environment, settings.database_url)
    except StorageError as error:
        raise SettingError(PREFIX + "HISTORY", str(settings.history), str(error)) from error


def _network(key: str, value: str) -> str:
    if value in PRESET_NETWORKS:
        return value
    try:
        parts = urlsplit(value)
        is_address = parts.scheme in ("ws", "wss") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_address = False
    if not is_address:
        raise SettingError(
            key, value, "one of " + ", ".join(PRESET_NETWORKS) + " or a ws:// or wss:// address"
        )
    return value


def _word(key: str, value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", value):
        raise SettingError(key, value, "1 to 64 letters, digits, '_', '.' or '-'")
    return value


def _address(key: str, value: str) -> str:
    if not re.fullmatch(r"[1-9A-HJ-NP-Za-km-z]{48}", value):
        raise SettingError(key, value, "an SS58 address of 48 characters")
    return value


def _addresses(key: str, value: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_address(key, part.strip()) for part in value.split(",")))


def _policy(key: str, value: str) -> str:
    if value.endswith(SUFFIX):
        named_policy(value)
    elif value not in PRESETS:
        raise SettingError(
            key, value, "one of " + ", ".join(sorted(PRESETS)) + ", or a path that ends in .json"
        )
    return value


def _path(key: str, value: str) -> Path:
    try:
        return Path(value).expanduser()
    except RuntimeError:
        raise SettingError(key, value, "a path; ~ and a name only for a user of this machine") from None


def _history(key: str, value: str) -> Place:
    if not value.startswith(SCHEME):
        return _path(key, value)
    try:
        return s3_path(value, {})
    except StorageError as error:
        raise SettingError(key, value, str(error)) from None


def _url(key: str, value: str) -> str:
    if not value.startswith(("sqlite:///", "postgresql")):
        # Its scheme alone: whatever follows may hold a password.
        shown = value.partition(":")[0] if "://" in value else HIDDEN
        raise SettingError(key, shown, "a sqlite:/// or postgresql:// address")
    return value


def _sign_up(key: str, value: str) -> str:
    if value not in ("open", "closed"):
        raise SettingError(key, value, "open or closed")
    return value


def _crew(key: str, value: str) -> str:
    if value not in CREWS:
        raise SettingError(key, value, "one of " + ", ".join(CREWS))
    return value


def _scheduler(key: str, value: str) -> str:
    if not re.fullmatch(
        r"(auto|[a-z]{2,8}://[A-Za-z0-9_.\[\]:-]{1,253}|[A-Za-z0-9_.-]{1,253}:[0-9]{1,5})", value
    ):
        raise SettingError(
            key, value, "a scheduler's address such as tcp://10.0.0.5:8786 or ray://10.0.0.5:10001"
        )
    return value


def _host(key: str, value: str) -> str:
    try:
        return str(ipaddress.ip_address(value))
    except ValueError:
        raise SettingError(key, value, "a literal address of this computer") from None


def _sources(key: str, value: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in value.split(","))
    if names == ("none",):
        return ()
    if any(name not in SOURCES for name in names) or len(set(names)) != len(names):
        raise SettingError(key, value, "none, or some of these with commas between: " + ", ".join(SOURCES))
    return names


def _networks(key: str, value: str) -> tuple[Network, ...]:
    try:
        found = tuple(ipaddress.ip_network(part.strip()) for part in value.split(","))
    except ValueError:
        found = ()
    if not found or any(network.prefixlen == 0 for network in found):
        expected = (
            "addresses and networks such as 10.0.0.1, 10.1.0.0/16 with commas between, never everybody's"
        )
        raise SettingError(key, value, expected)
    return found


def _origins(key: str, value: str) -> tuple[str, ...]:
    parts = [part.strip().partition("://") for part in value.split(",")]
    found = [origin_of(scheme.lower(), authority) for scheme, _, authority in parts]
    if not all(found):
        expected = "addresses such as https://market.example with commas between, with nothing behind the name but a port"
        raise SettingError(key, value, expected)
    return tuple(dict.fromkeys(one for one in found if one))


def _whole(lowest: int, highest: int) -> Callable[[str, str], int]:
    def read(key: str, value: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", value) or not lowest <= int(value) <= highest:
            raise SettingError(key, value, f"a whole number from {lowest} to {highest}")
        return int(value)

    return read


def _seconds(lowest: float, highest: float) -> Callable[[str, str], float]:
    def read(key: str, value: str) -> float:
        if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", value) or not lowest <= float(value) <= highest:
            raise SettingError(key, value, f"seconds from {lowest:g} to {highest:g}")
        return float(value)

    return read


_READERS: Mapping[str, Callable[[str, str], object]] = {
    "network": _network,
    "netuid": _whole(0, 65_535),
    "wallet_path": _path,
    "wallet_name": _word,
    "wallet_hotkey": _word,
    "wallet_password_file": _path,
    "policy": _policy,
    "database_url": _url,
    "history": _history,
    "cache": _path,
    "price_sources": _sources,
    "price_file": _path,
    "trustee": _address,
    "deposit_address": _address,
    "chain_deadline_s": _seconds(1, 600),
    "miner_deadline_s": _seconds(1, 120),
    "executors_per_shard": _whole(1, 1_000),
    "max_sessions": _whole(1, 20_000),
    "max_open": _whole(1, 100_000),
    "crew": _crew,
    "cluster": _scheduler,
    "crew_host": _host,
    "hands": _whole(0, 256),
    "hand_mib": _whole(512, 1_048_576),
    "secrets_key": _path,
    "backups": _path,
    "trusted_proxies": _networks,
    "market_origins": _origins,
    "operators": _addresses,
    "sign_up": _sign_up,
    "keep_transcripts_days": _whole(0, 36_500),
    "keep_days": _whole(0, 36_500),
}
_ELSEWHERE = {
    "SUBNET_API",
    "SUBNET_API_KEY_FILE",
    "SUBNET_FOLDER",
    "SUBNET_MARKET_PORT",
    "SUBNET_PREFECT_AUTH_FILE",
    "SUBNET_PREFECT_PORT",
    "SUBNET_REPOSITORY",
}
"""Keys that the command line and prefect.yaml read themselves."""
