"""Keys on disk: made once, never shown, never overwritten."""

from __future__ import annotations

import bittensor as bt
import pytest
from bittensor import sp_core

from tasks.edges.chain import load_hotkey
from tasks.edges.wallets import (
    ensure_coldkey,
    ensure_hotkey,
    hotkey_address,
    is_coldkey_encrypted,
    load_coldkey,
    owner_address,
)
from tasks.errors import SettingError

WORDS = "bottom drive obey lake curtain smoke basket hold race lonely fit walk"
"""Everybody's words: the phrase of the development keys."""
SEED = "0x" + "11" * 32


def address_of(secret):
    made = sp_core.Keypair
    pair = (
        made.create_from_seed(bytes.fromhex(SEED[2:]), 1)
        if secret == SEED
        else made.create_from_mnemonic(secret, 1)
    )
    return pair.ss58_address


def test_a_hotkey_is_made_once_and_signs(tmp_path, capfd):
    """It is in the wallet's place, for its owner only, and nothing of it is printed."""
    made, again = ensure_hotkey(tmp_path, "miner", "rack1"), ensure_hotkey(tmp_path, "miner", "rack1")

    assert (made.is_new, again.is_new, made.address) == (True, False, again.address)
    assert made.file.stat().st_mode & 0o777 == 0o600
    assert load_hotkey(tmp_path, "miner", "rack1").hotkey.ss58_address == made.address
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("secret", [WORDS, SEED, f"  {WORDS.replace(' ', chr(10))} "])
def test_a_hotkey_is_imported_from_words_or_a_seed(tmp_path, secret, capfd):
    """As typed, on one line or several; the same again changes nothing."""
    made, again = (ensure_hotkey(tmp_path, "miner", "rack1", secret) for _ in range(2))

    assert made.address == address_of(" ".join(secret.split()))
    assert (made.is_new, again.is_new) == (True, False)
    assert capfd.readouterr() == ("", "")


def test_another_key_is_never_overwritten(tmp_path):
    """Whoever wants that moves the file away."""
    first = ensure_hotkey(tmp_path, "miner", "rack1")
    held = first.file.read_bytes()
    with pytest.raises(SettingError, match="it holds " + first.address):
        ensure_hotkey(tmp_path, "miner", "rack1", WORDS)

    assert first.file.read_bytes() == held


@pytest.mark.parametrize("secret", ["", "hunter2", WORDS.replace("walk", "wolk"), SEED[:-1], WORDS + " walk"])
def test_a_secret_that_is_none_is_not_repeated(tmp_path, secret):
    """A mistyped word is likely to stand beside eleven right ones."""
    with pytest.raises(SettingError) as refused:
        ensure_hotkey(tmp_path, "miner", "rack1", secret)

    assert "(not shown)" in str(refused.value)
    assert not any(word in str(refused.value) for word in ("hunter2", "curtain", SEED[2:20]))
    assert not (tmp_path / "miner").exists()


@pytest.mark.parametrize("name", ["", "..", "a/b", ".hidden", "a b"])
def test_names_are_plain_file_names(tmp_path, name):
    """Nothing is written outside of the folder of wallets."""
    with pytest.raises(SettingError, match="wallet name"):
        ensure_hotkey(tmp_path, name, "rack1")
    with pytest.raises(SettingError, match="hotkey name"):
        ensure_hotkey(tmp_path, "miner", name)


SEALED = b"$NACL" + bytes(40)
"""What begins so is encrypted; a whole one takes ten seconds of CPU to make and to open."""


def test_an_encrypted_coldkey_asks_for_its_password(tmp_path):
    """Before anything is opened."""
    (tmp_path / "miner").mkdir()
    (tmp_path / "miner" / "coldkey").write_bytes(SEALED)

    assert is_coldkey_encrypted(tmp_path, "miner")
    with pytest.raises(SettingError, match="which is encrypted"):
        load_coldkey(tmp_path, "miner")


@pytest.mark.long
def test_a_coldkey_is_opened_with_its_password_alone(tmp_path):
    """Its address needs none; a wrong one is told without it."""
    wallet = bt.Wallet("miner", "rack1", path=str(tmp_path))
    wallet.create_new_coldkey(coldkey_password="right", suppress=True)
    address = owner_address(tmp_path, "miner")

    assert load_coldkey(tmp_path, "miner", "right").ss58_address == address
    with pytest.raises(SettingError, match=r"not shown") as refused:
        load_coldkey(tmp_path, "miner", "wrong-one")
    assert "wrong-one" not in str(refused.value)


def test_what_is_not_there_says_how_to_make_it(tmp_path):
    """Hotkey, owner's address, coldkey."""
    with pytest.raises(SettingError, match="subnet miner hotkey new"):
        hotkey_address(tmp_path, "miner", "rack1")
    with pytest.raises(SettingError, match="subnet miner coldkey new"):
        owner_address(tmp_path, "miner")
    with pytest.raises(SettingError, match="where the coldkey is"):
        load_coldkey(tmp_path, "miner")


def test_the_address_of_an_encrypted_hotkey_is_its_public_files(tmp_path):
    """A file that tells no address is refused."""
    made = ensure_hotkey(tmp_path, "miner", "rack1")
    made.file.write_bytes(SEALED)

    assert hotkey_address(tmp_path, "miner", "rack1") == made.address
    made.file.with_name("rack1pub.txt").write_text("{}")
    with pytest.raises(SettingError, match="key file"):
        hotkey_address(tmp_path, "miner", "rack1")


def test_a_coldkey_is_made_once_and_another_is_never_overwritten(tmp_path, capfd):
    """It opens without a password where it was made without; the public half alone, whose key is elsewhere, is as good."""
    made, again = (ensure_coldkey(tmp_path, "miner", "") for _ in range(2))

    assert (made.is_new, again.is_new, made.address) == (True, False, again.address)
    assert made.file.stat().st_mode & 0o777 == 0o600
    assert load_coldkey(tmp_path, "miner").ss58_address == made.address == owner_address(tmp_path, "miner")
    with pytest.raises(SettingError, match="it holds " + made.address):
        ensure_coldkey(tmp_path, "miner", "", WORDS)
    made.file.unlink()
    assert ensure_coldkey(tmp_path, "miner", "").address == made.address
    assert not made.file.exists()
    assert ensure_coldkey(tmp_path, "other", "", WORDS).address == address_of(WORDS)
    assert capfd.readouterr() == ("", "")


@pytest.mark.long
def test_a_coldkey_with_a_password_opens_with_it_alone(tmp_path):
    """Ten seconds of CPU each time: that is what keeps guessers out."""
    made = ensure_coldkey(tmp_path, "miner", "right-one", SEED)

    assert is_coldkey_encrypted(tmp_path, "miner")
    assert load_coldkey(tmp_path, "miner", "right-one").ss58_address == made.address
