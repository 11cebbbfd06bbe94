"""Asking miners over real HTTP on loopback: honest doors, and every way a hostile one may answer."""

import asyncio
import base64
import contextlib
import gzip
import json
import time
import tracemalloc
from datetime import UTC, datetime

import pytest
from bittensor import sp_core
from pydantic import ValidationError

from deployments.miner.agent import build_app
from deployments.miner.keys import read_authorized
from deployments.miner.listening import serve
from storage.records import Executor, Neuron, OfferTerms, Severity
from tasks.edges import peers, wire
from tasks.edges.nonces import NonceStore
from tasks.edges.peers import Peers, PeerSettings, is_allowed
from tasks.edges.shell import EpochKey
from tasks.edges.signing import Asked, check_evidence, sign_answer
from tasks.offering.config import MinerConfig, MinerExecutor
from tests.tasks.edges.certified import certificate_of

VALIDATOR = sp_core.Keypair.create_from_uri("//Validator")
MINER = sp_core.Keypair.create_from_uri("//Miner")
OTHER = sp_core.Keypair.create_from_uri("//Other")
BLOB = b"\x00\x00\x00\x0bssh-ed25519\x00\x00\x00\x20" + bytes(range(32))
HOST_KEY = base64.b64encode(BLOB).decode()
KEY_LINE = "ssh-ed25519 " + HOST_KEY
SETTINGS = PeerSettings(deadline_s=5.0, allow_private=True)
OFFER = {
    "executor_id": "box-1",
    "address": "127.0.0.2",
    "port": 2201,
    "user": "subnet",
    "python": "/usr/bin/python3",
    "host_key": HOST_KEY,
    "price_usd_per_hour": 1.5,
}


def neuron(endpoint, hotkey=MINER.ss58_address):
    return Neuron(
        uid=5,
        hotkey=hotkey,
        coldkey=hotkey,
        endpoint=endpoint,
        is_active=True,
        has_permit=False,
        stake_rao=0,
        last_update_block=0,
        registered_at_block=9,
        incentive=0.0,
        dividends=0.0,
        collateral_locked_rao=None,
    )


async def ask(endpoint, settings=SETTINGS, hotkey=MINER.ss58_address):
    async with Peers(VALIDATOR, settings) as opened:
        return await opened.ask(neuron(endpoint, hotkey), 7, KEY_LINE, int(time.time()) + 300)


def seen(reply):
    """The one reason of a reply without executors."""
    assert reply.executors == ()
    [reason] = reply.reasons
    assert reason.got
    assert reason.wanted
    assert reason.mend
    return reason.code, reason.severity.value


@contextlib.asynccontextmanager
async def hostile(behave):
    """A server that reads a whole request and then does what `behave(request head, body, writer)` does."""
    calls = []

    async def handle(reader, writer):
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            fields = {
                k.lower(): v for k, _, v in (x.partition(": ") for x in head.decode().split("\r\n")[1:])
            }
            body = await reader.readexactly(int(fields["content-length"]))
            calls.append(fields)
            await behave(fields, body, writer)
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], calls
    finally:
        server.close()


def at_hostile(behave, settings=SETTINGS):
    """The reply of a hostile miner, and how many requests it saw."""

    async def run():
        async with hostile(behave) as (port, calls):
            return await ask(f"127.0.0.1:{port}", settings), len(calls)

    return asyncio.run(run())


def answering(body, *, status=200, signer=MINER, head=(), sent=None, sign_status=None, nonce_shift=0):
    """A behaviour: this body, signed unless there is no signer; `sent` goes out in its place."""

    async def behave(fields, request_body, writer):
        asked = Asked(
            "POST",
            b"/v1/executors",
            request_body,
            int(fields["x-bittensor-nonce"]) + nonce_shift,
            fields["x-bittensor-hotkey"],
            signer.ss58_address if signer else "",
        )
        lines = [f"HTTP/1.1 {status} X", *head]
        if signer:
            signed = sign_answer(signer, asked=asked, status=sign_status or status, body=body)
            lines += [f"{k}: {v}" for k, v in signed.items()]
        out = body if sent is None else sent
        writer.write("\r\n".join([*lines, f"Content-Length: {len(out)}", "", ""]).encode() + out)
        await writer.drain()

    return behave


def answer(*offers, **more):
    return json.dumps({"executors": list(offers), **more}).encode()


def test_an_honest_miner_is_understood(tmp_path):
    """From a real agent the executors come as records, the key is let in, and the evidence convinces anybody."""

    executor = MinerExecutor(wire.Offer.model_validate(OFFER), tmp_path / "keys")
    store = NonceStore(tmp_path / "nonces.sqlite")
    app = build_app(MinerConfig((executor,)), MINER, lambda _: True, store)

    async def run():
        async with serve(app, "127.0.0.1", 0) as port:
            return await ask(f"127.0.0.1:{port}")

    reply = asyncio.run(run())

    assert (reply.hotkey, reply.uid, reply.reasons) == (MINER.ss58_address, 5, ())
    assert reply.executors == (
        Executor(
            executor_id="box-1",
            miner_hotkey=MINER.ss58_address,
            miner_uid=5,
            miner_registered_at_block=9,
            address="127.0.0.2",
            port=2201,
            user="subnet",
            python="/usr/bin/python3",
            host_key=BLOB,
            price_usd_per_hour=1.5,
        ),
    )
    assert read_authorized(tmp_path / "keys", datetime.now(UTC)) == [BLOB]
    assert json.loads(check_evidence(reply.evidence, hotkey=MINER.ss58_address))["executors"] == [OFFER]


def test_what_a_miner_wants_of_leases_is_understood():
    """A pause and the fewest cards come as terms of their machine; a machine of which nothing is said has none."""

    paused = OFFER | {"executor_id": "box-2", "paused_from": 1_790_000_000, "min_cards": 2}
    reply, _ = at_hostile(answering(answer(OFFER, paused)))

    begin = datetime.fromtimestamp(1_790_000_000, UTC)
    assert [executor.executor_id for executor in reply.executors] == ["box-1", "box-2"]
    assert reply.terms == (OfferTerms(f"{MINER.ss58_address}/box-2", begin, 2),)


def test_a_refusal_is_told(tmp_path):
    """A miner that does not admit us costs its own place, and its code is passed on."""

    app = build_app(MinerConfig(()), MINER, lambda _: "no permit", NonceStore(tmp_path / "n.sqlite"))

    async def run():
        async with serve(app, "127.0.0.1", 0) as port:
            return await ask(f"127.0.0.1:{port}")

    reply = asyncio.run(run())

    assert seen(reply) == ("MINER_REFUSED", "no_verdict")
    assert reply.reasons[0].got == "status 403 NOT_ADMITTED no permit"


def test_executors_that_are_not_ready_are_warned_of(tmp_path):
    """An executor that could not let the key in is a reason beside the others' records."""

    body = answer(OFFER, failed=[{"executor_id": "box-2", "error": "KEYS_FILE"}])
    reply, _ = at_hostile(answering(body))

    assert [e.executor_id for e in reply.executors] == ["box-1"]
    assert [(r.code, r.got) for r in reply.reasons] == [("EXECUTOR_NOT_READY", "box-2: KEYS_FILE")]


@pytest.mark.parametrize(
    "behaviour",
    [
        {"signer": None},
        {"signer": OTHER},
        {"sent": answer(OFFER)},
        {"sign_status": 201},
        {"nonce_shift": 1},
        {"head": [f"X-Bittensor-Hotkey: {MINER.ss58_address}"]},
    ],
    ids=[
        "unsigned",
        "another's",
        "body exchanged",
        "status exchanged",
        "nonce exchanged",
        "duplicate header",
    ],
)
def test_signatures_are_required(behaviour):
    """An answer counts only with the asked hotkey's signature over exactly this answer to this request."""

    reply, calls = at_hostile(answering(answer(), **behaviour))

    assert (seen(reply), calls) == (("MINER_BAD_SIGNATURE", "fail"), 1)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 200_000,
        b'{"executors":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"executors":' + b"9" * 100_000 + b"}",
        b'{"executors":[' + b",".join([b"1"] * 100_000) + b"]}",
        b'{"executors":[],' + b",".join(b'"k%d":0' % n for n in range(20_000)) + b"}",
        b'{"executors":[{' + b",".join(b'"k%d":[%b0]' % (n, b"0," * 240) for n in range(990)) + b"}]}",
        answer(*[{**OFFER, "executor_id": f"box-{n}", "port": 1000 + n} for n in range(257)]),
        answer(OFFER, OFFER),
        answer(OFFER, failed=[{"executor_id": "box-1", "error": "X"}]),
        answer(colour=1),
    ],
    ids=lambda body: body[:24].decode("latin-1") + f" {len(body)}",
)
def test_answers_have_one_form(body):
    """A signed answer that does not fit is refused as a whole, within its cost, and kept as evidence."""

    started = time.thread_time()
    reply, calls = at_hostile(answering(body))

    assert (seen(reply), calls) == (("MINER_BAD_ANSWER", "fail"), 1)
    assert check_evidence(reply.evidence, hotkey=MINER.ss58_address) == body
    assert time.thread_time() - started < 2.0


@pytest.mark.parametrize("shape", ["unknown keys", "lists that nobody asked for"])
def test_what_is_not_known_costs_next_to_nothing(shape):
    """An answer of half a megabyte full of what nobody asked for is refused for less than 0.1 s of CPU and 20 MB."""

    keys = b",".join(b'"%x":0' % n for n in range(52_000))
    lists = b",".join(b'"k%d":[%b0]' % (n, b"0," * 240) for n in range(990))
    body = {"unknown keys": b"{%b}" % keys, "lists that nobody asked for": b'{"executors":[{%b}]}' % lists}[
        shape
    ]
    assert 400_000 < len(body) < wire.MAX_ANSWER_BYTES

    began = time.process_time()
    reply = peers._read_answer(neuron("127.0.0.1:1"), body, b"", BLOB, allow_private=True)
    took_s = time.process_time() - began
    tracemalloc.start()
    peers._read_answer(neuron("127.0.0.1:1"), body, b"", BLOB, allow_private=True)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert seen(reply) == ("MINER_BAD_ANSWER", "fail")
    assert took_s < 0.1
    assert peak_bytes < 20 << 20


def test_the_longest_honest_answer_is_read():
    """256 executors with every field, at addresses that are written in full, and sixteen swaps are no misfit."""

    offers = [
        OFFER
        | {
            "executor_id": f"{'x' * 60}-{n:03}",
            "address": f"2a00:1111:2222:3333:4444:5555:6666:{0x7000 + n:x}",
            "paused_from": 1_790_000_000,
            "min_cards": 2,
        }
        for n in range(256)
    ]
    swap = "subnet/statement/1\nsr25519\nswap/1\n" + ("GPU-" + "0" * 60 + ",") * 32
    body = answer(*offers, swaps=[swap] * 16)

    reply = peers._read_answer(neuron("127.0.0.1:1"), body, b"", BLOB, allow_private=False)

    assert (len(reply.executors), reply.reasons) == (256, ())


def test_the_first_misfit_of_a_list_ends_it():
    """A list of a hundred thousand misfits costs one error, not as many."""

    with pytest.raises(ValidationError) as caught:
        wire.ExecutorsAnswer.model_validate_json(b'{"executors":[' + b",".join([b"1"] * 100_000) + b"]}")

    assert caught.value.error_count() == 1


@pytest.mark.parametrize(
    "changed",
    [
        {"executor_id": "Box"},
        {"executor_id": ""},
        {"executor_id": "a" * 65},
        {"executor_id": "box\n"},
        {"address": "miner.example"},
        {"address": "127.0.0.1\n"},
        {"address": "0x7f000001"},
        {"address": "127.1"},
        {"address": "fe80::1%eth0"},
        {"address": "0.0.0.0"},
        {"address": "224.0.0.1"},
        {"address": 2130706433},
        {"port": 0},
        {"port": 65_536},
        {"port": "22"},
        {"port": 22.0},
        {"port": True},
        {"user": "root; id"},
        {"user": "-oProxyCommand=x"},
        {"user": "Root"},
        {"python": "python3"},
        {"python": "/usr/bin/python3 -c x"},
        {"python": "/" + "a" * 201},
        {"python": "/usr/bin/python3\n"},
        {"host_key": HOST_KEY[:-4]},
        {"host_key": HOST_KEY + "AAAA"},
        {"host_key": base64.b64encode(bytes(51)).decode()},
        {"host_key": base64.b64encode(BLOB[:50] + b"\x00\x00").decode()},
        {"host_key": "!" * 68},
        {"price_usd_per_hour": -0.1},
        {"price_usd_per_hour": 1000.1},
        {"price_usd_per_hour": float("nan")},
        {"price_usd_per_hour": float("inf")},
        {"price_usd_per_hour": "1"},
        {"colour": "red"},
    ],
    ids=str,
)
def test_each_field_has_one_form(changed):
    """Every field of an executor is checked: literal addresses, bounded names, an exact host key, a finite price."""

    reply, _ = at_hostile(answering(answer({**OFFER, **changed})))

    assert seen(reply) == ("MINER_BAD_ANSWER", "fail")


def test_addresses_become_canonical():
    """One address has one text, so that nobody announces a place twice by spelling it differently."""

    offers = [
        {**OFFER, "executor_id": "a", "address": "::ffff:127.0.0.2"},
        {**OFFER, "executor_id": "b", "address": "0:0:0:0:0:0:0:1"},
    ]
    reply, _ = at_hostile(answering(answer(*offers)))

    assert [e.address for e in reply.executors] == ["127.0.0.2", "::1"]


@pytest.mark.parametrize(
    ("address", "is_public"),
    [
        ("1.1.1.1", True),
        ("2606:4700::1111", True),
        ("127.0.0.1", False),
        ("10.0.0.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("::1", False),
        ("::ffff:10.0.0.1", False),
        ("fc00::1", False),
        ("0.0.0.0", False),
        ("239.1.1.1", False),
        ("255.255.255.255", False),
    ],
)
def test_only_public_addresses_are_reached(address, is_public):
    """On a real network a miner cannot aim us at loopback, our own network or a metadata service."""

    assert is_allowed(address, allow_private=False) is is_public


@pytest.mark.parametrize(
    "endpoint", ["miner.example:80", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:x", "1.1.1.1:99999", ""]
)
def test_odd_endpoints_are_not_asked(endpoint):
    """An announced endpoint that is no literal address and port is the miner's mistake."""

    assert seen(asyncio.run(ask(endpoint))) == ("MINER_BAD_ANSWER", "fail")


def test_private_endpoints_are_not_asked():
    """Under the settings of a real network an endpoint on loopback is never connected to."""

    async def run():
        async with hostile(answering(answer())) as (port, calls):
            return await ask(f"127.0.0.1:{port}", PeerSettings()), calls

    reply, calls = asyncio.run(run())
    assert (seen(reply), calls) == (("MINER_BAD_ANSWER", "fail"), [])


def test_weak_hotkeys_are_not_asked():
    """A registered hotkey that anybody can sign for proves nothing: it is not even asked."""

    weak = sp_core.ss58_encode(bytes(32), 42)

    assert seen(asyncio.run(ask("127.0.0.1:9", hotkey=weak))) == ("MINER_BAD_SIGNATURE", "fail")


# --- hostile transports ----------------------------------------------------------------------------


async def hang(fields, body, writer):
    await asyncio.sleep(30)


async def drip(fields, body, writer):
    for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b" " * 1000:
        writer.write(bytes([byte]))
        await asyncio.sleep(0.02)


async def endless_body(fields, body, writer):
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"4000\r\n" + b" " * 0x4000 + b"\r\n")
        await writer.drain()


async def tiny_chunks(fields, body, writer):
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"1;" + b"x" * 1000 + b"\r\n \r\n")
        await writer.drain()


async def endless_interim(fields, body, writer):
    while True:
        writer.write(b"HTTP/1.1 102 Processing\r\n\r\n" * 500)
        await writer.drain()


async def endless_header(fields, body, writer):
    writer.write(b"HTTP/1.1 200 OK\r\nX-A: ")
    while True:
        writer.write(b"a" * 4096)
        await writer.drain()


async def hang_up(fields, body, writer):
    writer.close()


async def half(fields, body, writer):
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")


async def no_http(fields, body, writer):
    writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")


async def garbage(fields, body, writer):
    writer.write(bytes(range(256)) * 10 + b"\r\n\r\n")


async def bad_headers(fields, body, writer):
    writer.write(b"HTTP/1.1 200 \xff\xfe\r\nX-\xe9: \xff\r\nContent-Length: -5\r\n\r\n")


QUICK = PeerSettings(deadline_s=0.5, allow_private=True)


@pytest.mark.parametrize(
    ("behave", "settings", "code", "calls"),
    [
        (hang, QUICK, "MINER_TIMEOUT", 1),
        (drip, QUICK, "MINER_TIMEOUT", 1),
        (endless_body, SETTINGS, "MINER_TOO_LARGE", 1),
        (tiny_chunks, SETTINGS, "MINER_TOO_LARGE", 1),
        (endless_interim, SETTINGS, "MINER_TOO_LARGE", 1),
        (hang_up, SETTINGS, "MINER_UNREACHABLE", 2),
        (half, SETTINGS, "MINER_UNREACHABLE", 2),
        (no_http, SETTINGS, "MINER_UNREACHABLE", 2),
        (garbage, SETTINGS, "MINER_UNREACHABLE", 2),
        (bad_headers, SETTINGS, "MINER_UNREACHABLE", 2),
        (endless_header, SETTINGS, "MINER_UNREACHABLE", 2),
    ],
)
def test_hostile_transports_cost_one_bounded_wait(behave, settings, code, calls):
    """Whatever a connection does ends in a reason within the deadline; only a broken transport is tried twice."""

    started = time.monotonic()
    reply, seen_calls = at_hostile(behave, settings)

    assert (seen(reply)[0], seen_calls) == (code, calls)
    assert time.monotonic() - started < settings.deadline_s + 1.5


def test_nobody_there_is_no_verdict():
    """A closed port says nothing about the machines: no verdict, after two tries."""

    reply = asyncio.run(ask("127.0.0.1:1"))

    assert (seen(reply), reply.reasons[0].severity) == (
        ("MINER_UNREACHABLE", "no_verdict"),
        Severity.NO_VERDICT,
    )


def test_a_second_try_has_its_own_nonce():
    """A transport error is tried once more, with a fresh nonce, and may succeed."""

    async def run():
        nonces = []

        async def fail_first(fields, body, writer):
            nonces.append(fields["x-bittensor-nonce"])
            await (hang_up if len(nonces) == 1 else answering(answer(OFFER)))(fields, body, writer)

        async with hostile(fail_first) as (port, _):
            return await ask(f"127.0.0.1:{port}"), nonces

    reply, nonces = asyncio.run(run())

    assert ([e.executor_id for e in reply.executors], len(set(nonces))) == (["box-1"], 2)


def test_redirects_are_not_followed():
    """A redirect is a refusal: the place it names is never asked."""

    async def run():
        async with hostile(answering(answer(OFFER))) as (goal, goal_calls):
            to_goal = answering(b"", status=307, head=[f"Location: http://127.0.0.1:{goal}/v1/executors"])
            async with hostile(to_goal) as (port, _):
                return await ask(f"127.0.0.1:{port}"), goal_calls

    reply, goal_calls = asyncio.run(run())

    assert (seen(reply), goal_calls) == (("MINER_REFUSED", "no_verdict"), [])


def test_a_gzip_bomb_is_not_opened():
    """A compressed answer is refused at its header, though its signature is true."""

    bomb = gzip.compress(bytes(10**8))
    reply, _ = at_hostile(answering(bomb, head=["Content-Encoding: gzip"]))

    assert seen(reply) == ("MINER_BAD_ANSWER", "fail")
    assert "compressed" in reply.reasons[0].got


def test_long_refusals_are_cut():
    """What a refusing miner says is bounded and printable before anybody sees it."""

    odd = json.dumps({"error": "\x1b[2J" + "x" * 900}).encode()
    short, _ = at_hostile(answering(odd, status=403))
    long, _ = at_hostile(answering(b"x" * 100_000, status=500))

    assert short.reasons[0].got == "status 403 ?[2J" + "x" * 196 + "..."
    assert seen(long) == ("MINER_TOO_LARGE", "fail")


def test_proxies_of_the_environment_are_not_used(monkeypatch):
    """Requests go straight to the miner, whatever the environment's proxy settings say."""

    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    reply, calls = at_hostile(answering(answer(OFFER)))

    assert (len(reply.executors), calls) == (1, 1)


def test_a_certificate_comes_beside_its_executor():
    """What a miner signed for our key comes back by the executor's id; an executor without one has none."""

    line = certificate_of(KEY_LINE)
    second = {**OFFER, "executor_id": "box-2", "port": 2202}
    reply, _ = at_hostile(answering(answer({**OFFER, "certificate": line}, second)))

    assert (reply.certificates, len(reply.executors)) == ((("box-1", line),), 2)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "ssh-ed25519 " + HOST_KEY,
        certificate_of(EpochKey.generate().public_line),
        certificate_of(KEY_LINE) + " comment",
        certificate_of(KEY_LINE) + "\n",
        certificate_of(KEY_LINE).replace("ssh-ed25519-cert", "ssh-rsa-cert"),
        certificate_of(KEY_LINE)[:60],
        "ssh-ed25519-cert-v01@openssh.com " + "A" * 2_000,
        "ssh-ed25519-cert-v01@openssh.com " + "A" * 4_000,
        "ssh-ed25519-cert-v01@openssh.com " + base64.b64encode(b"\xff\xff\xff\xff" + bytes(300)).decode(),
        "/etc/ssh/ssh_host_ed25519_key-cert.pub",
    ],
    ids=[
        "empty",
        "a key",
        "another key's",
        "comment",
        "line end",
        "rsa",
        "cut",
        "zeros",
        "long",
        "lengths",
        "path",
    ],
)
def test_a_certificate_is_ours_or_none(line):
    """A certificate of another form, or of another key than the one handed over, is a bad answer and is not used."""

    reply, _ = at_hostile(answering(answer({**OFFER, "certificate": line})))

    assert seen(reply) == ("MINER_BAD_ANSWER", "fail")
    assert reply.certificates == ()


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ({"error": "BAD_REQUEST", "detail": "purpose: Extra inputs are not permitted"}, "RENT_GRANT_UNKNOWN"),
        ({"error": "BAD_REQUEST", "detail": "epoch: Field required"}, "MINER_REFUSED"),
        ({"error": "PAUSED", "detail": "lease l-1: box-1 takes no new lease"}, "MINER_REFUSED"),
    ],
)
def test_why_a_lease_gets_no_key(said, code):
    """An agent of an older version is told from one that refuses: each with the agent's own words."""

    async def run():
        behave = answering(json.dumps(said).encode(), status=400)
        async with hostile(behave) as (port, _), Peers(VALIDATOR, SETTINGS) as peers:
            key = (7, KEY_LINE, int(time.time()) + 300, ("box-1",))
            return await peers.ask(neuron(f"127.0.0.1:{port}"), *key, lease_id="l-1")

    reply = asyncio.run(run())
    assert seen(reply) == (code, "no_verdict")
    assert said["detail"] in reply.reasons[0].got


def test_only_a_request_for_a_lease_says_so():
    """Who validates asks as ever, so that older agents understand it; a lease is of one machine, with a name of plain letters."""

    plain = {"epoch": 7, "public_key": KEY_LINE, "expires_at": 1, "executor_ids": ("a",)}
    rent = plain | {"purpose": "rent", "lease_id": "lease-1"}

    assert set(wire.KeyRequest(**plain).model_dump()) == set(plain)
    assert wire.KeyRequest(**rent).model_dump() == rent
    for changed in (
        {"lease_id": None},
        {"purpose": "validate"},
        {"executor_ids": None},
        {"executor_ids": ("a", "b")},
        {"lease_id": 'l" id'},
        {"lease_id": "l" * 65},
        {"purpose": "root"},
    ):
        with pytest.raises(ValidationError):
            wire.KeyRequest(**(rent | changed))
