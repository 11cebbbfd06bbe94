"""Certificates: the miner's CA signs for a key, and OpenSSH's own server holds what was signed."""

import asyncio
import os
import struct
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest
from bittensor import sp_core
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from deployments.miner.agent import build_app
from deployments.miner.listening import serve
from storage.records import Neuron
from tasks.edges import wire
from tasks.edges.nonces import NonceStore
from tasks.edges.peers import Peers, PeerSettings
from tasks.edges.shell import EpochKey
from tasks.errors import SettingError
from tasks.offering.config import MinerConfig, MinerExecutor
from tasks.onboarding.confinement.certificates import Authority, Purpose
from tests.tasks.edges.certified import HOTKEY, certificate_of
from tests.tasks.edges.openssh import code_of_login, let_in, needs_sshd, openssh

VALIDATOR = sp_core.Keypair.create_from_uri("//Validator")
MINER = sp_core.Keypair.create_from_uri("//Miner")
ONCE = b'import sys;sys.stdout.buffer.write((4).to_bytes(4,"big")+b"done");sys.stdout.flush()'
SESSION = """#!/bin/sh
echo "$@" > {folder}/session.log
exec /bin/sh -c "$SSH_ORIGINAL_COMMAND"
"""


@pytest.fixture(scope="module")
def authority():
    """A miner's CA."""
    return Authority(Ed25519PrivateKey.generate())


@pytest.fixture(scope="module")
def machine(authority, tmp_path_factory):
    """A machine that trusts the CA for executor `a`, and knows one key by the old way."""
    known = EpochKey.generate()
    text = f"{authority.line('a')}\nrestrict {known.public_line}\n"
    with openssh(tmp_path_factory.mktemp("sshd"), text) as executor:
        yield executor, known


def shown(line, tmp_path):
    """What ssh-keygen reads in a certificate, line by line."""
    (tmp_path / "one-cert.pub").write_text(line + "\n")
    told = subprocess.run(
        ["ssh-keygen", "-L", "-f", tmp_path / "one-cert.pub"], capture_output=True, text=True, check=True,
        env={**os.environ, "TZ": "UTC"},
    )  # fmt: skip
    return [part.strip() for part in told.stdout.splitlines()[1:]]


def works(executor, key):
    """Whether a program of ours runs there."""
    with let_in(executor, key) as session:
        session.send(ONCE, deadline=time.monotonic() + 10)
        return session.receive(deadline=time.monotonic() + 10, limit_bytes=10) == b"done"


def test_what_a_certificate_says(tmp_path):
    """One executor as principal, the validator and epoch as its name, the time, the forced program, and no extension."""

    now = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
    authority = Authority(Ed25519PrivateKey.generate(), "/usr/lib/subnet/session")
    line = certificate_of(EpochKey.generate().public_line, authority=authority, now=now, ends_in_s=900)
    told = shown(line, tmp_path)

    assert told[0] == "Type: ssh-ed25519-cert-v01@openssh.com user certificate"
    assert told[3] == f'Key ID: "subnet:{HOTKEY}:7"'
    assert told[5:] == [
        "Valid: from 2026-11-22T08:59:00 to 2026-11-22T09:15:00",
        "Principals:",
        "subnet-validate:a",
        "Critical Options:",
        f"force-command /usr/lib/subnet/session --until {int((now + timedelta(seconds=900)).timestamp())}",
        "Extensions: (none)",
    ]
    assert len(line) < wire.MAX_CERTIFICATE_CHARS
    rent = certificate_of(EpochKey.generate().public_line, purpose=Purpose.RENT, lease_id="lease-1")
    told = shown(rent, tmp_path)
    assert (told[3], told[7]) == (f'Key ID: "subnet:{HOTKEY}:7:lease-1"', "subnet-rent:a")


@needs_sshd
def test_a_session_by_certificate(machine, authority):
    """A key that no file of the machine knows gets in by its certificate; keys of the old way get in as before."""

    executor, known = machine
    fresh = EpochKey.generate()

    assert code_of_login(executor, fresh) == "auth"
    assert works(executor, fresh.certified(certificate_of(fresh.public_line, authority=authority)))
    assert works(executor, known)


@needs_sshd
@pytest.mark.parametrize(
    "changed",
    [
        {"begins_in_s": -400, "ends_in_s": -1},
        {"begins_in_s": 120},
        {"executor_id": "b"},
        {"purpose": Purpose.RENT},
        {"authority": Authority(Ed25519PrivateKey.generate())},
    ],
    ids=["expired", "not yet valid", "another executor's", "for renting", "another CA's"],
)
def test_sshd_holds_what_was_signed(machine, authority, changed):
    """Too late, too early, for another machine, for another purpose or by another CA: the machine stays shut."""

    executor, _ = machine
    fresh = EpochKey.generate()
    line = certificate_of(fresh.public_line, **{"authority": authority, **changed})

    assert code_of_login(executor, fresh.certified(line)) == "auth"


@needs_sshd
def test_the_forced_program_runs_in_the_place_of_what_is_asked(tmp_path):
    """It is told when the certificate ends, and has what we asked for in its environment."""

    program = tmp_path / "session"
    program.write_text(SESSION.format(folder=tmp_path))
    program.chmod(0o755)
    authority = Authority(Ed25519PrivateKey.generate(), str(program))
    fresh = EpochKey.generate()
    end = int(time.time()) + 300
    line = certificate_of(fresh.public_line, authority=authority, now=datetime.fromtimestamp(end - 300, UTC))
    with openssh(tmp_path, authority.line("a") + "\n") as executor:
        assert works(executor, fresh.certified(line))

    assert (tmp_path / "session.log").read_text() == f"--until {end}\n"


@needs_sshd
def test_from_the_door_to_a_session(tmp_path):
    """An agent with a CA lets a validator in on a machine whose files nobody touched: asked, certified, logged in."""

    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "ca"], check=True)
    line = Authority.load(tmp_path / "ca").line("rack1-a")
    key = EpochKey.generate()

    async def ask(executor):
        offer = wire.Offer(
            executor_id="rack1-a", address="127.0.0.1", port=executor.port, user=executor.user,
            python=sys.executable, host_key=(tmp_path / "host.pub").read_text().split()[1],
            price_usd_per_hour=1.0,
        )  # fmt: skip
        config = MinerConfig((MinerExecutor(offer),), ssh_ca=tmp_path / "ca")
        app = build_app(config, MINER, lambda _: True, NonceStore(tmp_path / "nonces.sqlite"))
        async with (
            serve(app, "127.0.0.1", 0) as port,
            Peers(VALIDATOR, PeerSettings(allow_private=True)) as peers,
        ):
            return await peers.ask(miner_at(port), 7, key.public_line, int(time.time()) + 900)

    with openssh(tmp_path, line + "\n") as machine:
        reply = asyncio.run(ask(machine))
        ((executor_id, certificate),) = reply.certificates

        assert (reply.reasons, executor_id) == ((), "rack1-a")
        assert works(reply.executors[0], key.certified(certificate))
    assert (tmp_path / "authorized").read_text() == line + "\n"


def miner_at(port):
    """The miner as the chain knows it."""
    return Neuron(
        uid=5, hotkey=MINER.ss58_address, coldkey=MINER.ss58_address, endpoint=f"127.0.0.1:{port}",
        is_active=True, has_permit=False, stake_rao=0, last_update_block=0, registered_at_block=9,
        incentive=0.0, dividends=0.0, collateral_locked_rao=None,
    )  # fmt: skip


@pytest.mark.parametrize("trouble", ["missing", "readable", "rsa", "passphrase", "text", "folder"])
def test_a_ca_that_is_none_is_the_users_mistake(tmp_path, trouble):
    """A CA must be an ed25519 key that only its owner can read: anything else is told when the agent starts."""

    path = tmp_path / "ca"
    kind, phrase = ("rsa" if trouble == "rsa" else "ed25519"), ("secret" if trouble == "passphrase" else "")
    if trouble in {"rsa", "readable", "passphrase"}:
        subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", phrase, "-f", path], check=True)
    if trouble == "readable":
        path.chmod(0o640)
    if trouble == "text":
        path.write_text("no key")
        path.chmod(0o600)
    if trouble == "folder":
        path.mkdir()
    with pytest.raises(SettingError) as caught:
        build_app(MinerConfig((), ssh_ca=path), MINER, lambda _: True, NonceStore(tmp_path / "n.sqlite"))

    assert caught.value.key == "ssh_ca"
    assert "ssh-keygen -t ed25519" in caught.value.expected


def test_a_certificate_on_the_wire_is_an_ssh_string_of_an_ssh_string():
    """The key inside is found where OpenSSH has it, behind the type and the nonce."""

    key = EpochKey.generate()
    blob = wire.blob_of_certificate(certificate_of(key.public_line))

    assert wire.certified_key(blob) == wire.blob_of_line(key.public_line)
    (size,) = struct.unpack(">I", blob[:4])
    assert blob[4 : 4 + size] == b"ssh-ed25519-cert-v01@openssh.com"


def test_an_authority_is_made_once(tmp_path):
    """Its file is for its owner alone, the public half beside it; where a key is, none is written."""
    made, path = Authority.generate(), tmp_path / "etc" / "ca"
    made.save(path)

    assert path.stat().st_mode & 0o777 == 0o600
    assert Authority.load(path).public == made.public
    assert path.with_name("ca.pub").read_text() == f"{made.public} ca\n"
    with pytest.raises(SettingError, match="a place for a new key"):
        Authority.generate().save(path)
    assert Authority.load(path).public == made.public
    assert sorted(p.name for p in path.parent.iterdir()) == [".ca.lock", "ca", "ca.pub"]
