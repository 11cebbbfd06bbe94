"""The agent's memory: swaps that it shows, results that it was told; nothing of other forms or sizes is read back."""

import asyncio
import json
import time
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner
from pydantic import ValidationError

from deployments.cli import subnet
from deployments.commands.miner.swap import signed_swap
from deployments.localnet.chain.actors import dev_wallet
from deployments.miner.agent import build_app
from deployments.miner.listening import serve
from tasks.edges import wire
from tasks.edges.nonces import NonceStore
from tasks.edges.signing import Asked, is_signed_by
from tasks.errors import SettingError
from tasks.offering.config import MinerConfig
from tasks.offering.memory import keep_results, keep_swap, shown_swaps, told_results
from tasks.swaps import read_swap
from tests.deployments.miner.test_agent import MINER, STRANGER, VALIDATOR, raw_request, talk
from tests.tasks.offering.test_config import ENTRY, toml

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
DISK = wire.ToldReason(
    code="DISK_BELOW_MINIMUM",
    severity="fail",
    got="20 GiB free",
    wanted="100 GiB free",
    mend="Free some disk.",
)
RESULTS = wire.Results(
    epoch=128,
    policy="default",
    scored_at=1_790_000_000,
    weight=0.25,
    machines=(
        wire.MachineResult(
            executor_id="rack1-a", score=0.0, terms={"uptime": 0.5, "passed": 0.0}, reasons=(DISK,)
        ),
    ),
)


def swap(at=NOW, executor="rack1-a", came="GPU-2"):
    return signed_swap(MINER, executor, ("GPU-1",), (came,), at)


def test_swaps_are_shown_while_they_are_valid(tmp_path):
    """The newest first, none older than 7 days, and nothing that is no statement."""
    keep_swap(tmp_path, swap(NOW - timedelta(days=8)))
    older, newer = swap(NOW - timedelta(days=1)), swap(NOW)
    for one in (older, newer):
        keep_swap(tmp_path, one)
    (tmp_path / "swaps" / "1795348801-other.txt").write_text("x" * 9_000)
    (tmp_path / "swaps" / "1795348802-link.txt").symlink_to("/etc/passwd")

    assert shown_swaps(tmp_path, NOW.timestamp()) == (newer.statement, older.statement)
    assert shown_swaps(tmp_path / "none", 0.0) == ()


def test_the_last_results_of_each_validator_are_kept(tmp_path):
    """A validator's newer results replace its older ones; a damaged file is passed over."""
    for epoch in (128, 129):
        keep_results(tmp_path, VALIDATOR.ss58_address, RESULTS.model_copy(update={"epoch": epoch}))
    keep_results(tmp_path, STRANGER.ss58_address, RESULTS)
    (tmp_path / "results" / f"{STRANGER.ss58_address}.json").write_text("{")

    assert {h: r.epoch for h, r in told_results(tmp_path).items()} == {VALIDATOR.ss58_address: 129}


@pytest.mark.parametrize(
    ("body", "signer", "status", "kept"),
    [
        (RESULTS.model_dump_json().encode(), VALIDATOR, 200, 1),
        (RESULTS.model_dump_json().encode(), STRANGER, 403, 0),
        (b'{"epoch": -1}', VALIDATOR, 400, 0),
    ],
)
def test_results_come_in_over_the_signed_door(tmp_path, body, signer, status, kept):
    """Kept when an admitted validator signed them and they have their form and size; else nothing is written."""
    config = MinerConfig((), folder=tmp_path / "memory")
    app = build_app(config, MINER, lambda h: h == VALIDATOR.ss58_address, NonceStore(tmp_path / "n.sqlite"))
    asked = Asked("POST", b"/v1/results", body, time.time_ns(), signer.ss58_address, MINER.ss58_address)

    async def send():
        async with serve(app, "127.0.0.1", 0) as port:
            return await talk(port, raw_request(asked, signer, target="/v1/results"))

    got, *_ = asyncio.run(send())

    assert (got, len(told_results(tmp_path / "memory"))) == (status, kept)


def test_results_that_are_too_large_are_not_read(tmp_path):
    """What the header announces is refused before the body, at a limit of its own."""
    config = MinerConfig((), folder=tmp_path / "memory")
    app = build_app(config, MINER, lambda _: True, NonceStore(tmp_path / "n.sqlite"))
    asked = Asked("POST", b"/v1/results", b"{}", time.time_ns(), VALIDATOR.ss58_address, MINER.ss58_address)

    async def send(length):
        async with serve(app, "127.0.0.1", 0) as port:
            return await talk(port, raw_request(asked, target="/v1/results", length=length))

    status, _, body = asyncio.run(send(wire.MAX_RESULTS_BYTES + 1))

    assert (status, json.loads(body)["error"]) == (413, "TOO_LARGE")


def test_a_miner_announces_a_swap_and_reads_its_results(tmp_path):
    """`subnet miner swap` leaves a signed statement for the agent; `subnet miner status` shows every reason with its mend."""
    memory = tmp_path / "memory"
    config = tmp_path / "alice.toml"
    config.write_text(toml(f'folder = "{memory}"', ENTRY))
    keep_results(memory, VALIDATOR.ss58_address, RESULTS)

    def typed(*words):
        return CliRunner().invoke(subnet, ["miner", *words], env={"SUBNET_FOLDER": str(tmp_path)})

    cards = ("--gone", "GPU-1", "--came", "GPU-2", "--stays", "GPU-3")
    done = json.loads(
        typed("swap", "--config", str(config), "--executor", "rack1-a", *cards, "--json").output
    )
    shown = typed("status", "--config", str(config)).output
    refused = typed("swap", "--config", str(config), "--executor", "rack9", *cards)

    (statement,) = shown_swaps(memory, time.time())
    assert is_signed_by(statement, dev_wallet("alice").hotkey.ss58_address)
    assert (done["gone"], done["came"]) == (["GPU-1", "GPU-3"], ["GPU-2", "GPU-3"])
    assert read_swap(statement).executor_id == "rack1-a"
    assert "rack1-a: score 0.000000" in shown
    assert "uptime 0.5, passed 0" in shown
    assert "DISK_BELOW_MINIMUM (fail): got 20 GiB free; wanted 100 GiB free" in shown
    assert "Free some disk." in shown
    assert isinstance(refused.exception, SettingError)


@pytest.mark.parametrize(
    "hostile",
    [
        {"scored_at": 2**48},
        {"machines": [{"executor_id": "a", "score": 0.1, "terms": {}, "passed_since": 2**48}]},
        {"machines": [{"executor_id": "a", "score": 0.1, "terms": {"uptime": float("inf")}}]},
        {"weight": float("nan")},
    ],
)
def test_numbers_that_no_reader_can_show_are_refused(hostile):
    """A moment after the year 9999, an endless term: a validator could keep its miner from reading any results."""
    body = json.dumps(json.loads(RESULTS.model_dump_json()) | hostile)

    with pytest.raises(ValidationError):
        wire.Results.model_validate_json(body)


def test_what_a_validator_calls_its_policy_is_only_text(tmp_path):
    """A terminal's markup in it is shown and not read."""
    config = tmp_path / "alice.toml"
    config.write_text(toml(f'folder = "{tmp_path / "memory"}"', ENTRY))
    keep_results(
        tmp_path / "memory", VALIDATOR.ss58_address, RESULTS.model_copy(update={"policy": "[/red][b]mine"})
    )

    done = CliRunner().invoke(subnet, ["miner", "status", "--config", str(config)])

    assert "policy [/red][b]mine, weight 0.2500" in done.output


def test_a_reset_is_shown_with_its_reason(tmp_path):
    """Above the reasons of the epoch: why the machine's uptime began anew."""
    config = tmp_path / "alice.toml"
    config.write_text(toml(f'folder = "{tmp_path / "memory"}"', ENTRY))
    reset = {"resets": 2, "reset_at": 1_790_000_000, "reset_code": "GPU_UUID_CHANGED"}
    machine = RESULTS.machines[0].model_copy(update=reset)
    keep_results(
        tmp_path / "memory", VALIDATOR.ss58_address, RESULTS.model_copy(update={"machines": (machine,)})
    )

    done = CliRunner().invoke(subnet, ["miner", "status", "--config", str(config)])

    assert "record set back 2 times, last at 2026-09-21 14:13 UTC: GPU_UUID_CHANGED" in done.output
