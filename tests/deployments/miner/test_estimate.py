"""`subnet miner estimate`, as a miner types it."""

import json

from click.testing import CliRunner

from deployments.cli import subnet
from storage.history import write_epoch
from tasks.errors import SettingError
from tests.tasks.test_estimating import world


def typed(tmp_path, *words):
    return CliRunner().invoke(subnet, ["miner", "estimate", *words], env={"SUBNET_FOLDER": str(tmp_path)})


def test_idle_and_leased_new_and_established(tmp_path):
    """Four lines beside the newest archived epoch, each with its bill."""
    write_epoch(tmp_path / "history", world())

    shown = typed(tmp_path, "--model", "H200", "--cards", "8", "--alpha-tao", "0.02").output
    told = json.loads(typed(tmp_path, "--model", "H200", "--idle", "--json").output)

    assert shown.startswith("8 x H200, beside 1 machines of epoch 7, policy default\n")
    assert [line.split()[0] for line in shown.splitlines() if "days of passing" in line] == [
        *("idle", "idle", "leased", "leased")
    ]
    assert "USD of rent" in shown
    assert [e["uptime_days"] for e in told["estimates"]] == [0.0, 30.0]
    assert told["estimates"][1]["terms"]["uptime"] == 1.0


def test_mistakes_are_told(tmp_path):
    """A model that is several, one that is none, and no archive to stand beside."""

    several = typed(tmp_path, "--model", "H100", "--alone")
    none = typed(tmp_path, "--model", "Voodoo", "--alone")
    nothing = typed(tmp_path, "--model", "H200")

    assert [isinstance(done.exception, SettingError) for done in (several, none, nothing)] == [True] * 3
    assert "H100 PCIe" in str(several.exception)
    assert "--alone needs none" in str(nothing.exception)


def test_numbers_are_finite(tmp_path):
    """`nan` and `inf` are in no range, and no estimate is made of them."""
    wrong = (("--price", "nan"), ("--mbit", "nan"), ("--alpha-per-day", "inf"), ("--tao-usd", "nan"))

    done = [typed(tmp_path, "--model", "H200", "--alone", *words) for words in wrong]

    assert [one.exit_code for one in done] == [2, 2, 2, 2]
    assert "'inf' is no finite number" in done[2].output
