"""`subnet miner check`, as a miner types it."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from deployments.cli import subnet
from deployments.localnet.executors import ANNOUNCED_PYTHON
from tasks.errors import SettingError
from tests.tasks.onboarding.looking import farm, make_ssh_key


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    """One honest machine, and the folder with the miner's key that it lets in."""
    folder = tmp_path_factory.mktemp("check")
    key = make_ssh_key(folder / "id_ed25519")
    with farm(folder / "farm", key, "basalt-2") as up:
        yield folder, up["basalt-2"]


@pytest.fixture
def typed(machine, tmp_path):
    """The command on that machine; its host keys are pinned in the test's own folder."""
    folder, box = machine

    def command(*words, read=None, host=f"{box.address}:{box.port}"):
        own = ("--user", "subnet", "--key", str(folder / "id_ed25519"), "--python", ANNOUNCED_PYTHON)
        environment = {"SUBNET_FOLDER": str(tmp_path / ".local")}
        return CliRunner().invoke(subnet, ["miner", "check", host, *own, *words], env=environment, input=read)

    return command


def test_a_machine_that_fits_is_told_in_a_few_lines(typed, tmp_path):
    """After its fingerprint was agreed to; the second time nobody is asked."""
    first, second = typed(read="y\n"), typed()

    assert (first.exit_code, second.exit_code) == (0, 0), first.output
    assert "shows the host key SHA256:" in first.output
    assert "SHA256:" not in second.output
    assert "subnet@127.0.1.4:" in second.output
    assert ": fits" in second.output
    assert "1 x NVIDIA L4" in second.output
    assert "checks passed" in second.output
    [command] = [line for line in second.output.splitlines() if line.startswith("             $ curl")]
    assert command.endswith("apt-get install -y nvidia-container-toolkit"), "whole, to be copied"
    assert (tmp_path / ".local" / "miner" / "known_hosts").is_file()


def test_for_programs_it_is_one_object_and_no_question(typed):
    """New keys are pinned only where that was asked for; a machine that would not be paid is exit code 1."""
    unknown, known = typed("--json"), typed("--json", "--accept-new")
    (told,) = json.loads(known.stdout)["machines"]

    assert unknown.exit_code == 1
    assert [r["code"] for r in json.loads(unknown.stdout)["machines"][0]["reasons"]] == ["HOST_KEY_UNKNOWN"]
    assert (known.exit_code, told["fits"], told["is_first_meeting"]) == (0, True, True)
    assert [card["model"] for card in told["cards"]] == ["NVIDIA L4"]
    assert told["up_mbit_s"] > 1
    assert all(reason["mend"] for reason in told["reasons"])


def test_a_no_is_no(typed):
    """The command that shows the machine's own key is told."""
    done = typed(read="n\n")

    assert done.exit_code == 1
    assert "HOST_KEY_UNKNOWN" in done.output
    assert "$ ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub" in done.output


@pytest.mark.parametrize(
    ("words", "key"),
    [(("--key", "/nowhere/id"), "--key"), (("--policy", "none-such"), "policy"), (("a;b",), "HOST")],
)
def test_mistakes_are_told(typed, words, key):
    """Before any machine is asked."""
    done = typed(*words)

    assert isinstance(done.exception, SettingError)
    assert done.exception.key == key
