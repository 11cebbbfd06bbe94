"""Asking sources of prices over real HTTP on loopback: honest ones, and every way a hostile one may answer."""

import asyncio
import datetime as dt
import gzip
import json
import ssl
import time
from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from storage.records import TAO_USD, TOKEN, Quote
from tasks.edges.prices import HttpMarket, MarketSettings
from tasks.errors import SettingError
from tasks.pricing.sources import SOURCES
from tests.tasks.pricing.markets import TAO, market, saying

NOON = dt.datetime(2026, 8, 1, 12, tzinfo=dt.UTC)
SETTINGS = MarketSettings(deadline_s=0.4, connect_s=0.3, max_answer_bytes=64 * 1024)


def ask(settings=SETTINGS, **behaviours):
    """The answers of sources that behave so, by name."""

    async def run():
        async with market(**behaviours) as (sources, _):
            return await HttpMarket(sources, settings).ask(list(behaviours), NOON)

    return {answer.source: answer for answer in asyncio.run(run())}


def test_sources_are_asked_side_by_side():
    """Each answer has its source, its time and its quotes; one that is silent costs itself alone, and no more than its deadline."""

    async def silent(writer):
        await asyncio.sleep(5)

    began = time.monotonic()
    told = ask(kraken=saying(TAO["kraken"](302.1)), coinbase=silent)

    assert time.monotonic() - began < 4
    assert told["kraken"].quotes == (Quote(TOKEN, TAO_USD, 302.1, "kraken", NOON),)
    assert (told["kraken"].fault, told["kraken"].asked_at) == ("", NOON)
    assert told["coinbase"].quotes == ()
    assert "in time" in told["coinbase"].fault or "within 0.4 s" in told["coinbase"].fault


def test_a_list_is_asked_by_post():
    """RunPod's question is a document; all others are plain addresses."""

    async def run():
        body = saying({"data": {"gpuTypes": [{"id": "NVIDIA L4", "communityPrice": 0.3}]}})
        async with market(runpod=body, kraken=saying(TAO["kraken"](302.1))) as (sources, requests):
            answers = await HttpMarket(sources, SETTINGS).ask(["runpod", "kraken"], NOON)
            return {answer.source: answer.fault for answer in answers}, dict(requests)

    faults, requests = asyncio.run(run())
    assert faults == {"runpod": "", "kraken": ""}
    assert requests == {"runpod": "POST /price HTTP/1.1", "kraken": "GET /price HTTP/1.1"}


async def _endless(writer):
    writer.write(b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"1000\r\n" + b" " * 4096 + b"\r\n")
        await writer.drain()


async def _endless_head(writer):
    writer.write(b"HTTP/1.1 200 X\r\n")
    while True:
        writer.write(b"X-A: " + b"a" * 1000 + b"\r\n")
        await writer.drain()


async def _interim(writer):
    while True:
        writer.write(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        await writer.drain()


async def _drip(writer):
    writer.write(b"HTTP/1.1 200 X\r\nContent-Length: 1000\r\n\r\n")
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.05)


async def _cut(writer):
    writer.write(b'HTTP/1.1 200 X\r\nContent-Length: 1000\r\n\r\n{"error": []')


PACKED = gzip.compress(json.dumps(TAO["kraken"](302.1)).encode())


@pytest.mark.parametrize(
    ("behave", "fault"),
    [
        (saying(b"", status=302, head=["Location: http://127.0.0.1:1/"]), "status 302, wanted 200"),
        (saying(b"{}", status=429), "status 429, wanted 200"),
        (saying(b"<html>"), "Invalid JSON"),
        (saying(PACKED, head=["Content-Encoding: gzip"]), "compressed"),
        (saying(b"\x00" * 1000), "Invalid JSON"),
        (saying({"error": ["\x1b[31mred\n"], "result": {}}), "an error of the exchange"),
        (_endless, "over its limit"),
        (_endless_head, ""),
        (_interim, "over its limit"),
        (_drip, "within 0.4 s"),
        (_cut, "RemoteProtocolError"),
    ],
)
def test_a_hostile_answer_is_a_fault(behave, fault):
    """Redirects, errors, pages, compression, endless bytes, drops, drips: a fault in printable words, and no quote."""

    patient = replace(SETTINGS, deadline_s=8.0, connect_s=8.0)
    [answer] = ask(SETTINGS if behave is _drip else patient, kraken=behave).values()

    assert answer.quotes == ()
    assert answer.fault
    assert fault in answer.fault
    assert answer.fault.isprintable()
    assert len(answer.fault) < 300


def test_nobody_there_is_a_fault():
    """A closed port is told at once."""

    source = replace(SOURCES["kraken"], url="http://127.0.0.1:1/")
    [answer] = asyncio.run(HttpMarket([source], SETTINGS).ask(["kraken"], NOON))

    assert "ConnectError" in answer.fault


@pytest.mark.parametrize(
    "url", ["http://example.org/", "http://10.0.0.1/", "ftp://127.0.0.1/", "https:///", "x"]
)
def test_an_address_without_tls_is_refused(url):
    """Plain HTTP is for loopback alone: whoever sits between could name any price."""

    with pytest.raises(SettingError, match="an https address"):
        HttpMarket([replace(SOURCES["kraken"], url=url)])


def certificate(folder):
    """A server's TLS context for localhost with a certificate of its own, and the file that trusts it."""
    key, name = (
        ec.generate_private_key(ec.SECP256R1()),
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")]),
    )
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now - dt.timedelta(1), now + dt.timedelta(1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pem.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pem)
    return server, pem


def test_over_tls_the_same_bounds_hold(tmp_path):
    """A trusted server is understood, a stranger's certificate is a fault, and the budget counts what is inside."""
    server, pem = certificate(tmp_path)
    trusting = ssl.create_default_context(cafile=pem)

    def over_tls(behave, tls):
        async def run():
            async with market(tls=server, kraken=behave) as (sources, _):
                settings = replace(SETTINGS, tls=tls, deadline_s=3.0, connect_s=3.0)
                return await HttpMarket(sources, settings).ask(["kraken"], NOON)

        return asyncio.run(run())[0]

    good = over_tls(saying(TAO["kraken"](302.1)), trusting)
    assert (good.fault, [q.value for q in good.quotes]) == ("", [302.1])
    assert "CERTIFICATE_VERIFY_FAILED" in over_tls(saying(TAO["kraken"](302.1)), None).fault
    assert "over its limit" in over_tls(_endless, trusting).fault
