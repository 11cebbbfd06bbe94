"""TLS at the agent's door: the key that the chain tells, and no other; plain HTTP where the chain tells none."""

import asyncio
import contextlib
import json
import socket
import ssl
import stat
import time
from dataclasses import replace

import bittensor as bt
import pytest
from bittensor import sp_core

from deployments.miner.agent import build_app
from deployments.miner.bounds import Bounds
from deployments.miner.listening import serve
from deployments.miner.tls import AGAIN_S, KNOWN_S, LIFE_S, LIST, DoorKey, DoorTls, Pinning, kept, shown
from tasks.edges.chain import Chain, ChainSettings
from tasks.edges.nonces import NonceStore
from tasks.edges.peers import Peers, PeerSettings
from tasks.edges.pins import NONE, commitment_of, pinning_context, pins_of
from tasks.errors import ChainRefused, SettingError
from tasks.offering.config import MinerConfig, MinerExecutor
from tests.deployments.miner.test_agent import KEY, code_of, offer, raw_request, request, talk
from tests.deployments.miner.test_certificates import MINER, VALIDATOR, miner_at
from tests.tasks.nodes import make_node

STRANGER = sp_core.Keypair.create_from_uri("//Stranger")
OTHER_PIN = "A" * 43


@contextlib.asynccontextmanager
async def opened(folder, tls=None, **bounds):
    """The agent's door, by these keys."""
    config = MinerConfig((MinerExecutor(offer(1), folder / "keys"),))
    door = build_app(
        config,
        MINER,
        lambda hotkey: hotkey == VALIDATOR.ss58_address,
        NonceStore(folder / "nonces.sqlite"),
        bounds=replace(Bounds(), **bounds),
    )
    async with serve(door, "127.0.0.1", 0, tls.context if tls else None) as port:
        yield port


def asked(folder, commitment, tls=None):
    """The code with which a validator comes back that knows this commitment; the machine's name when it got in."""

    async def run():
        async with opened(folder, tls) as port, Peers(VALIDATOR, PeerSettings(allow_private=True)) as peers:
            miner = replace(miner_at(port), tls_commitment=commitment)
            return await peers.ask(miner, 7, KEY, int(time.time()) + 300)

    reply = asyncio.run(run())
    return [e.executor_id for e in reply.executors] or [(r.code, r.severity.value) for r in reply.reasons]


@pytest.fixture
def tls(tmp_path):
    """An agent's first key."""
    return DoorTls(tmp_path / "tls")


MISMATCH = [("MINER_TLS_MISMATCH", "no_verdict")]


def test_only_the_committed_key_is_taken(tmp_path, tls):
    """The committed key lets the request be made, one of two as well; another key, or no TLS, sends nothing."""

    (pin,) = pins_of(tls.commitment)
    assert asked(tmp_path, tls.commitment, tls) == ["box-1"]
    assert asked(tmp_path, commitment_of([OTHER_PIN, pin]), tls) == ["box-1"]
    assert asked(tmp_path, commitment_of([OTHER_PIN]), tls) == MISMATCH
    assert asked(tmp_path, tls.commitment) == MISMATCH  # a door that speaks plain HTTP only
    assert asked(tmp_path, f"subnet-tls/2 {pin}", tls) == MISMATCH


def test_nothing_is_sent_to_another_key(tmp_path, tls):
    """Who sits between and has no committed key sees a handshake, and not a byte of the request."""

    heard = []

    async def run():
        async def listen(reader, writer):
            heard.append(await reader.read())
            writer.close()

        server = await asyncio.start_server(listen, "127.0.0.1", 0, ssl=tls.context())
        async with server, Peers(VALIDATOR, PeerSettings(allow_private=True)) as peers:
            miner = miner_at(server.sockets[0].getsockname()[1])
            other = replace(miner, tls_commitment=commitment_of([OTHER_PIN]))
            return await peers.ask(other, 7, KEY, int(time.time()) + 300)

    reply = asyncio.run(run())
    assert [r.code for r in reply.reasons] == ["MINER_TLS_MISMATCH"]
    assert heard in ([], [b""])


def test_where_nothing_is_committed_plain_http_is_spoken(tmp_path, tls):
    """By validators that know no commitment, or one that was taken back, at the same port."""

    assert asked(tmp_path, "", tls) == ["box-1"]
    assert asked(tmp_path, NONE, tls) == ["box-1"]


# --- the port ------------------------------------------------------------------------------------


async def talk_tls(port, data):
    """As `talk`, by TLS."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=pinning_context())
    writer.write(data)
    async with asyncio.timeout(5):
        answer = await reader.read()
    writer.close()
    return int(answer.split()[1]), [], answer.partition(b"\r\n\r\n")[2]


def test_refusals_are_the_same_by_tls(tmp_path, tls):
    """A stranger, a replay and a path that is not there have their codes."""

    once = raw_request(request())

    async def run():
        async with opened(tmp_path, tls) as port:
            bad = raw_request(request(STRANGER), STRANGER)
            return [await talk_tls(port, data) for data in (once, once, bad)]

    first, *refused = asyncio.run(run())
    assert first[0] == 200
    assert [code_of(one) for one in refused] == [(401, "AUTH_REPLAYED"), (403, "NOT_ADMITTED")]


def test_who_says_nothing_is_hung_up_on(tmp_path, tls):
    """Before the first byte and in the middle of a handshake, within the door's time; others are served meanwhile."""

    async def run():
        async with opened(tmp_path, tls, first_byte_s=0.3) as port:
            silent = await asyncio.open_connection("127.0.0.1", port)
            halfway = await asyncio.open_connection("127.0.0.1", port)
            halfway[1].write(b"\x16\x03\x01")
            good = await talk(port, raw_request(request()))
            async with asyncio.timeout(3):
                ends = [await reader.read() for reader, _ in (silent, halfway)]
            for _, writer in (silent, halfway):
                writer.close()
            return good[0], ends

    assert asyncio.run(run()) == (200, [b"", b""])


def test_one_address_has_so_many_connections_before_the_first_byte(tmp_path, tls):
    """More than that are hung up on at once, and cost no handshake."""

    async def run():
        async with opened(tmp_path, tls, connections_per_address=3, first_byte_s=5.0) as port:
            links = [await asyncio.open_connection("127.0.0.1", port) for _ in range(4)]
            async with asyncio.timeout(2):
                end = await links[3][0].read()
            for _, writer in links:
                writer.close()
            return end

    assert asyncio.run(run()) == b""


def test_handshakes_are_throttled(tmp_path, tls):
    """One address has so many a second, twice as many as requests, so that those over it are told as long as may be."""

    async def run():
        async with opened(tmp_path, tls, requests_per_s=0.001, burst=2) as port:
            told = []
            for _ in range(6):
                try:
                    told.append((await talk_tls(port, raw_request(request())))[0])
                except (ssl.SSLError, ConnectionError):
                    told.append(0)
            return told

    assert asyncio.run(run()) == [200, 200, 429, 429, 0, 0]


def test_the_door_ends_with_connections_open(tmp_path, tls):
    """Half-open ones hold nothing up, and the port is free again."""

    async def run():
        async with opened(tmp_path, tls) as port:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()
        return port

    begin = time.monotonic()
    port = asyncio.run(run())
    assert time.monotonic() - begin < 4
    socket.create_server(("127.0.0.1", port)).close()


# --- keys ----------------------------------------------------------------------------------------


def test_a_key_is_made_once(tmp_path):
    """For its owner's eyes only; the next start shows the same one, and a folder that is broken is the user's mistake."""

    folder = tmp_path / "tls"
    first, again = DoorTls(folder), DoorTls(folder)

    assert first.commitment == again.commitment
    modes = {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert (modes, stat.S_IMODE(folder.stat().st_mode)) == ({0o600}, 0o700)
    (key,) = folder.glob("*.pem")
    key.write_text("no key")
    with pytest.raises(SettingError, match="TLS key"):
        DoorTls(folder)
    (folder / LIST).write_text("[{}]")
    with pytest.raises(SettingError, match="another key is made"):
        DoorTls(folder)


def test_one_key_follows_another(tmp_path):
    """A month old, another is made and both are committed; shown once it is known for an hour; then the old one goes.

    While the chain does not tell of the new one, the old one is shown, however long that takes.
    """

    now = [1_000_000.0]
    tls = DoorTls(tmp_path / "tls", lambda: now[0])
    (old,) = pins_of(tls.commitment)
    tls.refresh(tls.commitment)

    def after(seconds, told):
        now[0] += seconds
        tls.refresh(told)
        return pins_of(tls.commitment), tls._loaded[0]

    both, first = after(LIFE_S, commitment_of([old]))
    assert (both[0], len(both), first) == (old, 2, 1_000_000)
    assert after(10 * KNOWN_S, commitment_of([old])) == (both, 1_000_000)
    assert after(0, commitment_of(both)) == (both, 1_000_000)
    assert after(KNOWN_S, commitment_of(both))[1] == 1_000_000 + LIFE_S
    assert after(KNOWN_S, commitment_of(both)) == ((both[1],), 1_000_000 + LIFE_S)
    assert [path.name for path in (tmp_path / "tls").glob("*.pem")] == [f"{1_000_000 + LIFE_S}.pem"]
    again = DoorTls(tmp_path / "tls", lambda: now[0])
    assert again.commitment == tls.commitment


def test_what_is_shown_and_kept():
    """The newest that is known for an hour, else the oldest; what is older goes an hour after."""

    old, new = DoorKey(0, "a", 10), DoorKey(100, "b", 200)
    cases = {200: (old, 2), 200 + KNOWN_S: (new, 2), 199 + 2 * KNOWN_S: (new, 2), 200 + 2 * KNOWN_S: (new, 1)}

    assert {at: (shown((old, new), at), len(kept((old, new), at))) for at in cases} == cases
    assert shown((DoorKey(0, "a"), DoorKey(1, "b")), 10**6).pin == "a"


# --- the chain -----------------------------------------------------------------------------------


@pytest.fixture
def on_chain(tmp_path, monkeypatch):
    """The embedded chain as m1's agent and a validator see it."""
    for name in ("BITTENSOR_RUNTIME_CACHE_DIR", "BTCLI_TOKEN_SYMBOLS_CACHE"):
        monkeypatch.setenv(name, "")
    node = make_node(tmp_path / "chain.db")
    chain = Chain(
        ChainSettings(cache=tmp_path / "cache"), wallet=node.wallets["m1"], substrate_factory=node.factory
    )
    yield node, chain
    chain.close()
    node.substrate.ledger.close()


def told(node, chain):
    """What the chain tells of m1's keys."""
    return chain.view().by_hotkey(node.hotkey("m1")).tls_commitment


def test_the_agent_commits_its_keys(on_chain, tls):
    """Once; validators see them with the miner, and know its other neighbours to have none. A door without TLS takes them back."""

    node, chain = on_chain
    hotkey, pinning = node.hotkey("m1"), Pinning(tls)
    pinning.follow(chain, hotkey, told(node, chain))
    pinning.follow(chain, hotkey, told(node, chain))

    assert told(node, chain) == tls.commitment == chain.commitment(hotkey)
    assert chain.view().by_hotkey(node.hotkey("m2")).tls_commitment == ""
    assert node.extrinsics_of("m1") == 1
    Pinning(None).follow(chain, hotkey, told(node, chain))
    Pinning(None).follow(chain, hotkey, told(node, chain))
    assert (told(node, chain), node.extrinsics_of("m1")) == (NONE, 2)


def test_what_else_is_committed_stays(on_chain, tls, caplog):
    """It is told, and nothing is sent, until the miner wants it replaced; validators ask by plain HTTP until then."""

    node, chain = on_chain
    hotkey = node.hotkey("m1")
    chain.commit("my model: https://example.org")
    pinning = Pinning(tls)
    for _ in range(3):
        pinning.follow(chain, hotkey, told(node, chain))

    assert caplog.text.count("my model: https://example.org") == 1
    assert "--replace" in caplog.text
    assert (told(node, chain), node.extrinsics_of("m1")) == ("", 1)
    Pinning(None).follow(chain, hotkey, "")
    assert chain.commitment(hotkey) == "my model: https://example.org"
    Pinning(tls, may_replace=True).follow(chain, hotkey, told(node, chain))
    assert chain.commitment(hotkey) == tls.commitment


def test_what_stands_beside_the_keys_stays_too(on_chain, tls):
    """Another tool's field in the same commitment is not dropped when the keys change."""

    node, chain = on_chain
    ours = commitment_of([OTHER_PIN]).encode().hex()
    info = {"fields": [{f"Raw{len(ours) // 2}": f"0x{ours}"}, {"Raw5": "0x" + b"hello".hex()}]}
    call = bt.calls.Commitments.set_commitment(netuid=51, info=info)
    policy = bt.Policy(allow_raw_calls=True)
    signer = node.wallets["m1"].hotkey
    assert chain._call(
        lambda client: client.submit_call(call, signer, signer="hotkey", policy=policy)
    ).success

    Pinning(tls).follow(chain, node.hotkey("m1"), told(node, chain))
    assert told(node, chain) == commitment_of([OTHER_PIN])


def test_a_refused_commitment_is_tried_again_later(tls):
    """Not each minute: it costs its fee each time."""

    now, tries = [0.0], []

    class Refuses:
        def commitment(self, _hotkey):
            return None

        def commit(self, text):
            tries.append((now[0], text))
            raise ChainRefused("SpaceLimitExceeded", "")

    pinning = Pinning(tls, now_s=lambda: now[0])
    for minute in range(32):
        now[0] = 60.0 * minute
        with contextlib.suppress(ChainRefused):
            pinning.follow(Refuses(), "5Miner", "")

    assert tries == [(0.0, tls.commitment), (float(AGAIN_S), tls.commitment)]
    assert json.loads((tls._folder / LIST).read_text())[0]["known_s"] is None
