"""Secrets at rest: worth nothing without the key file, and that is its owner's alone."""

import pytest

from storage.errors import SealBroken, StorageError
from storage.sealing import Sealer

SECRETS = {"HF_TOKEN": "hf_abcdefghijkl"}


def test_what_is_sealed_is_not_in_the_database(tmp_path):
    """Neither names nor values can be read, and with another key nothing is."""
    sealed = Sealer.of(tmp_path / "a.key").seal("l-1", SECRETS)

    assert b"HF_TOKEN" not in sealed
    assert b"hf_abc" not in sealed
    assert Sealer.of(tmp_path / "a.key").open("l-1", sealed) == SECRETS
    with pytest.raises(SealBroken):
        Sealer.of(tmp_path / "b.key").open("l-1", sealed)


def test_a_seal_is_of_one_lease(tmp_path):
    """Whoever writes to the database can't move one renter's secrets into a lease of his own, nor change them."""
    sealer = Sealer.of(tmp_path / "a.key")
    sealed = sealer.seal("l-1", SECRETS)

    with pytest.raises(SealBroken):
        sealer.open("l-2", sealed)
    with pytest.raises(SealBroken):
        sealer.open("l-1", sealed[:-4] + b"AAAA")


def test_a_key_file_is_its_owners_alone(tmp_path):
    """It is made so, and one that others may read is refused."""
    path = tmp_path / "secrets.key"
    Sealer.of(path)
    made = path.stat().st_mode & 0o777
    path.chmod(0o640)

    assert made == 0o600
    with pytest.raises(StorageError, match="chmod 600"):
        Sealer.of(path)
    path.write_text("no key")
    path.chmod(0o600)
    with pytest.raises(StorageError, match="holds no key"):
        Sealer.of(path)
