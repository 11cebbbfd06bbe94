"""The miner's own file (TOML): which executors it offers, on which terms, and to whom its door opens.

    max_grant_s = 7200                    # a key is let in for at most this long
    min_validator_stake_tao = 1000.0
    allowed_validators = []               # hotkeys; empty: every validator with a permit and the stake
    folder = "/var/lib/subnet-miner"      # the agent's memory: its log, signed swaps, validators' results; "": none is kept
    ssh_ca = "/etc/subnet/ca"             # signs certificates that let validators in; "": keys files are written
    ssh_session = "/usr/lib/subnet/session"   # what sshd runs with `--until UNIX` in place of what is asked; "": nothing
    rentals = true                        # false: no lease is let in, and validators are told that nothing is to be rented
    max_leases = 16                       # on one executor at the same time

    [[executor]]
    id = "rack1-a"                        # [a-z0-9-]{1,64}, your own name for it
    address = "203.0.113.7"               # literal, reachable by validators
    port = 22
    user = "subnet"
    python = "/usr/bin/python3"
    host_key = "ssh-ed25519 AAAA..."      # the text of /etc/ssh/ssh_host_ed25519_key.pub, or its base64 alone
    authorized_keys = "/home/subnet/.ssh/authorized_keys"      # not needed where ssh_ca is set
    rent_user = "subnet-rent"             # as whom leases come in, by certificates of their own; not set: as `user`
    price_usd_per_hour = 1.5
    min_cards = 2                         # no lease of fewer cards, unless it is the whole machine; not set: 1
    paused_from = 1790000000              # Unix seconds: no new lease from then on; not set: not paused

`subnet miner machines` writes the tables of executors; everything else of the file it leaves as it is.
Everything is checked when it is read: the first thing that does not fit is named with its key and value.
"""

from __future__ import annotations

import base64
import tomllib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from tasks.edges import wire
from tasks.errors import SettingError

RAO_PER_TAO = 1_000_000_000
MAX_CONFIG_BYTES = 1024 * 1024
LEAST_GRANT_S = 1_000
"""Validators ask for 900 seconds (`tasks/seeking.py`) by clocks that may differ: less would let nobody in."""


@dataclass(frozen=True, slots=True)
class MinerExecutor:
    """One executor: what validators are told of it, and the file that lets them in."""

    offer: wire.Offer
    authorized_keys: Path | None = None
    """None only where certificates let in."""
    rent_user: str | None = None
    """Who alone reaches the container engine, where the executor is confined; None: whoever validates does."""


@dataclass(frozen=True, slots=True)
class MinerConfig:
    """The whole file, checked."""

    executors: tuple[MinerExecutor, ...]
    max_grant_s: int = 7200
    min_validator_stake_rao: int = 1000 * RAO_PER_TAO
    allowed_validators: frozenset[str] = frozenset()
    """Empty: everybody with a permit and the stake."""
    folder: Path | None = None
    """Where the agent keeps its log, swaps to show and results that it was told; None: nowhere."""
    ssh_ca: Path | None = None
    """The private key that signs certificates for validators' keys; None: these are written into keys files."""
    ssh_session: str = ""
    """The program that a certificate forces; empty: none."""
    rentals: bool = True
    """Whether leases are let in at all."""
    max_leases: int = 16
    """On one executor at the same time: each has a card at least."""


def load_config(path: Path) -> MinerConfig:
    """The config in this file; SettingError with key, value and what was expected."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_CONFIG_BYTES + 1)
        if len(data) > MAX_CONFIG_BYTES:
            raise SettingError("miner config", str(path), f"at most {MAX_CONFIG_BYTES} bytes")
        return parse_config(data.decode("utf-8"))
    except OSError as error:
        raise SettingError("miner config", str(path), f"a readable file ({error.strerror})") from None
    except UnicodeDecodeError:
        raise SettingError("miner config", str(path), "UTF-8 text") from None


def parse_config(text: str) -> MinerConfig:
    """The config in this TOML text; SettingError with key, value and what was expected."""
    try:
        file = _File.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise SettingError("miner config", "TOML", f"valid TOML: {error}") from None
    except ValidationError as error:
        raise SettingError(*_first_misfit(error)) from None
    executors = tuple(
        _executor(entry, number, rentals=file.rentals) for number, entry in enumerate(file.executor)
    )
    _check_ways_in(file, executors)
    _check_unique(executors)
    return MinerConfig(
        executors=executors,
        max_grant_s=file.max_grant_s,
        min_validator_stake_rao=round(file.min_validator_stake_tao * RAO_PER_TAO),
        allowed_validators=frozenset(file.allowed_validators),
        folder=Path(file.folder) if file.folder else None,
        ssh_ca=Path(file.ssh_ca) if file.ssh_ca else None,
        ssh_session=file.ssh_session,
        rentals=file.rentals,
        max_leases=file.max_leases,
    )


class _Strict(BaseModel):
    model_config: ClassVar[ConfigDict] = ConfigDict(strict=True, extra="forbid", frozen=True)


class _Entry(_Strict):
    id: wire.ExecutorId
    address: wire.Address
    port: wire.Port
    user: wire.User
    python: wire.PythonPath
    host_key: Annotated[str, Field(max_length=1024)]
    authorized_keys: Annotated[str, StringConstraints(pattern=r"^/[^\x00]{1,4000}$")] | None = None
    rent_user: wire.User | None = None
    price_usd_per_hour: wire.Price
    min_cards: wire.CardCount = 1
    paused_from: wire.UnixSeconds | None = None


class _File(_Strict):
    executor: Annotated[list[_Entry], Field(min_length=1, max_length=wire.MAX_EXECUTORS)]
    max_grant_s: Annotated[int, Field(ge=LEAST_GRANT_S, le=86_400)] = 7200
    min_validator_stake_tao: Annotated[float, Field(ge=0, le=21e6, allow_inf_nan=False)] = 1000.0
    folder: Annotated[str, StringConstraints(pattern=r"^(/[^\x00]{1,4000})?$")] = ""
    ssh_ca: Annotated[str, StringConstraints(pattern=r"^(/[^\x00]{1,4000})?$")] = ""
    ssh_session: Annotated[str, StringConstraints(pattern=r"^(/[A-Za-z0-9._/+-]{1,200})?$")] = ""
    allowed_validators: list[Annotated[str, StringConstraints(pattern=r"^5[1-9A-HJ-NP-Za-km-z]{47}$")]] = []
    rentals: bool = True
    max_leases: Annotated[int, Field(ge=1, le=64)] = 16


def _first_misfit(error: ValidationError) -> tuple[str, str, str]:
    where, value, expected = wire.problem(error)
    return where, value, expected.removeprefix("Value error, ")


def _executor(entry: _Entry, number: int, *, rentals: bool) -> MinerExecutor:
    offer = wire.Offer(
        executor_id=entry.id,
        address=entry.address,
        port=entry.port,
        user=entry.user,
        python=entry.python,
        host_key=_host_key(entry.host_key, number),
        price_usd_per_hour=entry.price_usd_per_hour,
        min_cards=entry.min_cards,
        paused_from=entry.paused_from if rentals else 0,
    )
    keys = Path(entry.authorized_keys) if entry.authorized_keys else None
    return MinerExecutor(offer, keys, entry.rent_user)


def _host_key(text: str, number: int) -> str:
    words = text.split()
    digits = words[1] if len(words) >= 2 and words[0] == "ssh-ed25519" else text.strip()
    try:
        return base64.b64encode(wire.blob_of_base64(digits)).decode("ascii")
    except ValueError:
        shown, wanted = wire.plain(text, 60), "an ed25519 host key: the text of ssh_host_ed25519_key.pub"
        raise SettingError(f"executor.{number}.host_key", shown, wanted) from None


def _check_ways_in(file: _File, executors: tuple[MinerExecutor, ...]) -> None:
    if file.ssh_session and not file.ssh_ca:
        raise SettingError("ssh_session", file.ssh_session, "an ssh_ca beside it: only certificates force it")
    for number, executor in enumerate(executors):
        if executor.rent_user is not None and not file.ssh_ca:
            wanted = "an ssh_ca beside it: only certificates tell who comes for a lease"
            raise SettingError(f"executor.{number}.rent_user", executor.rent_user, wanted)
        if executor.authorized_keys is None and not file.ssh_ca:
            key, name = f"executor.{number}.authorized_keys", executor.offer.executor_id
            raise SettingError(key, f"none for {name}", "the path of a keys file, or an ssh_ca")


def _check_unique(executors: tuple[MinerExecutor, ...]) -> None:
    ids = [executor.offer.executor_id for executor in executors]
    places = [f"{executor.offer.address} port {executor.offer.port}" for executor in executors]
    for key, values in (("id", ids), ("address", places)):
        value, count = Counter(values).most_common(1)[0]
        if count > 1:
            raise SettingError(f"executor.{key}", value, f"one of its own for each executor, {count} have it")
