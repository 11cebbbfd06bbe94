"""`subnet show --miner`: one miner's part of an epoch, every score with its whole bill."""

import json
from dataclasses import replace

from click.testing import CliRunner

from deployments.cli import subnet
from storage.history import write_epoch
from storage.records import MinerReply
from tasks.errors import SettingError
from tests.storage.outcomes import executor, small_outcome


def typed(folder, *words):
    environment = {"SUBNET_FOLDER": str(folder)}
    return CliRunner().invoke(subnet, ["show", "--epoch", "7", *words], env=environment)


def test_a_miner_sees_its_own_machines_with_every_term(tmp_path):
    """Its machines and no others; each score with its terms, each reason with its mend, decided or not."""
    epoch = small_outcome(7)
    other = executor(0, "5Bob")
    write_epoch(
        tmp_path / "history",
        replace(
            epoch,
            replies=(*epoch.replies, MinerReply("5Bob", 5, (other,), ())),
            executors=(*epoch.executors, other),
        ),
    )

    shown = typed(tmp_path, "--miner", "5Alice").output
    told = json.loads(typed(tmp_path, "--miner", "5Alice", "--json").output)
    refused = typed(tmp_path, "--miner", "5Carol")

    assert "m-0: score 0.300000 = card_count 1, rate_usd_per_hour 0.3, performance 1" in shown
    assert "GPU_VRAM_MISMATCH (fail): got 12 GiB; wanted 24 GiB. List the card that is there." in shown
    assert {e["miner_hotkey"] for e in told["executors"]} == {"5Alice"}
    assert told["executors"][0]["terms"]["uptime"] == 1.0
    assert isinstance(refused.exception, SettingError)
    assert "a miner of epoch 7: 5Alice, 5Bob" in str(refused.exception)


def test_an_epoch_that_is_not_there_is_named(tmp_path):
    """Also the epoch 0, which is not the newest."""
    environment = {"SUBNET_FOLDER": str(tmp_path)}

    missing = CliRunner().invoke(subnet, ["show", "--epoch", "0"], env=environment)

    assert str(missing.exception).startswith("--epoch is '0', expected an epoch that was run")
