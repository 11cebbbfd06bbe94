"""What a shell completes."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from click.shell_completion import ShellComplete

from deployments.cli import subnet
from deployments.commands.rent.completion import PROGRAM, VARIABLE
from tests.deployments.rent.rig import Bridge


def completed(desk, *words):
    """What stands after the words, for the last of them."""
    found = ShellComplete(subnet, {"obj": desk}, PROGRAM, VARIABLE).get_completions(
        list(words[:-1]), words[-1]
    )
    return [item.value for item in found]


def test_verbs_are_completed_without_importing_them():
    """Their names come from the list that `--help` shows."""

    assert completed(None, "rent", "vol") == ["volumes"]
    assert set(completed(None, "re")) == {"report", "rent"}
    assert "--spec" in completed(None, "rent", "up", "--s")


def test_names_come_from_the_market(terminal):
    """Leases that stand, with and without their first word; templates; volumes."""

    lease = terminal.up("--volume", "data:/data")["lease_id"]
    bare = lease.removeprefix("lease-")
    desk = terminal.desk()

    assert completed(desk, "rent", "ssh", bare[:3]) == [bare]
    assert completed(desk, "rent", "rm", lease[:9]) == [lease]
    assert completed(desk, "rent", "up", "--template", "py") == ["pytorch"]
    assert completed(desk, "rent", "volumes", "rm", "") == ["data"]
    terminal.rent("rm", lease, "--yes")
    assert completed(desk, "rent", "ssh", "") == []


def test_a_market_that_is_away_is_not_mentioned(terminal, capfd):
    """One quick try, no name, no word: the user is typing. Neither is a lost login."""

    tries = []

    def away(request):
        tries.append(request.extensions["timeout"])
        raise httpx.ConnectError("down")

    desk = replace(terminal.desk(), transport=httpx.MockTransport(away))
    found = completed(desk, "rent", "ssh", "")
    terminal.rent("logout")

    assert (found, completed(terminal.desk(), "rent", "ssh", "")) == ([], [])
    assert len(tries) == 1
    assert max(tries[0].values()) <= 1.5
    assert capfd.readouterr() == ("", "")


def test_a_name_that_is_none_is_not_completed(terminal):
    """What would move a cursor, or be two words, is left out."""

    def odd(_request):
        items = [{"lease_id": name, "state": "active"} for name in ("a\x1b[2J", "a b", "a-1", 7)]
        return httpx.Response(200, json={"items": items})

    desk = replace(terminal.desk(), transport=httpx.MockTransport(odd))

    assert completed(desk, "rent", "ssh", "a") == ["a-1"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_its_script(terminal, shell):
    """It calls us by our name and with our variable."""

    told = terminal.rent("completion", shell)

    assert told.code == 0
    assert f"_SUBNET_COMPLETE={shell}_complete" in told.out


def test_bash_completes_with_the_installed_program(tmp_path):
    """The script in a real bash, the program as it is installed, from another folder."""

    program = Path(sys.executable).with_name("subnet")
    script = subprocess.run(
        [program, "rent", "completion", "bash"], capture_output=True, text=True, check=True
    )
    code = f'{script.stdout}\nCOMP_WORDS=({program} rent temp)\nCOMP_CWORD=2\n_subnet_completion {program}\necho "${{COMPREPLY[@]}}"\n'
    told = subprocess.run(["bash", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert told.stdout.split() == ["templates"], told.stderr


def test_the_bridge_is_one(terminal):
    """The rig's transport is the app's own answers."""

    with httpx.Client(transport=Bridge(terminal.world.app), base_url="http://market") as client:
        assert client.get("/v1/health").status_code == 200
