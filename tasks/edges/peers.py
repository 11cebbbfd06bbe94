"""Asking a miner for its executors, over signed HTTP; whatever it does costs one bounded wait and one reason.

A miner whose hotkey has committed keys for its door (`tasks/edges/pins.py`) is asked by TLS and by nothing else.
Bounds: one total deadline for both attempts, one budget of bytes for everything that a connection receives
(status lines, headers and chunk frames included), a literal address, no redirect, no compression, no proxy.
Nothing that a miner sends raises: it becomes a `MinerReply` with executors, or with reasons.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from types import TracebackType
from typing import Self

import httpx
from pydantic import ValidationError

from storage.records import Executor, MinerReply, Neuron, OfferTerms, Reason, Severity
from tasks.edges import wire
from tasks.edges.budget import budgeted_transport
from tasks.edges.pins import check_shown, pinning_context, pins_of
from tasks.edges.signing import Asked, Signer, check_answer, check_hotkey, evidence, sign_request
from tasks.errors import BadAnswer, HostileAnswer, KeyNotPinned, LimitExceeded, MinerAway, NotAuthentic

_MAX_REFUSAL_BYTES = 4096


@dataclass(frozen=True, slots=True)
class PeerSettings:
    """How long and how much a miner may answer."""

    deadline_s: float = 10.0
    """For everything with one miner, both attempts included."""
    connect_s: float = 3.0
    attempts: int = 2
    """Transport errors only."""
    max_answer_bytes: int = wire.MAX_ANSWER_BYTES
    max_overhead_bytes: int = 64 * 1024
    """Status line, headers and chunk frames, on top of the answer."""
    max_connections: int = 64
    allow_private: bool = False
    """Loopback and private addresses: for a local subnet only, or a miner could aim us at our own network."""


class Peers:
    """The client of all miners' doors; an async context."""

    def __init__(
        self,
        signer: Signer,
        settings: PeerSettings | None = None,
        *,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._signer, self._settings, self._now_ns = signer, settings or PeerSettings(), now_ns
        self._last_nonce_ns = 0
        self._tls = pinning_context()
        self._client = self._new_client(())

    def _new_client(self, pins: tuple[str, ...]) -> httpx.AsyncClient:
        """A client of all doors that speak plain HTTP, or of one whose keys these are."""
        settings = self._settings
        transport = budgeted_transport(
            budget_bytes=settings.max_answer_bytes + settings.max_overhead_bytes,
            connections=1 if pins else settings.max_connections,
            tls=self._tls if pins else None,
            check=partial(check_shown, pins=pins) if pins else None,
        )
        return httpx.AsyncClient(
            transport=transport,
            timeout=httpx.Timeout(settings.deadline_s, connect=settings.connect_s),
            follow_redirects=False,
            trust_env=False,
            headers={"accept-encoding": "identity", "user-agent": "subnet-validator"},
        )

    @property
    def signer(self) -> Signer:
        """What signs in our name."""
        return self._signer

    async def __aenter__(self) -> Self:
        """Open the client."""
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        """Close all connections."""
        await self._client.__aexit__(exc_type, exc, trace)

    async def ask(
        self,
        neuron: Neuron,
        epoch: int,
        key_line: str,
        expires_at: int,
        executor_ids: tuple[str, ...] | None = None,
        *,
        lease_id: str = "",
    ) -> MinerReply:
        """Hand over a public key and get the miner's executors, all or these; failures are reasons.

        `lease_id`: the lease of one executor that the key is for; a door that does not know leases gives RENT_GRANT_UNKNOWN.
        """
        request = wire.KeyRequest(
            epoch=epoch,
            public_key=key_line,
            expires_at=expires_at,
            executor_ids=executor_ids,
            purpose="rent" if lease_id else "validate",
            lease_id=lease_id or None,
        )
        try:
            check_hotkey(neuron.hotkey)
            door = self._door_of(neuron)
            async with asyncio.timeout(self._settings.deadline_s):
                return await self._ask_again(neuron, door, request)
        except (TimeoutError, MinerAway, HostileAnswer) as error:
            return _failed(neuron, _why(error, self._settings.deadline_s))

    async def tell(self, neuron: Neuron, results: wire.Results) -> bool:
        """Hand a miner its results, once; whether it took them. Nothing that it does raises."""
        own, body = self._signer.ss58_address, results.model_dump_json().encode()
        asked = Asked("POST", wire.RESULTS_PATH.encode(), body, self._fresh_nonce(), own, neuron.hotkey)
        try:
            check_hotkey(neuron.hotkey)
            door = self._door_of(neuron)
            async with asyncio.timeout(self._settings.deadline_s):
                answer = await self._exchange(door, asked)
        except (TimeoutError, MinerAway, HostileAnswer):
            return False
        return answer.status == 200

    def _door_of(self, neuron: Neuron) -> _Door:
        pins = pins_of(neuron.tls_commitment)
        place = _place(neuron.endpoint or "", allow_private=self._settings.allow_private)
        return _Door(f"{'https' if pins else 'http'}://{place}", pins)

    async def _ask_again(self, neuron: Neuron, door: _Door, request: wire.KeyRequest) -> MinerReply:
        for attempt in range(1, self._settings.attempts + 1):
            try:
                return await self._ask_once(neuron, door, request)
            except MinerAway:
                if attempt == self._settings.attempts:
                    raise
        raise AssertionError("attempts is at least 1")

    async def _ask_once(self, neuron: Neuron, door: _Door, request: wire.KeyRequest) -> MinerReply:
        own, body = self._signer.ss58_address, request.model_dump_json().encode()
        asked = Asked("POST", wire.PATH.encode(), body, self._fresh_nonce(), own, neuron.hotkey)
        answer = await self._exchange(door, asked)
        if answer.status != 200:
            return _failed(neuron, _refusal(answer, is_for_lease=request.lease_id is not None))
        claim = check_answer(answer.headers, asked=asked, status=answer.status, body=answer.body)
        proof = evidence(claim, asked=asked, status=answer.status, body=answer.body)
        own_key = wire.blob_of_line(request.public_key)
        return _read_answer(neuron, answer.body, proof, own_key, allow_private=self._settings.allow_private)

    def _fresh_nonce(self) -> int:
        self._last_nonce_ns = max(self._now_ns(), self._last_nonce_ns + 1)
        return self._last_nonce_ns

    async def _exchange(self, door: _Door, asked: Asked) -> _Answer:
        headers = {"content-type": "application/json", **sign_request(self._signer, asked=asked)}
        url = door.url + asked.target.decode("ascii")
        try:
            async with (
                self._client_for(door) as client,
                client.stream("POST", url, content=asked.body, headers=headers) as response,
            ):
                return await self._read(response)
        except httpx.TimeoutException as error:
            raise MinerAway(f"no connection or answer in time ({type(error).__name__})") from None
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            if door.pins and _is_of_tls(error):
                raise KeyNotPinned(f"it does not speak TLS 1.3 ({wire.plain(str(error), 120)})") from None
            raise MinerAway(f"{type(error).__name__}: {wire.plain(str(error), 160)}") from None

    @asynccontextmanager
    async def _client_for(self, door: _Door) -> AsyncIterator[httpx.AsyncClient]:
        """The client of all, or one for this door alone: a key is checked for whom it was committed."""
        if not door.pins:
            yield self._client
            return
        async with self._new_client(door.pins) as client:
            yield client

    async def _read(self, response: httpx.Response) -> _Answer:
        if "content-encoding" in response.headers:
            raise BadAnswer("the answer is compressed, which was not asked for")
        limit = self._settings.max_answer_bytes if response.status_code == 200 else _MAX_REFUSAL_BYTES
        body = bytearray()
        async for piece in response.aiter_raw():
            body += piece
            if len(body) > limit:
                raise LimitExceeded("answer", f"{limit} bytes")
        return _Answer(response.status_code, response.headers.raw, bytes(body))


@dataclass(frozen=True, slots=True)
class _Door:
    url: str
    """Without a path."""
    pins: tuple[str, ...]


def _is_of_tls(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return True
        error = error.__cause__ or error.__context__
    return False


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


# --- understanding an answer -----------------------------------------------------------------------

_MEND_AWAY = (
    "Start the miner's agent, open its port to validators, and announce the right address on the chain."
)
_MEND_FORM = "Run an unchanged agent of the current version; check its config file."
_MEND_SIGNED = "Start the agent with the hotkey that is registered under this uid."
_MEND_REFUSED = "Look up the code in the agent's guide; for AUTH_STALE and AUTH_FUTURE set the clocks of both machines by NTP."
_WANTED_KEY = "a key that the miner's hotkey has committed on the chain, by TLS"
_MEND_KEY = (
    "Let `subnet miner serve` commit the key of its own folder, and let no proxy before it end TLS; "
    "after a lost key wait for the next epoch."
)
_NEWER_FIELDS = ("purpose:", "lease_id:")
"""What a door of an older version finds fault with first."""
_WANTED_SIGNED = "an answer to this request, signed by the hotkey that was asked"


def _read_answer(
    neuron: Neuron, body: bytes, proof: bytes, own_key: bytes, *, allow_private: bool
) -> MinerReply:
    if (marks := body.count(b":") + body.count(b",")) > wire.MAX_ANSWER_MARKS:
        got, wanted = f"{marks} colons and commas", f"at most {wire.MAX_ANSWER_MARKS}"
        reason = _fail("MINER_BAD_ANSWER", got, wanted, _MEND_FORM)
        return MinerReply(neuron.hotkey, neuron.uid, (), (reason,), proof)
    try:
        answer = wire.ExecutorsAnswer.model_validate_json(body)
    except ValidationError as error:
        where, got, wanted = wire.problem(error)
        reason = _fail("MINER_BAD_ANSWER", f"{where}: {got}", wanted, _MEND_FORM)
        return MinerReply(neuron.hotkey, neuron.uid, (), (reason,), proof)
    misfit = _misfit(answer, own_key, allow_private=allow_private)
    if misfit is not None:
        return MinerReply(neuron.hotkey, neuron.uid, (), (misfit,), proof)
    executors = tuple(_executor(neuron, offer) for offer in answer.executors)
    reasons = tuple(_not_ready(missing) for missing in answer.failed)
    terms = tuple(said for offer in answer.executors if (said := _terms(neuron, offer)) is not None)
    certificates = tuple(
        (o.executor_id, o.certificate) for o in answer.executors if o.certificate is not None
    )
    return MinerReply(neuron.hotkey, neuron.uid, executors, reasons, proof, answer.swaps, terms, certificates)


def _misfit(answer: wire.ExecutorsAnswer, own_key: bytes, *, allow_private: bool) -> Reason | None:
    ids = [offer.executor_id for offer in answer.executors] + [one.executor_id for one in answer.failed]
    for executor_id, count in Counter(ids).items():
        if count > 1:
            return _fail("MINER_BAD_ANSWER", f"{executor_id} {count} times", "each executor once", _MEND_FORM)
    for offer in answer.executors:
        if not is_allowed(offer.address, allow_private=allow_private):
            got = f"{offer.executor_id} at {offer.address}"
            return _fail("MINER_BAD_ANSWER", got, "an address of the public internet", _MEND_FORM)
        if offer.certificate is not None and not _is_of(offer.certificate, own_key):
            got = f"{offer.executor_id}: the certificate of another key"
            return _fail("MINER_BAD_ANSWER", got, "a certificate of the key that was handed over", _MEND_FORM)
    return None


def _is_of(certificate: str, own_key: bytes) -> bool:
    return wire.certified_key(wire.blob_of_certificate(certificate)) == own_key


def is_allowed(address: str, *, allow_private: bool) -> bool:
    """Whether we may connect to this literal address: never multicast or unspecified, by default only public."""
    parsed = wire.literal_address(address)
    if parsed.is_multicast or parsed.is_unspecified or address == "255.255.255.255":
        return False
    return allow_private or parsed.is_global


def _executor(neuron: Neuron, offer: wire.Offer) -> Executor:
    return Executor(
        executor_id=offer.executor_id,
        miner_hotkey=neuron.hotkey,
        miner_uid=neuron.uid,
        miner_registered_at_block=neuron.registered_at_block,
        address=offer.address,
        port=offer.port,
        user=offer.user,
        python=offer.python,
        host_key=wire.blob_of_base64(offer.host_key),
        price_usd_per_hour=offer.price_usd_per_hour,
    )


def _terms(neuron: Neuron, offer: wire.Offer) -> OfferTerms | None:
    """What the miner wants of the machine's leases; None when it says nothing."""
    if offer.paused_from is None and offer.min_cards == 1:
        return None
    paused = None if offer.paused_from is None else datetime.fromtimestamp(offer.paused_from, UTC)
    return OfferTerms(f"{neuron.hotkey}/{offer.executor_id}", paused, offer.min_cards)


def _not_ready(missing: wire.NotReady) -> Reason:
    got = f"{missing.executor_id}: {missing.error}"
    mend = "Let the agent write the authorized_keys file that its config names, or set its ssh_ca."
    return _no_verdict("EXECUTOR_NOT_READY", got, "the key let in", mend)


def _refusal(answer: _Answer, *, is_for_lease: bool) -> Reason:
    try:
        said = wire.Refusal.model_validate_json(answer.body)
    except ValidationError:
        said = wire.Refusal()
    if is_for_lease and said.error == "BAD_REQUEST" and said.detail.startswith(_NEWER_FIELDS):
        mend = "Update the agent: this version does not know leases, and lets nobody reach a confined machine's engine."
        return _no_verdict(
            "RENT_GRANT_UNKNOWN", wire.plain(said.detail, 200), "a key for a lease let in", mend
        )
    text = " ".join(part for part in (said.error, said.detail) if part)
    got = f"status {answer.status} {wire.plain(text, 200)}".rstrip()
    return _no_verdict("MINER_REFUSED", got, "status 200", _MEND_REFUSED)


def _why(error: TimeoutError | MinerAway | HostileAnswer, deadline_s: float) -> Reason:
    """What became of a request that got no answer of use."""
    if isinstance(error, TimeoutError):
        return _no_verdict(
            "MINER_TIMEOUT", "no whole answer", f"an answer within {deadline_s:g} s", _MEND_AWAY
        )
    if isinstance(error, MinerAway):
        return _no_verdict("MINER_UNREACHABLE", str(error), "an answer", _MEND_AWAY)
    if isinstance(error, KeyNotPinned):
        return _no_verdict("MINER_TLS_MISMATCH", str(error), _WANTED_KEY, _MEND_KEY)
    if isinstance(error, LimitExceeded):
        return _fail("MINER_TOO_LARGE", str(error), f"at most {error.limit}", _MEND_FORM)
    if isinstance(error, NotAuthentic):
        return _fail("MINER_BAD_SIGNATURE", str(error), _WANTED_SIGNED, _MEND_SIGNED)
    return _fail("MINER_BAD_ANSWER", str(error), "the form of version 1", _MEND_FORM)


def _failed(neuron: Neuron, reason: Reason) -> MinerReply:
    return MinerReply(neuron.hotkey, neuron.uid, (), (reason,))


def _fail(code: str, got: str, wanted: str, mend: str) -> Reason:
    return Reason(code, Severity.FAIL, got, wanted, mend)


def _no_verdict(code: str, got: str, wanted: str, mend: str) -> Reason:
    return Reason(code, Severity.NO_VERDICT, got, wanted, mend)


# --- the address -----------------------------------------------------------------------------------


def _place(endpoint: str, *, allow_private: bool) -> str:
    host, _, port = endpoint.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    try:
        address = wire.literal_address(host)
        number = int(port) if port.isascii() and port.isdigit() else 0
    except ValueError:
        raise BadAnswer(f"endpoint {wire.plain(endpoint, 80)!r} is no literal address and port") from None
    if not 1 <= number <= 65_535 or not is_allowed(str(address), allow_private=allow_private):
        raise BadAnswer(f"endpoint {wire.plain(endpoint, 80)!r} is no public address and port")
    host = f"[{address}]" if address.version == 6 else str(address)
    return f"{host}:{number}"
