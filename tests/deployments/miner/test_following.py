"""A running agent takes its changed file, and keeps the one before when the new one does not fit."""

import asyncio
import logging
import os

import pytest

from deployments.miner.agent import build_app
from deployments.miner.following import Followed
from deployments.miner.listening import serve
from tasks.edges import wire
from tasks.edges.nonces import NonceStore
from tasks.errors import SettingError
from tasks.offering import fleet
from tests.deployments.miner.test_agent import MINER, raw_request, request, talk
from tests.tasks.offering.test_config import ENTRY, toml


class Clock:
    """Seconds that pass when they are told to."""

    now_s = 0.0

    def __call__(self):
        return self.now_s


def file_in(folder):
    """The agent's file of one machine, whose keys file lies beside it."""
    path = folder / "miner.toml"
    path.write_text(toml("", {**ENTRY, "authorized_keys": f'"{folder / "keys"}"'}))
    return path


def price_of(followed):
    return followed().executors[0].offer.price_usd_per_hour


def test_a_changed_file_is_taken_after_a_few_seconds(tmp_path):
    """Looked at every three seconds, read when it is another one: replaced, or written in place."""
    path, clock, taken = file_in(tmp_path), Clock(), []
    followed = Followed(path, monotonic=clock, on_change=taken.append)

    fleet.change(path, fleet.put("rack1-a", "price_usd_per_hour", 2.0))
    assert price_of(followed) == 1.5
    clock.now_s = 3.0
    assert price_of(followed) == 2.0

    path.write_text(path.read_text().replace("2.0", "3.0"))
    os.utime(path, ns=(1, 1))
    clock.now_s = 6.0
    assert price_of(followed) == 3.0
    assert [one.executors[0].offer.price_usd_per_hour for one in taken] == [2.0, 3.0]


def test_a_broken_file_is_told_once_and_the_one_before_goes_on(tmp_path, caplog):
    """The log says what does not fit, however often it is looked at; the mended one is taken."""
    path, clock = file_in(tmp_path), Clock()
    followed, whole = Followed(path, monotonic=clock), path.read_text()
    with caplog.at_level(logging.ERROR, "deployments.miner.following"):
        for text in (whole.replace("1.5", "-1"), None):
            path.unlink()
            if text is not None:
                path.write_text(text)
            for _ in range(3):
                clock.now_s += 3.0
                assert price_of(followed) == 1.5

    assert [("price_usd_per_hour" in m, "readable" in m) for m in caplog.messages] == [
        (True, False),
        (False, True),
    ]
    path.write_text(whole.replace("1.5", "4.5"))
    clock.now_s += 3.0
    assert price_of(followed) == 4.5


def test_the_first_file_must_fit(tmp_path):
    """An agent does not start on a file that says nothing."""
    with pytest.raises(SettingError):
        Followed(tmp_path / "none.toml")


def test_a_running_door_tells_what_the_file_says_now(tmp_path):
    """Between two requests of a validator the machine is paused: the second answer says so, of the same door."""
    path, clock = file_in(tmp_path), Clock()
    app = build_app(
        *(Followed(path, monotonic=clock), MINER, lambda _: True, NonceStore(tmp_path / "nonces.sqlite"))
    )

    async def run():
        async with serve(app, "127.0.0.1", 0) as port:
            before = await talk(port, raw_request(request()))
            fleet.change(path, fleet.put("rack1-a", "paused_from", 1_790_000_000))
            clock.now_s += 3.0
            return before, await talk(port, raw_request(request()))

    answers = [wire.ExecutorsAnswer.model_validate_json(body) for _, _, body in asyncio.run(run())]

    assert [answer.executors[0].paused_from for answer in answers] == [None, 1_790_000_000]
