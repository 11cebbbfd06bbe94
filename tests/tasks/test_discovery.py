"""Discovery: everybody that serves is asked at once, a bad miner costs itself, shared places are named."""

import asyncio
import time
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from bittensor import sp_core

from deployments.miner.agent import build_app
from deployments.miner.listening import serve
from storage.records import Executor, Head, MinerReply, Neuron, SubnetView
from tasks.discovery import discover, executors_of, serving, settle
from tasks.edges import wire
from tasks.edges.nonces import NonceStore
from tasks.edges.peers import Peers, PeerSettings
from tasks.offering.config import MinerConfig, MinerExecutor

VALIDATOR = sp_core.Keypair.create_from_uri("//Validator")
KEY_LINE = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"


def neuron(uid, hotkey=None, endpoint="127.0.0.1:9"):
    hotkey = hotkey or f"hotkey-{uid}"
    return Neuron(
        uid=uid,
        hotkey=hotkey,
        coldkey=hotkey,
        endpoint=endpoint,
        is_active=True,
        has_permit=False,
        stake_rao=0,
        last_update_block=0,
        registered_at_block=uid,
        incentive=0.0,
        dividends=0.0,
        collateral_locked_rao=None,
    )


def view(*neurons):
    head = Head(380, "0x" + "0" * 64, datetime(2026, 1, 1, tzinfo=UTC), 12.0, 360, 0, 360)
    return SubnetView(51, head, neurons, "owner", 0, 100, 1, is_commit_reveal=False)


def executor(name, uid, address="192.0.2.1", port=22):
    return Executor(name, f"hotkey-{uid}", uid, uid, address, port, "subnet", "/usr/bin/python3", b"k", 1.0)


def reply(uid, *executors):
    return MinerReply(f"hotkey-{uid}", uid, executors, ())


def test_only_serving_miners_are_asked():
    """Who announces no endpoint, and we ourselves, are not asked; the rest by uid."""

    neurons = (neuron(3), neuron(1), neuron(2, endpoint=None), neuron(4, hotkey="me"))

    assert [n.uid for n in serving(view(*neurons), "me")] == [1, 3]


def test_different_places_are_left_alone():
    """Replies without a shared place come out as they went in."""

    replies = (reply(1, executor("a", 1), executor("b", 1, port=23)), reply(2, executor("a", 2, "192.0.2.2")))

    assert settle(replies) == replies


def test_one_miner_cannot_announce_a_place_twice():
    """Of two executors of one miner at one address and port the first by name stays, the other fails."""

    [settled] = settle([reply(1, executor("b", 1), executor("a", 1), executor("c", 1, port=23))])

    assert [e.executor_id for e in settled.executors] == ["a", "c"]
    assert [(r.code, r.severity.value, r.got) for r in settled.reasons] == [
        ("EXECUTOR_ADDRESS_REPEATED", "fail", "b at 192.0.2.1:22, as a")
    ]


def test_two_miners_at_one_place_are_both_warned():
    """Nobody can strike out a rival by announcing its address: both stay, and both are told."""

    settled = settle(
        [reply(1, executor("a", 1)), reply(2, executor("z", 2)), reply(3, executor("a", 3, "::1"))]
    )

    assert [len(r.executors) for r in settled] == [1, 1, 1]
    assert [[(x.code, x.severity.value, x.got) for x in r.reasons] for r in settled] == [
        [("EXECUTOR_ADDRESS_SHARED", "warn", "a at 192.0.2.1:22, also announced by uid 2")],
        [("EXECUTOR_ADDRESS_SHARED", "warn", "z at 192.0.2.1:22, also announced by uid 1")],
        [],
    ]


@pytest.mark.parametrize("parallel", [1, 3])
def test_no_more_than_the_bound_are_asked_at_once(parallel):
    """At most `parallel` miners are asked at the same time, each with its own key, and all are."""

    class Counting:
        running = most = 0
        keys = ()

        async def ask(self, neuron, epoch, key_line, expires_at):
            self.running += 1
            self.most = max(self.most, self.running)
            self.keys += ((neuron.uid, epoch, key_line, expires_at),)
            await asyncio.sleep(0)
            self.running -= 1
            return reply(neuron.uid, executor("a", neuron.uid, port=neuron.uid + 1))

    peers, heard = Counting(), []
    found = asyncio.run(
        discover(
            view(*(neuron(uid) for uid in range(8))),
            peers,
            own_hotkey="me",
            key_line=lambda n: f"key for {n.uid}",
            expires_at=99,
            parallel=parallel,
            on_reply=heard.append,
        )
    )

    assert peers.most == parallel
    assert peers.keys == tuple((uid, 7, f"key for {uid}", 99) for uid in range(8))
    assert [r.uid for r in found] == list(range(8))
    assert sorted(r.uid for r in heard) == list(range(8))
    assert len(executors_of(found)) == 8


def test_bad_miners_cost_only_themselves(tmp_path):
    """Beside a miner that hangs and one that is away, the honest ones are discovered, within one deadline."""

    async def run():
        async def hang(reader, writer):
            await reader.read(-1)
            writer.close()

        hanging = await asyncio.start_server(hang, "127.0.0.1", 0)
        store = NonceStore(tmp_path / "nonces.sqlite")
        miners = [sp_core.Keypair.create_from_uri(f"//Miner{n}") for n in range(4)]
        doors = [build_app(_config(tmp_path, n), miners[n], lambda _: True, store) for n in (0, 1)]
        async with serve(doors[0], "127.0.0.2", 0) as first, serve(doors[1], "127.0.0.3", 0) as second:
            ends = [f"127.0.0.2:{first}", f"127.0.0.3:{second}", _end(hanging), "127.0.0.1:1"]
            subnet = view(*(neuron(n, miners[n].ss58_address, end) for n, end in enumerate(ends)))
            async with Peers(VALIDATOR, PeerSettings(deadline_s=1.0, allow_private=True)) as peers:
                found = await discover(
                    subnet,
                    peers,
                    own_hotkey=VALIDATOR.ss58_address,
                    key_line=lambda _: KEY_LINE,
                    expires_at=int(time.time()) + 300,
                )
        hanging.close()
        return found

    started = time.monotonic()
    found = asyncio.run(run())

    assert [[e.executor_id for e in r.executors] for r in found] == [["box-0"], ["box-1"], [], []]
    assert [[x.code for x in r.reasons] for r in found] == [[], [], ["MINER_TIMEOUT"], ["MINER_UNREACHABLE"]]
    assert time.monotonic() - started < 5


def test_records_stay_what_they_are():
    """Settling makes new replies and changes none of those it was given."""

    before = reply(1, executor("a", 1), executor("b", 1))
    copy = replace(before)
    settle([before])

    assert before == copy


def _end(server):
    return f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


def _config(folder, number):
    offer = wire.Offer(
        executor_id=f"box-{number}",
        address="127.0.0.2",
        port=2200 + number,
        user="subnet",
        python="/usr/bin/python3",
        host_key=KEY_LINE.split()[1],
        price_usd_per_hour=1.0,
    )
    return MinerConfig((MinerExecutor(offer, folder / f"keys-{number}"),))
