"""The key that the agent shows by TLS: made in its folder, committed on the chain, and changed for another in time.

    FOLDER/tls/keys.json     which keys there are, since when, and since when the chain has told of each
    FOLDER/tls/<seconds>.pem    a private key and its own certificate, 0600

    a key is a month old -> another is made, both are committed -> an hour after the chain told of it, it is shown
                         -> another hour later the old one is forgotten, and the new one alone is committed

Validators know the commitment of their last epoch: both keys are good for them while either may be shown.
"""

from __future__ import annotations

import json
import logging
import ssl
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import NameOID

from tasks.edges.pins import NONE, commitment_of, pin_of, pins_of
from tasks.edges.wire import plain
from tasks.errors import KeyNotPinned, SettingError
from tasks.offering.files import locked, replace_whole

LIFE_S = 30 * 86_400
KNOWN_S = 3_600
"""After which every validator knows what the chain tells: some epochs."""
LIST = "keys.json"
MAX_LIST_BYTES = 64 * 1024
AGAIN_S = 1_800
"""After which a commitment that was refused is tried once more."""
MAX_SHOWN = 200
_log = logging.getLogger("miner.agent")
_ALWAYS = (datetime(2020, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC))
"""A key is good while it is committed, whatever its certificate says of dates."""


@dataclass(frozen=True, slots=True)
class DoorKey:
    """One key of the agent's."""

    made_s: int
    pin: str
    known_s: int | None = None
    """Since when the chain has told of it; None: it does not yet."""

    @property
    def file(self) -> str:
        """Its name in the folder."""
        return f"{self.made_s}.pem"


def shown(keys: tuple[DoorKey, ...], now_s: int) -> DoorKey:
    """The key that the door shows: the newest that every validator knows, else the oldest. Pure; keys by age."""
    known = [key for key in keys if key.known_s is not None and now_s - key.known_s >= KNOWN_S]
    return known[-1] if known else keys[0]


def kept(keys: tuple[DoorKey, ...], now_s: int) -> tuple[DoorKey, ...]:
    """Without those that have not been shown for so long that nobody asks by them any more. Pure."""
    now = shown(keys, now_s)
    is_settled = now.known_s is not None and now_s - now.known_s >= 2 * KNOWN_S
    return tuple(key for key in keys if key.made_s >= now.made_s or not is_settled)


def is_due(keys: tuple[DoorKey, ...], now_s: int) -> bool:
    """Whether it is time for another key: there is none, or one, and that is old. Pure."""
    return not keys or (len(keys) == 1 and now_s - keys[0].made_s >= LIFE_S)


class DoorTls:
    """The keys of one agent, and the context by which its door speaks TLS; one thread changes them."""

    def __init__(self, folder: Path, now_s: Callable[[], float] = time.time) -> None:
        """Make the folder and a first key where there is none. SettingError when what is there can't be used."""
        self._folder, self._now_s = folder, now_s
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._keys = _read(folder / LIST)
        self._loaded: tuple[int, ssl.SSLContext] | None = None
        self.refresh("")

    def context(self) -> ssl.SSLContext:
        """By which the door speaks now."""
        assert self._loaded is not None
        return self._loaded[1]

    @property
    def commitment(self) -> str:
        """What the chain is to tell."""
        return commitment_of([key.pin for key in self._keys])

    def refresh(self, told: str) -> None:
        """Go on with the keys, given what the chain tells of them now: make one, show another, forget one. It blocks."""
        now_s, before = int(self._now_s()), self._keys
        keys = _seen(before, told, now_s)
        if is_due(keys, now_s):
            keys = (*keys, _made(self._folder, now_s))
        keys = kept(keys, now_s)
        if keys != before:
            _write(self._folder / LIST, keys)
            self._keys = keys
            for key in set(before) - set(keys):
                if key.made_s not in {one.made_s for one in keys}:
                    (self._folder / key.file).unlink(missing_ok=True)
        self._show(shown(keys, now_s))

    def _show(self, key: DoorKey) -> None:
        if self._loaded is not None and self._loaded[0] == key.made_s:
            return
        path, context = self._folder / key.file, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version, context.num_tickets = ssl.TLSVersion.TLSv1_3, 0
        try:
            context.load_cert_chain(path)
        except (OSError, ssl.SSLError) as error:
            wanted = f"the key that {LIST} names; without {self._folder} another is made and committed"
            raise SettingError("TLS key", str(path), f"{wanted} ({error})") from None
        self._loaded = (key.made_s, context)


class Commits(Protocol):
    """`tasks.edges.chain.Chain`, as far as it is needed here."""

    def commitment(self, hotkey: str) -> str | None:
        """What a hotkey has committed."""

    def commit(self, text: str) -> None:
        """Commit this in its place."""


class Pinning:
    """Sees to it that the chain tells the keys of the door, and of none where it has none."""

    def __init__(
        self,
        keys: DoorTls | None,
        *,
        may_replace: bool = False,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        """`keys`: none for a door that speaks plain HTTP. `may_replace`: whatever else the hotkey has committed."""
        self._keys, self._may_replace, self._now_s = keys, may_replace, now_s
        self._again_s = 0.0

    def follow(self, chain: Commits, hotkey: str, told: str) -> None:
        """Go on with the keys, given what the chain tells of them, and commit what it should; ChainRefused. It blocks."""
        if self._keys is not None:
            self._keys.refresh(told)
        wanted = self._keys.commitment if self._keys is not None else NONE
        is_plain = self._keys is None and told in ("", NONE)
        if is_plain or told == wanted or self._now_s() < self._again_s:
            return
        self._again_s = (
            self._now_s() + AGAIN_S
        )  # a refused extrinsic costs its fee, and a log its reader's time
        stands = chain.commitment(hotkey)
        if stands not in (None, told) and not self._may_replace:
            _log.error(
                "the hotkey has committed something else on the chain, so validators ask as before: %s. "
                "Start once with --replace to put the door's keys in its place, or with --no-tls",
                plain(stands or "", MAX_SHOWN),
            )
            return
        chain.commit(wanted)
        self._again_s = 0.0


def _seen(keys: tuple[DoorKey, ...], told: str, now_s: int) -> tuple[DoorKey, ...]:
    try:
        pins = pins_of(told)
    except KeyNotPinned:
        pins = ()
    return tuple(
        replace(key, known_s=now_s) if key.known_s is None and key.pin in pins else key for key in keys
    )


def _made(folder: Path, now_s: int) -> DoorKey:
    """A fresh key, on disk before anybody hears of it."""
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "subnet")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_ALWAYS[0])
        .not_valid_after(_ALWAYS[1])
        .sign(private, hashes.SHA256())
    )
    public = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    key = DoorKey(now_s, pin_of(public))
    text = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    replace_whole(folder / key.file, text + certificate.public_bytes(Encoding.PEM))
    return key


def _read(path: Path) -> tuple[DoorKey, ...]:
    wanted = f"a list that the agent wrote; without {path.parent} another key is made and committed"
    try:
        with path.open("rb") as file:
            found = json.loads(file.read(MAX_LIST_BYTES))
        keys = tuple(DoorKey(int(k["made_s"]), str(k["pin"]), k["known_s"]) for k in found)
        commitment_of([key.pin for key in keys])
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SettingError("TLS keys", str(path), f"{wanted} ({type(error).__name__})") from None
    return keys


def _write(path: Path, keys: tuple[DoorKey, ...]) -> None:
    with locked(path):
        replace_whole(path, json.dumps([asdict(key) for key in keys], indent=2).encode("ascii"))
