"""The command line, as a user types it."""

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from tests.deployments.warm import warm

REPOSITORY = Path(__file__).parents[2]
SUBNET = Path(sys.executable).with_name("subnet")


def subnet(*arguments: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("SUBNET_", "PREFECT_"))}
    return subprocess.run(
        [SUBNET, *arguments],
        cwd=folder,
        env={**kept, "SUBNET_FOLDER": str(folder / ".local"), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


pytestmark = pytest.mark.xdist_group("command line")
"""What is typed here is imported once: one worker has it all."""


@pytest.fixture(scope="module")
def typed():
    """The same without the console script: whatever is not ours was imported before, all that is ours is imported anew."""
    with warm("bittensor", "pandas", "prefect", "pyarrow.dataset", "sqlalchemy", "rich.console") as typed:
        yield typed


@pytest.fixture(scope="module")
def show():
    """`subnet show`, imported once."""
    with warm("deployments.commands.show") as typed:
        yield partial(typed, "show")


def test_help_works_from_anywhere(tmp_path):
    """The console script of the editable install finds our packages from any folder."""

    done = subnet("--help", folder=tmp_path)

    assert (done.returncode, done.stderr) == (0, "")
    assert "subnet epoch" in done.stdout


@pytest.mark.parametrize(
    "command",
    [
        "epoch",
        "up",
        "down",
        "show",
        "deploy",
        "policy",
        "prices",
        "collateral",
        "history",
        "economics",
        "ban",
        "market",
        "rent",
        "miner",
        "report",
    ],
)
def test_every_command_has_help_with_an_example(tmp_path, command, typed):
    """`--help` of each command ends in examples that can be typed."""

    done = typed(command, "--help", folder=tmp_path)

    assert done.returncode == 0
    assert f"  subnet {command}" in done.stdout


def test_a_wrong_setting_is_one_sentence(tmp_path):
    """A user's mistake is told in one sentence with key, value and what was expected, exit code 2, nothing written."""

    done = subnet("show", folder=tmp_path, SUBNET_NETUID="fifty")

    assert done.returncode == 2
    assert done.stderr == "Error: SUBNET_NETUID is 'fifty', expected a whole number from 0 to 65535\n"
    assert list(tmp_path.iterdir()) == []


def test_dotenv_is_read_and_the_environment_wins(tmp_path, show):
    """Settings come from `.env` in the folder where the command is started."""

    (tmp_path / ".env").write_text("SUBNET_NETUID=70000\n")

    assert "'70000'" in show(folder=tmp_path).stderr
    assert "'80000'" in show(folder=tmp_path, SUBNET_NETUID="80000").stderr


@pytest.mark.parametrize(
    ("made", "settings", "told"),
    [
        ((".env", b"SUBNET_NETUID=\xff"), {}, "2 Error: .env is"),
        (("file", b""), {"SUBNET_FOLDER": "file"}, "2 Error: SUBNET_FOLDER is 'file'"),
        (("file", b""), {"SUBNET_FOLDER": "file/x"}, "2 Error: SUBNET_FOLDER is 'file/x'"),
        (("file", b""), {"SUBNET_FOLDER": "~nosuchuser/x"}, "2 Error: SUBNET_FOLDER is '~nosuchuser/x'"),
        (
            (".local/validator.sqlite", b"no database" * 99),
            {},
            "1 Error: the database can't be used: file is not",
        ),
    ],
)
def test_no_mistake_ends_in_a_traceback(tmp_path, show, made, settings, told):
    """Whatever stands in the place of a file or a folder: one sentence, and the exit code of whose mistake it is."""

    name, content = made
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(content)

    done = show(folder=tmp_path, **settings)

    assert f"{done.returncode} {done.stderr}".startswith(told)
    assert "Traceback" not in done.stderr


def test_a_number_beyond_all_epochs_is_a_users_mistake(tmp_path, show):
    """What no database can hold is refused where it is typed."""

    done = show("--epoch", "9" * 23, folder=tmp_path)

    assert done.returncode == 2
    assert "not in the range" in done.stderr


def test_an_epoch_that_is_not_there_is_said(tmp_path, show):
    """Asking for an epoch before any was run tells how to run one."""

    done = show("--epoch", "7", folder=tmp_path)

    assert done.returncode == 2
    assert "`subnet epoch` runs one" in done.stderr


def test_an_unknown_command_is_a_users_mistake(tmp_path):
    """A typing error ends with exit code 2 and a pointer to the help."""

    done = subnet("epohc", folder=tmp_path)

    assert done.returncode == 2
    assert "No such command 'epohc'" in done.stderr


def test_a_policy_is_shown_for_programs(tmp_path, typed):
    """The JSON of a policy has its digest and every value."""

    told = json.loads(typed("policy", "localnet", "--json", folder=tmp_path).stdout)

    assert told["proof"]["form"] == "cpu"
    assert len(told["digest"]) == 16


def test_deploy_is_for_real_networks(tmp_path, typed):
    """On the local subnet `subnet deploy` points to `subnet up`; elsewhere it says which server does not answer."""

    local = typed("deploy", folder=tmp_path)
    remote = typed("deploy", folder=tmp_path, SUBNET_NETWORK="test", PREFECT_API_URL="http://127.0.0.1:9/api")

    assert (local.returncode, remote.returncode) == (2, 2)
    assert "`subnet up`" in local.stderr
    assert "PREFECT_API_URL is 'http://127.0.0.1:9/api'" in remote.stderr


def test_down_is_harmless(tmp_path, typed):
    """Stopping what is not up is no error."""

    done = typed("down", folder=tmp_path)

    assert (done.returncode, done.stdout) == (0, "Nothing is up.\n")
