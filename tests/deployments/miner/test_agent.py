"""The miner's door, over real HTTP on loopback: who gets in, who does not, and what hostile clients cost."""

import asyncio
import base64
import json
import os
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from bittensor import sp_core

from deployments.miner.admission import Admission, refusal
from deployments.miner.agent import build_app
from deployments.miner.bounds import Bounds, Throttle, network_of
from deployments.miner.keys import read_authorized
from deployments.miner.listening import serve
from storage.records import Head, Neuron, SubnetView
from tasks.edges import wire
from tasks.edges.nonces import NonceStore
from tasks.edges.signing import Asked, check_answer, sign_request
from tasks.errors import SettingError
from tasks.offering.config import MinerConfig, MinerExecutor
from tasks.onboarding.agent import EVERYWHERE

ROOT = Path(__file__).resolve().parents[3]
VALIDATOR = sp_core.Keypair.create_from_uri("//Validator")
STRANGER = sp_core.Keypair.create_from_uri("//Stranger")
MINER = sp_core.Keypair.create_from_uri("//Miner")


def blob(number):
    return base64.b64encode(b"\x00\x00\x00\x0bssh-ed25519\x00\x00\x00\x20" + bytes([number]) * 32).decode()


KEY = "ssh-ed25519 " + blob(7)
KEY_BLOB = base64.b64decode(blob(7))


def offer(number):
    return wire.Offer(
        executor_id=f"box-{number}",
        address="127.0.0.2",
        port=2200 + number,
        user="subnet",
        python="/usr/bin/python3",
        host_key=blob(number),
        price_usd_per_hour=1.5,
    )


def make_door(folder, *, may_enter=lambda hotkey: hotkey == VALIDATOR.ss58_address, count=2, bounds=None):
    executors = tuple(
        MinerExecutor(offer(n), folder / f"home-{n}" / "authorized_keys") for n in range(1, count + 1)
    )
    config = MinerConfig(executors, max_grant_s=600)
    return build_app(config, MINER, may_enter, NonceStore(folder / "nonces.sqlite"), bounds=bounds)


def request(signer=VALIDATOR, *, body=None, nonce_ns=None, expires_in_s=300, **changed):
    expires_at = int(time.time()) + expires_in_s
    fields = {"epoch": 7, "public_key": KEY, "expires_at": expires_at, "executor_ids": None, **changed}
    raw_body = json.dumps(fields).encode() if body is None else body
    nonce_ns = time.time_ns() if nonce_ns is None else nonce_ns
    return Asked("POST", b"/v1/executors", raw_body, nonce_ns, signer.ss58_address, MINER.ss58_address)


def raw_request(asked, signer=VALIDATOR, *, target="/v1/executors", method="POST", extra=(), length=None):
    lines = [f"{method} {target} HTTP/1.1", "Host: x", *extra]
    lines += [f"{name}: {value}" for name, value in sign_request(signer, asked=asked).items()]
    lines.append(f"Content-Length: {len(asked.body) if length is None else length}")
    return "\r\n".join([*lines, "", ""]).encode() + asked.body


async def talk(port, data, *, until_s=5.0):
    """Send bytes, read all that comes back: (status, headers, body); status 0 when nothing came."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        async with asyncio.timeout(until_s):
            answer = await reader.read()
    except ConnectionError:
        answer = b""
    finally:
        writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    status = int(lines[0].split()[1]) if answer else 0
    return status, [tuple(line.split(b": ", 1)) for line in lines[1:]], body


def at_the_door(folder, *exchanges, **kwargs):
    """What a fresh door answers to these raw requests, one after another."""

    async def run():
        async with serve(make_door(folder, **kwargs), "127.0.0.1", 0) as port:
            return [await talk(port, data) for data in exchanges]

    return asyncio.run(run())


def code_of(answer):
    return answer[0], json.loads(answer[2])["error"]


def test_a_validator_is_let_in_everywhere(tmp_path):
    """An admitted validator's key is let in on every executor until its expiry, and all are described."""

    asked = request()
    [(status, headers, body)] = at_the_door(tmp_path, raw_request(asked))

    answer = wire.ExecutorsAnswer.model_validate_json(body)
    now = datetime.now(UTC)
    assert (status, answer.executors, answer.failed) == (200, (offer(1), offer(2)), ())
    assert [read_authorized(tmp_path / f"home-{n}" / "authorized_keys", now) for n in (1, 2)] == [
        [KEY_BLOB],
        [KEY_BLOB],
    ]
    check_answer(headers, asked=asked, status=200, body=body)


def test_only_named_executors_are_opened(tmp_path):
    """A validator that names executors gets these, once each, and the others stay shut."""

    [(status, _, body)] = at_the_door(tmp_path, raw_request(request(executor_ids=["box-2", "box-2"])))

    assert status == 200
    assert wire.ExecutorsAnswer.model_validate_json(body).executors == (offer(2),)
    assert not (tmp_path / "home-1").exists()


def test_an_unwritable_executor_costs_only_itself(tmp_path):
    """An executor whose keys file cannot be written is named as failed; the others are opened."""

    (tmp_path / "home-1").write_text("a file where a folder should be")
    [(status, _, body)] = at_the_door(tmp_path, raw_request(request()))

    answer = wire.ExecutorsAnswer.model_validate_json(body)
    assert (status, answer.executors) == (200, (offer(2),))
    assert answer.failed == (wire.NotReady(executor_id="box-1", error="KEYS_FILE"),)


@pytest.mark.parametrize(
    ("changed", "wanted"),
    [
        ({"expires_in_s": -1}, (400, "EXPIRED")),
        ({"expires_in_s": 10_000}, (400, "EXPIRY_TOO_FAR")),
        ({"expires_at": 2**60}, (400, "BAD_REQUEST")),
        ({"expires_at": 1e9}, (400, "BAD_REQUEST")),
        ({"epoch": -1}, (400, "BAD_REQUEST")),
        ({"epoch": "7"}, (400, "BAD_REQUEST")),
        ({"public_key": KEY + " me\nssh-ed25519 AAAA"}, (400, "BAD_REQUEST")),
        ({"public_key": KEY + "\n"}, (400, "BAD_REQUEST")),
        ({"public_key": "ssh-rsa " + blob(1)}, (400, "BAD_REQUEST")),
        ({"executor_ids": ["box-9"]}, (404, "UNKNOWN_EXECUTOR")),
        ({"executor_ids": ["../x"]}, (400, "BAD_REQUEST")),
        ({"executor_ids": ["a"] * 257}, (400, "BAD_REQUEST")),
        ({"colour": 1}, (400, "BAD_REQUEST")),
        ({"body": b""}, (400, "BAD_REQUEST")),
        ({"body": b"[" * 30_000}, (400, "BAD_REQUEST")),
        ({"body": b"\xff\xfe"}, (400, "BAD_REQUEST")),
    ],
    ids=lambda value: str(value)[:40],
)
def test_bad_requests_are_refused_and_signed(tmp_path, changed, wanted):
    """A proved validator's mistake is named in a signed answer, and no key is let in."""

    asked = request(**changed)
    [answer] = at_the_door(tmp_path, raw_request(asked))

    assert code_of(answer) == wanted
    check_answer(answer[1], asked=asked, status=answer[0], body=answer[2])
    assert not list(tmp_path.glob("home-*"))


def test_a_stranger_is_refused(tmp_path):
    """A true signature of somebody who is not admitted opens nothing, leaves no row and gets no signature."""

    [answer] = at_the_door(tmp_path, raw_request(request(STRANGER), STRANGER))

    assert code_of(answer) == (403, "NOT_ADMITTED")
    assert not any(name.startswith(b"x-bittensor") for name, _ in answer[1])
    assert not (tmp_path / "nonces.sqlite").exists()


def test_a_replay_is_refused(tmp_path):
    """The same bytes a second time are refused, also by a door that was started anew on the same store."""

    data = raw_request(request())
    first, second = at_the_door(tmp_path, data, data)
    [third] = at_the_door(tmp_path, data)

    assert first[0] == 200
    assert [code_of(second), code_of(third)] == [(401, "AUTH_REPLAYED")] * 2


def test_wrong_places_are_refused(tmp_path):
    """Only POST on the one path, spelled exactly so, is answered."""

    answers = at_the_door(
        tmp_path,
        raw_request(request(), target="/v1/executors?x=1"),
        raw_request(request(), target="/v1/%65xecutors"),
        raw_request(request(), target="http://x/v1/executors"),
        raw_request(request(), target="//v1/executors"),
        raw_request(request(), method="PUT"),
        raw_request(request(), method="GET"),
    )

    assert [code_of(a) for a in answers] == [(404, "NO_SUCH_PATH")] * 4 + [(405, "NO_SUCH_METHOD")] * 2


def test_auth_headers_are_strict_over_http(tmp_path):
    """The wrapper sees the headers as they came: a duplicate, a changed body and a stale nonce are refused."""

    asked = request()
    duplicate = raw_request(asked, extra=[f"x-bittensor-hotkey: {VALIDATOR.ss58_address}"])
    changed = raw_request(asked).replace(b'"epoch": 7', b'"epoch": 8')
    stale = raw_request(request(nonce_ns=time.time_ns() - 11 * 10**9))

    answers = at_the_door(
        tmp_path, duplicate, changed, stale, b"POST /v1/executors HTTP/1.1\r\nHost: x\r\n\r\n"
    )

    assert [code_of(a) for a in answers] == [
        (401, "AUTH_DUPLICATE"),
        (401, "AUTH_BAD_SIGNATURE"),
        (401, "AUTH_STALE"),
        (401, "AUTH_VERSION"),
    ]


def test_large_bodies_are_refused_unread(tmp_path):
    """A body that announces or turns out to be too large ends at the cap, a compressed one at its header."""

    chunked = raw_request(request(body=b"")).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    endless = (
        chunked + b"4000\r\n" + b" " * 0x4000 + b"\r\n" + b"4000\r\n" + b" " * 0x4000 + b"\r\n1\r\n \r\n"
    )
    answers = at_the_door(
        tmp_path,
        raw_request(request(), length=10**9),
        raw_request(request(), length=10**15),
        endless,
        raw_request(request(), extra=["Content-Encoding: gzip"]),
    )

    assert [code_of(a) for a in answers] == [(413, "TOO_LARGE")] * 3 + [(415, "ENCODED")]


def test_huge_headers_are_refused(tmp_path):
    """Headers over the cap end in 400 or a hung-up connection, not in memory."""

    [answer] = at_the_door(tmp_path, raw_request(request(), extra=["X-A: " + "a" * 100_000]))

    assert answer[0] in {0, 400} or code_of(answer) == (401, "AUTH_TOO_LONG")


def test_slow_bodies_end(tmp_path):
    """A body that drips is given up at the deadline."""

    [answer] = at_the_door(tmp_path, raw_request(request(), length=30_000), bounds=Bounds(body_s=0.1))

    assert code_of(answer) == (408, "TOO_SLOW")


@pytest.mark.parametrize(
    "opening", [b"", b"POST /v1/executors HTTP/1.1\r\nHost"], ids=["silent", "half a header"]
)
def test_silent_connections_end(tmp_path, opening):
    """A connection on which no whole request comes is closed at its deadline, which uvicorn alone never does."""

    [answer] = at_the_door(tmp_path, opening, bounds=Bounds(connection_s=0.2))

    assert answer[0] == 0


def test_one_address_cannot_take_all_connections(tmp_path):
    """Connections over the cap of one address are closed at once; those within go on."""

    async def run():
        door = make_door(tmp_path, bounds=Bounds(connections_per_address=3))
        async with serve(door, "127.0.0.1", 0) as port:
            held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
            await asyncio.sleep(0.05)
            turned_away = await talk(port, b"")
            for _, writer in held:
                writer.close()
            await asyncio.sleep(0.05)
            return turned_away[0], (await talk(port, raw_request(request())))[0]

    assert asyncio.run(run()) == (0, 200)


def test_one_address_cannot_ask_for_ever(tmp_path):
    """Requests over the rate of an address get 429 before anything of them is read."""

    answers = at_the_door(
        tmp_path, *[raw_request(request()) for _ in range(4)], bounds=Bounds(burst=2, requests_per_s=0.001)
    )

    assert [a[0] for a in answers] == [200, 200, 429, 429]


def test_one_hotkey_cannot_ask_for_ever(tmp_path):
    """A validator over its own rate gets a signed 429; what strangers and replays send in its name does not count."""

    first = raw_request(request())
    forged = [raw_request(request()).replace(b'"epoch": 7', b'"epoch": 8') for _ in range(3)]
    answers = at_the_door(
        tmp_path,
        *[first, first, *forged, raw_request(request()), raw_request(request())],
        bounds=Bounds(hotkey_burst=2, hotkey_requests_per_s=0.001),
    )

    assert [a[0] for a in answers] == [200, 401, 401, 401, 401, 200, 429]
    assert any(name == b"x-bittensor-signature" for name, _ in answers[-1][1])


def test_the_throttle_forgets(tmp_path):
    """The rate refills with time, an IPv6 /64 counts as one, and memory is bounded."""

    throttle = Throttle(1.0, 1, 10)

    assert [throttle.allows("192.0.2.1", now_s=s) for s in (0, 0.5, 1.0)] == [True, False, True]
    assert [throttle.allows(network_of(f"2001:db8::{n}"), now_s=5) for n in (1, 2)] == [True, False]
    for number in range(1000):
        throttle.allows(f"198.51.{number // 256}.{number % 256}", now_s=6)
    assert len(throttle) == 10


def test_a_forged_forward_header_is_ignored(tmp_path):
    """Who knocks is the socket's address, whatever X-Forwarded-For says."""

    answers = at_the_door(
        tmp_path,
        *[raw_request(request(), extra=[f"X-Forwarded-For: 192.0.2.{n}"]) for n in range(3)],
        bounds=Bounds(burst=2, requests_per_s=0.001),
    )

    assert [a[0] for a in answers] == [200, 200, 429]


@pytest.mark.parametrize("forgery", ["signature", "address", "nonce"])
def test_refusing_costs_under_a_millisecond(tmp_path, forgery):
    """What the app itself spends on a bad request, from its scope to its refusal, is under 1 ms of CPU."""

    door = make_door(tmp_path, bounds=Bounds(burst=10**6))
    headers = {k.lower().encode(): v.encode() for k, v in sign_request(VALIDATOR, asked=request()).items()}
    headers |= {
        "signature": {b"x-bittensor-signature": b"0x" + b"01" * 64},
        "address": {b"x-bittensor-hotkey": b"5" * 65_000},
        "nonce": {b"x-bittensor-nonce": b"1"},
    }[forgery]
    scope = {
        "type": "http",
        "method": "POST",
        "raw_path": b"/v1/executors",
        "query_string": b"",
        "headers": list(headers.items()),
        "client": ("192.0.2.1", 1),
    }

    async def receive():
        return {"type": "http.request", "body": b"{}", "more_body": False}

    statuses = []

    async def send(message):
        statuses.append(message.get("status"))

    async def run():
        spent = []
        for _ in range(50):
            started = time.thread_time()
            await door(scope, receive, send)
            spent.append(time.thread_time() - started)
        return min(spent)

    assert asyncio.run(run()) < 0.001
    assert statuses[0] == 401


def test_a_busy_store_lets_nobody_in(tmp_path):
    """A nonce store that does not answer gives 503 and opens nothing: replays are never risked."""

    (tmp_path / "nonces.sqlite").write_bytes(b"no database" * 1000)
    [answer] = at_the_door(tmp_path, raw_request(request()))

    assert code_of(answer) == (503, "STORE_AWAY")
    assert not list(tmp_path.glob("home-*"))


def test_many_doors_in_one_process(tmp_path):
    """Several miners serve on addresses of their own at one port, in one process, and each has its own hotkey."""

    async def run():
        first, second = make_door(tmp_path / "a"), make_door(tmp_path / "b")
        async with serve(first, "127.0.0.2", 0) as port, serve(second, "127.0.0.3", port) as same:
            return port == same

    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    assert asyncio.run(run())


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="IPv6 is needed")
def test_everywhere_is_ipv4_and_ipv6(tmp_path):
    """An agent that listens everywhere is reached by addresses of both kinds at one port."""

    async def run():
        async with serve(make_door(tmp_path), EVERYWHERE, 0) as port:
            for address in ("127.0.0.1", "::1"):
                _, writer = await asyncio.open_connection(address, port)
                writer.close()

    asyncio.run(run())


def test_a_taken_port_is_the_users_mistake(tmp_path):
    """A port that is in use gives one sentence, not an exit of the process."""

    async def run():
        door = make_door(tmp_path)
        async with serve(door, "127.0.0.1", 0) as port:
            with pytest.raises(SettingError, match="a free local address"):
                async with serve(door, "127.0.0.1", port):
                    pass

    asyncio.run(run())


def test_processes_behind_one_door_share_replays(tmp_path):
    """Two agent processes over one nonce store accept one request once between them."""

    command = [sys.executable, str(ROOT / "tests/deployments/miner/a_door.py"), str(tmp_path)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    doors = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env) for _ in range(2)
    ]
    try:
        ports = [int(door.stdout.readline()) for door in doors]
        data = raw_request(request())

        async def both():
            return await asyncio.gather(*(talk(port, data) for port in ports))

        answers = asyncio.run(both())
    finally:
        for door in doors:
            door.communicate(timeout=30)

    assert sorted(a[0] for a in answers) == [200, 401]


# --- admission -------------------------------------------------------------------------------------


def neuron(hotkey, **changed):
    fields = {
        "uid": 1,
        "hotkey": hotkey,
        "coldkey": hotkey,
        "endpoint": None,
        "is_active": True,
        "has_permit": True,
        "stake_rao": 5 * 10**9,
        "last_update_block": 0,
        "registered_at_block": 0,
        "incentive": 0.0,
        "dividends": 0.0,
        "collateral_locked_rao": None,
    }
    return Neuron(**{**fields, **changed})


def view(*neurons):
    head = Head(100, "0x" + "0" * 64, datetime(2026, 1, 1, tzinfo=UTC), 12.0, 360, 0, 360)
    return SubnetView(51, head, neurons, "owner", 0, 100, 1, is_commit_reveal=False)


@pytest.mark.parametrize(
    ("neurons", "allowed", "wanted"),
    [
        ((neuron("v"),), frozenset(), None),
        ((neuron("v"),), frozenset({"v"}), None),
        ((), frozenset(), "not registered on subnet 51 at block 100"),
        ((), frozenset({"v"}), "not registered on subnet 51 at block 100"),
        ((neuron("v"),), frozenset({"w"}), "not on this miner's list"),
        ((neuron("v", has_permit=False),), frozenset(), "no validator permit"),
        ((neuron("v", stake_rao=1),), frozenset(), "stake 0.000, wanted at least 5.000"),
    ],
)
def test_admission(neurons, allowed, wanted):
    """Registered, with a permit and the stake, and on the list if there is one: else the reason says which."""

    assert refusal(view(*neurons), "v", min_stake_rao=5 * 10**9, allowed=allowed) == wanted


def test_nobody_enters_before_the_subnet_is_known():
    """Without a view nobody is let in; with one its newest state counts."""

    admission = Admission(min_stake_rao=0)
    before = admission("v")
    admission.view = view(neuron("v"))

    assert (before, admission("v")) == ("the subnet is not known here yet", True)


def test_nobody_enters_by_what_was_known_long_ago():
    """A view counts for as long as it lives, by a clock that nobody can set; a new one opens the door again."""

    now = [0.0]
    known = view(neuron("5" + "a" * 47))
    admission = Admission(min_stake_rao=0, max_age_s=1_800.0, clock=lambda: now[0])
    admission.learn(known)
    assert admission("5" + "a" * 47) is True
    now[0] = 1_801.0
    assert "not answered this agent for over 30 minutes" in admission("5" + "a" * 47)
    admission.learn(known)
    assert admission("5" + "a" * 47) is True
