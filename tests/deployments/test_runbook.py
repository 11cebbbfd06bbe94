"""The runbook's own commands, as they stand there: a copy, a disaster, and everything back; a replay; new keys."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deployments.prefect_auth import auth_file, make_auth
from deployments.sites import REPOSITORY
from storage.belongings import Templates
from storage.history import archived_epochs, write_epoch
from storage.records import Ban, BanKind
from storage.renters import Renters
from storage.sealing import Sealer
from storage.state import State
from tests.databases import fresh
from tests.engines import skip_or_fail
from tests.tasks.renting.leases import NOON
from tests.tasks.renting.renters import renter, template
from tests.tasks.scoring.epochs import world

RUNBOOK = REPOSITORY / "deployments" / "README.md"
BLOCKS = dict(re.findall(r"^```sh (\S+)\n(.*?)^```$", RUNBOOK.read_text(), re.MULTILINE | re.DOTALL))
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("runbook")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A validator's folder; its path has a space."""
    if shutil.which("rsync") is None:
        skip_or_fail("rsync is needed: apt install rsync")
    return tmp_path_factory.mktemp("a validator")


@pytest.fixture(scope="module")
def environment(folder):
    """That of a validator on a real network, as `/etc/subnet/validator.env` says it."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("SUBNET_", "PREFECT_"))}
    return {
        **kept,
        "PATH": f"{Path(sys.executable).parent}:{kept['PATH']}",
        "SUBNET_NETWORK": "test",
        "SUBNET_FOLDER": str(folder / "state"),
        "SUBNET_DATABASE_URL": f"sqlite:///{folder}/state/validator.sqlite",
        "SUBNET_HISTORY": str(folder / "state" / "history"),
        "SUBNET_SECRETS_KEY": str(folder / "state" / "secrets.key"),
        "BACKUPS": str(folder / "backups"),
    }


def done(block, environment, folder):
    """A block of the runbook, run to its end; what it prints."""
    ran = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", BLOCKS[block]],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def state_of(folder):
    return fresh(folder / "state", "validator.sqlite")


def ban(folder, hotkey):
    engine = state_of(folder)
    State(engine).add_ban(Ban(BanKind.MINER, hotkey, "liar", NOON, None, "me"))
    engine.dispose()


def banned(folder):
    engine = state_of(folder)
    found = [ban.subject for ban in State(engine).all_bans()]
    engine.dispose()
    return found


def secret_of(folder):
    """A renter's secret, opened with the key that lies there."""
    engine = state_of(folder)
    sealed = Templates(engine).get("alice", "mine").sealed
    engine.dispose()
    return Sealer.of(folder / "state" / "secrets.key").open("t", sealed)


@pytest.fixture(scope="module")
def saved(folder, environment):
    """Two epochs, a ban and a renter's secret, of which a copy was taken; and what has changed since."""
    (folder / "state").mkdir()
    for number in (7, 8):
        write_epoch(folder / "state" / "history", world().epoch(number))
    ban(folder, "5Miner")
    engine, sealer = state_of(folder), Sealer.of(folder / "state" / "secrets.key")
    Renters(engine).add(renter("alice"))
    Templates(engine).add(template(name="mine", sealed=sealer.seal("t", {"TOKEN": "a"})))
    engine.dispose()
    told = done("backup", environment, folder)
    ban(folder, "5Later")
    return told


@pytest.fixture(scope="module")
def restored(folder, environment, saved):
    """What is printed when it is put back: the disk of the state was lost, key, state and half of the history with it."""
    state = folder / "state"
    (state / "secrets.key").unlink()
    (state / "validator.sqlite").write_bytes(b"lost")
    for file in (state / "history").rglob("*epoch=8*"):
        shutil.rmtree(file) if file.is_dir() else file.unlink()
    return done("restore", environment, folder)


def test_a_copy_is_made_while_everything_works(folder, saved):
    """State, key and history; the newest is found under one name."""
    copy = folder / "backups" / "latest"

    assert sorted(path.name for path in copy.iterdir()) == ["secrets.key", "state.sqlite"]
    assert archived_epochs(folder / "backups" / "history") == [7, 8]


def test_what_was_lost_is_back_as_it_was_when_it_was_copied(folder, restored):
    """The ban of before and not the one of later, the secrets with their key, all epochs; and the copy's epochs replay."""
    assert banned(folder) == ["5Miner"]
    assert secret_of(folder) == {"TOKEN": "a"}
    assert archived_epochs(folder / "state" / "history") == [7, 8]
    assert restored.count("identical") == 2


def test_what_was_there_is_put_aside(folder, restored):
    """Nothing is thrown away in a hurry."""
    (aside,) = (folder / "state").glob("before-restore-*")

    assert (aside / "validator.sqlite").read_bytes() == b"lost"


@pytest.mark.parametrize(("epoch", "replayed"), [(None, 8), ("7", 7)])
def test_an_epoch_is_replayed(folder, environment, restored, epoch, replayed):
    """The one that is named, or the newest."""
    asked = environment | ({"EPOCH": epoch} if epoch else {})

    assert done("replay", asked, folder).startswith(f"epoch {replayed}  identical")


def test_the_key_of_secrets_is_rotated(folder, environment, restored):
    """Everything opens with the new one, the copy that was taken before with the old one."""
    before = (folder / "state" / "secrets.key").read_bytes()
    told = done("rotate-secrets", environment, folder)
    (copy,) = (folder / "backups").glob("before-rotation-*")

    assert "1 things are sealed under a new key" in told
    assert secret_of(folder) == {"TOKEN": "a"}
    assert (folder / "state" / "secrets.key").read_bytes() != before
    assert (copy / "secrets.key").read_bytes() == before


def test_the_credential_of_prefects_server_is_rotated(folder, environment, restored):
    """Its next start makes a new one."""
    before = make_auth(auth_file(folder / "state"))
    done("rotate-prefect", environment, folder)

    assert make_auth(auth_file(folder / "state")) != before


def test_all_of_its_blocks_are_run():
    """A block that says it is run by the tests is."""
    assert set(BLOCKS) == {"backup", "restore", "replay", "rotate-prefect", "rotate-secrets"}
