"""A miner's keys on disk, in the wallet files of bittensor: a hotkey made or imported, the coldkey for what it signs.

    ensure_hotkey(path, "miner", "rack1")                made once, found again ever after
    ensure_hotkey(path, "miner", "rack1", secret)        imported: twelve words or a seed, as typed or read
    ensure_coldkey(path, "miner", password)              the same of the coldkey; an empty password: not encrypted
    load_coldkey(path, "miner", password)                for a call or two; never kept

No secret is printed, none is part of an error's text, and none is taken from a command line. Files are those of `btcli`,
owner-only: they are the keys' only copies, so they are what is to be backed up.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bittensor as bt
from bittensor import sp_core

from tasks.errors import SettingError

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
SEED = re.compile(r"0x[0-9a-fA-F]{64}")
WORDS = (12, 15, 18, 21, 24)
HIDDEN = "(not shown)"


@dataclass(frozen=True, slots=True)
class KeyFile:
    """A key's file, and the address that it stands for."""

    address: str
    file: Path
    is_new: bool


def ensure_hotkey(path: Path, name: str, hotkey: str, secret: str | None = None) -> KeyFile:
    """The wallet's hotkey, made or imported unless it is there; SettingError when another one is."""
    file = hotkey_file(path, name, hotkey)
    wanted = None if secret is None else _keypair(secret).ss58_address
    if file.exists():
        found = hotkey_address(path, name, hotkey)
        if wanted not in (None, found):
            raise SettingError("hotkey file", str(file), f"no file, or the key of {wanted}: it holds {found}")
        return KeyFile(found, file, is_new=False)
    wallet = bt.Wallet(name, hotkey, path=str(path))
    try:
        if secret is None:
            wallet.create_new_hotkey(suppress=True)
        elif SEED.fullmatch(secret.strip()):
            wallet.regenerate_hotkey(seed=secret.strip(), suppress=True)
        else:
            wallet.regenerate_hotkey(mnemonic=" ".join(secret.split()), suppress=True)
    except (sp_core.KeyfileError, OSError) as error:
        raise SettingError(
            "hotkey file", str(file), f"a place where a key can be written ({error})"
        ) from None
    # Read back: what counts is what is on the disk, not what the SDK's object holds.
    return KeyFile(hotkey_address(path, name, hotkey), file, is_new=True)


def ensure_coldkey(path: Path, name: str, password: str, secret: str | None = None) -> KeyFile:
    """The wallet's coldkey, made or imported unless one is known here; SettingError when another one is.

    A wallet that has the public half alone has its coldkey elsewhere: that is as good.
    """
    hotkey_file(path, name, "default")
    file = path / name / "coldkey"
    wanted = None if secret is None else _keypair(secret, "coldkey secret").ss58_address
    if (path / name / "coldkeypub.txt").exists() or file.exists():
        found = owner_address(path, name)
        if wanted not in (None, found):
            raise SettingError(
                "coldkey file", str(file), f"no file, or the key of {wanted}: it holds {found}"
            )
        return KeyFile(found, file, is_new=False)
    wallet = bt.Wallet(name, "default", path=str(path))
    how: dict[str, Any] = {
        "use_password": bool(password),
        "coldkey_password": password or None,
        "suppress": True,
    }
    try:
        if secret is None:
            wallet.create_new_coldkey(**how)
        elif SEED.fullmatch(secret.strip()):
            wallet.regenerate_coldkey(seed=secret.strip(), **how)
        else:
            wallet.regenerate_coldkey(mnemonic=" ".join(secret.split()), **how)
    except (sp_core.KeyfileError, OSError) as error:
        raise SettingError(
            "coldkey file", str(file), f"a place where a key can be written ({error})"
        ) from None
    return KeyFile(owner_address(path, name), file, is_new=True)


def hotkey_file(path: Path, name: str, hotkey: str) -> Path:
    """Where the wallet keeps it; SettingError for names that are no plain file names."""
    for key, value in (("wallet name", name), ("hotkey name", hotkey)):
        if not NAME.fullmatch(value):
            raise SettingError(key, value[:64], "1 to 64 letters, digits, '_', '.' or '-'")
    return path / name / "hotkeys" / hotkey


def hotkey_address(path: Path, name: str, hotkey: str) -> str:
    """The address of the wallet's hotkey, also where the key itself is encrypted."""
    file = hotkey_file(path, name, hotkey)
    if not file.is_file():
        raise SettingError("hotkey file", str(file), "an existing file; `subnet miner hotkey new` makes it")
    # An encrypted key tells nothing of itself; the public half lies beside it.
    public = file.with_name(f"{hotkey}pub.txt")
    data = file.read_bytes()
    return _address(public if sp_core.keyfile_data_is_encrypted(data) else file)


def owner_address(path: Path, name: str) -> str:
    """The coldkey's address, which is no secret."""
    hotkey_file(path, name, "default")
    file = path / name / "coldkeypub.txt"
    if not file.is_file():
        raise SettingError("coldkey file", str(file), "an existing file; `subnet miner coldkey new` makes it")
    return _address(file)


def is_coldkey_encrypted(path: Path, name: str) -> bool:
    """Whether a password is needed for it; SettingError when it is not on this computer."""
    return bool(sp_core.keyfile_data_is_encrypted(_coldkey_file(path, name).read_bytes()))


def load_coldkey(path: Path, name: str, password: str | None = None) -> Any:
    """The coldkey's pair; whoever asks for it lets it go as soon as it has signed."""
    file = _coldkey_file(path, name)
    if is_coldkey_encrypted(path, name) and password is None:
        raise SettingError("coldkey password", "not given", f"the password of {file}, which is encrypted")
    try:
        return bt.Wallet(name, "default", path=str(path)).get_coldkey(password)
    except sp_core.WrongPasswordError:
        raise SettingError("coldkey password", HIDDEN, f"the password of {file}") from None
    except (sp_core.KeyfileError, ValueError, OSError):
        raise SettingError("coldkey file", str(file), "a key file that can be read") from None


def _coldkey_file(path: Path, name: str) -> Path:
    hotkey_file(path, name, "default")
    file = path / name / "coldkey"
    if not file.is_file():
        mend = "an existing file: run this where the coldkey is, or register the hotkey there by `btcli`"
        raise SettingError("coldkey file", str(file), mend)
    return file


def _keypair(secret: str, key: str = "hotkey secret") -> Any:
    text = secret.strip()
    try:
        if SEED.fullmatch(text):
            return sp_core.Keypair.create_from_seed(bytes.fromhex(text[2:]), bt.CRYPTO_SR25519)
        if len(text.split()) in WORDS:
            return sp_core.Keypair.create_from_mnemonic(" ".join(text.split()), bt.CRYPTO_SR25519)
    except Exception:  # noqa: BLE001, S110  the SDK's errors here are of many kinds, and may quote the secret
        pass
    raise SettingError(key, HIDDEN, "12 to 24 words of a mnemonic, or 0x and 64 hex digits of a seed")


def _address(file: Path) -> str:
    try:
        address = json.loads(file.read_text(encoding="utf-8"))["ss58Address"]
        sp_core.ss58_decode(address)
    except (OSError, ValueError, KeyError, TypeError):
        raise SettingError("key file", str(file), "a key file of bittensor's with its address") from None
    return str(address)
