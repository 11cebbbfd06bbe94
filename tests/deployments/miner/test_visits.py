"""The agent's log: every grant and every refusal, and nothing that a stranger's knock could cost."""

import asyncio
import json
import time

import pytest
from click.testing import CliRunner

from deployments.commands.miner.visits import command
from deployments.miner.agent import build_app
from deployments.miner.listening import serve
from deployments.miner.visits import FILE, GRANTED, MAX_COUNTED, Sought, Visit, VisitLog, read_visits
from tasks.edges.nonces import NonceStore
from tasks.errors import StoreAway
from tasks.offering.config import MinerConfig, MinerExecutor
from tests.deployments.miner.test_agent import (
    MINER,
    STRANGER,
    VALIDATOR,
    code_of,
    offer,
    raw_request,
    request,
    talk,
)

ENTRY = """
[[executor]]
id = "box-1"
address = "127.0.0.2"
port = 22
user = "subnet"
python = "/usr/bin/python3"
host_key = "{host_key}"
authorized_keys = "/home/subnet/keys"
price_usd_per_hour = 1.5
"""


@pytest.fixture
def log(tmp_path):
    """A log of at most ten rows."""
    made = VisitLog(tmp_path / FILE, max_rows=10)
    yield made
    made.close()


def told(folder, **sought):
    """Code, executor and times of what the log of this folder has, the newest first."""
    return [(v.code, v.executor_id, v.times) for v in read_visits(folder / FILE, Sought(**sought))]


def visited(folder, *exchanges, may_enter=None, before=None, paused_from=None, max_grant_s=600, **terms):
    """The door with a log in this folder, asked these raw requests one after another and closed; its answers."""
    offers = [offer(n).model_copy(update={"paused_from": paused_from}) for n in (1, 2)]
    executors = tuple(MinerExecutor(offers[n], folder / f"home-{n + 1}" / "keys") for n in (0, 1))
    config = MinerConfig(executors, max_grant_s=max_grant_s, folder=folder, **terms)
    who = may_enter or (lambda hotkey: hotkey == VALIDATOR.ss58_address or "no validator permit")
    door = build_app(config, MINER, who, NonceStore(folder / "nonces.sqlite"))

    async def run():
        async with serve(door, "127.0.0.1", 0) as port:
            if before is not None:
                before(folder)
            return [await talk(port, data) for data in exchanges]

    return asyncio.run(run())


def test_every_grant_is_a_line(tmp_path):
    """For each executor: who, until when, for which epoch; what could not be opened stands beside it with its code."""

    (tmp_path / "home-2").write_text("a file where a folder should be")
    asked = request()
    visited(tmp_path, raw_request(asked))

    until_s = json.loads(asked.body)["expires_at"]
    found = sorted(read_visits(tmp_path / FILE, Sought()), key=lambda visit: visit.executor_id)
    assert [(v.code, v.executor_id, v.hotkey, v.purpose, v.until_s, v.reason) for v in found] == [
        (GRANTED, "box-1", VALIDATOR.ss58_address, "validate", until_s, "epoch 7"),
        ("KEYS_FILE", "box-2", VALIDATOR.ss58_address, "validate", until_s, "epoch 7"),
    ]
    assert abs(found[0].at_s - time.time()) < 60


def test_refusals_of_validators_are_lines_and_of_others_numbers(tmp_path):
    """Who may enter and errs has a line at once; who may not is counted by code, a proved hotkey by its name."""

    stranger = [raw_request(request(STRANGER), STRANGER) for _ in range(3)]
    forged = [raw_request(request()).replace(b'"epoch": 7', b'"epoch": 8') for _ in range(2)]
    visited(tmp_path, *stranger, *forged, raw_request(request(expires_in_s=-1)))

    found = {(v.code, v.hotkey, v.reason, v.times) for v in read_visits(tmp_path / FILE, Sought())}
    assert ("EXPIRED", VALIDATOR.ss58_address, "expires_at has passed", 1) in found
    assert ("NOT_ADMITTED", STRANGER.ss58_address, "no validator permit", 3) in found
    assert {(code, hotkey, times) for code, hotkey, _, times in found if code.startswith("AUTH")} == {
        ("AUTH_BAD_SIGNATURE", "", 2)
    }


def test_nobody_is_let_in_unseen(tmp_path):
    """A grant that the log can't take is none: the validator gets 503, and asks again when the log is there."""

    def spoil(folder):
        (folder / FILE).mkdir()

    (answer,) = visited(tmp_path, raw_request(request()), before=spoil)

    assert code_of(answer) == (503, "STORE_AWAY")


def test_a_knock_writes_nothing(log, tmp_path):
    """Refusals before anybody is proved are numbers until a minute is over, whoever they say they are."""

    due = [log.count("AUTH_STALE", now_s=1_000.0 + second) for second in range(60)]

    assert not any(due)
    assert not (tmp_path / FILE).exists()
    assert log.count("AUTH_STALE", now_s=1_061.0)
    log.flush(1_061.0)
    assert told(tmp_path) == [("AUTH_STALE", "", 61)]
    log.flush(1_062.0)
    assert told(tmp_path) == [("AUTH_STALE", "", 61)]


def test_hotkeys_that_are_told_apart_are_bounded(log, tmp_path):
    """Somebody who makes ten thousand hotkeys fills neither memory nor log: those over the bound are one number."""

    for number in range(10_000):
        log.count("NOT_ADMITTED", hotkey=f"5{number}", now_s=1_000.0)
    log.flush(1_000.0)

    assert len(log._counted) == 0
    assert told(tmp_path, limit=1) == [("NOT_ADMITTED", "", 10_000 - MAX_COUNTED)]


def test_the_newest_lines_stay(log, tmp_path):
    """Of more lines than the log holds the oldest go, however many come at once."""

    log.write(Visit(n, GRANTED, executor_id=f"box-{n}") for n in range(25))
    log.write([Visit(25, GRANTED, executor_id="box-25")])

    assert [executor for _, executor, _ in told(tmp_path)] == [f"box-{n}" for n in range(25, 15, -1)]


def test_lines_are_found_by_what_they_are(log, tmp_path):
    """By validator, executor, outcome and time, each by itself and together; the newest first, and no more than asked for."""

    log.write([
        Visit(100, GRANTED, "5Alice", "a"),
        Visit(200, GRANTED, "5Bob", "b"),
        Visit(300, "EXPIRED", "5Alice"),
        Visit(400, "AUTH_STALE", times=7),
    ])  # fmt: skip

    assert told(tmp_path, hotkey="5Alice") == [("EXPIRED", "", 1), (GRANTED, "a", 1)]
    assert told(tmp_path, hotkey="5Alice", code=GRANTED) == [(GRANTED, "a", 1)]
    assert told(tmp_path, executor_id="b") == [(GRANTED, "b", 1)]
    assert told(tmp_path, only_refused=True) == [("AUTH_STALE", "", 7), ("EXPIRED", "", 1)]
    assert told(tmp_path, since_s=300, limit=1) == [("AUTH_STALE", "", 7)]


def test_a_log_that_is_none_is_told(tmp_path):
    """No file is an empty log; a file of another kind is our own trouble with a name, not a traceback."""

    assert read_visits(tmp_path / FILE, Sought()) == []
    (tmp_path / FILE).write_bytes(b"no database" * 100)
    with pytest.raises(StoreAway, match="agent's log"):
        read_visits(tmp_path / FILE, Sought())


def test_a_miner_reads_who_came(tmp_path):
    """`subnet miner visits` shows a line a visit, or JSON, by the filters asked for."""

    memory = tmp_path / "memory"
    config = tmp_path / "miner.toml"
    config.write_text(f'folder = "{memory}"\n' + ENTRY.format(host_key=offer(1).host_key))
    log = VisitLog(memory / FILE)
    log.write([
        Visit(1_790_000_000, GRANTED, "5Alice", "box-1", "validate", 1_790_000_900, "epoch 7"),
        Visit(1_790_000_060, "NOT_ADMITTED", "5Mallory", reason="no validator permit", times=4),
    ])  # fmt: skip
    log.close()

    def say(*more):
        result = CliRunner().invoke(command, ["--config", str(config), *more])
        assert result.exit_code == 0, result.output
        return result.stdout

    lines = say().splitlines()
    assert lines == [
        "2026-09-21 14:14:20  NOT_ADMITTED  5Mallory  no validator permit  4 times",
        "2026-09-21 14:13:20  GRANTED  5Alice  box-1  to validate, until 2026-09-21 14:28:20  epoch 7",
    ]
    assert say("--refused").splitlines() == lines[:1]
    assert [one["hotkey"] for one in json.loads(say("--code", GRANTED, "--json"))] == ["5Alice"]
    assert say("--hours", "1") == "nobody came yet, of those that were asked for\n"
