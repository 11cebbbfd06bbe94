"""The miner's door: lets a validator's key in on the executors, and tells it what they are.

    connection bounds -> rate -> path -> header forms -> body -> signature -> admission -> nonce   (refusals unsigned
    -> the hotkey's rate -> request's schema -> expiry -> executors -> certificates or keys files -> answer              / answers signed)
                                                     (for a lease: -> may it come in, `leases.py` ->)
                        -> results -> kept                                         (POST /v1/results, where a folder is set)

Grants and refusals go into the log (`visits.py`) where a folder is set. Cheap checks come first: what is not proved costs no signature made, no file and no row. An ASGI app without a
framework, because the raw headers and the raw target are what is signed. Refusals are {"error", "detail"}.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from pydantic import ValidationError

from deployments.miner.admission import MayEnter
from deployments.miner.bounds import Bounds, Throttle, network_of
from deployments.miner.keys import KeysFileRefused, let_in
from deployments.miner.leases import LIFE_S, Coming, LeaseBook, LeaseRefused, Terms
from deployments.miner.visits import FILE, GRANTED, Visit, VisitLog
from tasks.edges import wire
from tasks.edges.nonces import NonceStore
from tasks.edges.signing import Asked, Claim, RawHeaders, Signer, check_request, read_claim, sign_answer
from tasks.errors import NotAuthentic, SettingError, StoreAway
from tasks.offering.config import MinerConfig, MinerExecutor
from tasks.offering.memory import keep_results, shown_swaps
from tasks.onboarding.confinement.certificates import Authority, Purpose
from tasks.onboarding.confinement.grants import Grant

_log = logging.getLogger("miner.agent")
MAX_REASON_CHARS = 240
MAX_SEEN = 4_096
"""Nonces that a door remembers itself, beside its store."""
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Refused(Exception):
    """The door stays shut: status, stable code and a sentence for who knocked."""

    def __init__(
        self, status: int, code: str, detail: str, *, hotkey: str = "", request: wire.KeyRequest | None = None
    ) -> None:
        super().__init__(f"{status} {code}: {detail}")
        self.status, self.code, self.detail, self.hotkey, self.request = status, code, detail, hotkey, request

    def body(self) -> bytes:
        """The refusal as JSON."""
        return wire.Refusal(error=self.code, detail=self.detail).model_dump_json().encode()


def build_app(
    config: MinerConfig | Callable[[], MinerConfig],
    keypair: Signer,
    may_enter: MayEnter,
    nonces: NonceStore,
    *,
    bounds: Bounds | None = None,
    now_ns: Callable[[], int] = time.time_ns,
) -> Door:
    """The ASGI app of one miner; many may live in one process and share a nonce store. SettingError: no such ssh_ca.

    `config`: a fixed one, or whoever knows the newest: `deployments.miner.following.Followed`.
    """
    return Door(config, keypair, may_enter, nonces, bounds=bounds or Bounds(), now_ns=now_ns)


class Door:
    """One miner's ASGI app: `POST /v1/executors`, `POST /v1/results` and nothing else."""

    def __init__(
        self,
        config: MinerConfig | Callable[[], MinerConfig],
        keypair: Signer,
        may_enter: MayEnter,
        nonces: NonceStore,
        *,
        bounds: Bounds,
        now_ns: Callable[[], int],
    ) -> None:
        self._newest = partial(_same, config) if isinstance(config, MinerConfig) else config
        self._keypair, self._may_enter, self._nonces = keypair, may_enter, nonces
        self._now_ns = now_ns
        remembered = bounds.remembered_addresses
        self._addresses = Throttle(bounds.requests_per_s, bounds.burst, remembered)
        self._hotkeys = Throttle(bounds.hotkey_requests_per_s, bounds.hotkey_burst, remembered)
        self._authority: tuple[MinerConfig, Authority | None] = (self._config, _authority_of(self._config))
        folder = self._config.folder
        self._log = VisitLog(folder / FILE) if folder else None
        self._leases = LeaseBook(folder / FILE if folder else None)
        self._seen: OrderedDict[tuple[str, int], None] = OrderedDict()
        self.bounds = bounds

    @property
    def _config(self) -> MinerConfig:
        return self._newest()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        asked: Asked | None = None
        try:
            asked = await self._prove(scope, receive)
            self._check_rate_of_hotkey(asked.sender)
            status, body = 200, await self._open(asked) if _is_for_keys(asked) else await self._keep(asked)
        except Refused as refused:
            status, body = refused.status, refused.body()
            await self._note(refused, asked)
        headers = {} if asked is None else sign_answer(self._keypair, asked=asked, status=status, body=body)
        await _answer(send, status, body, headers)

    async def flush(self) -> None:
        """Write down what was counted of refusals."""
        if self._log is not None:
            try:
                await asyncio.to_thread(self._log.flush, self._now_ns() / 1e9)
            except StoreAway as error:
                _log.error("%s", error)

    async def close(self) -> None:
        """Write down what was counted, and release the log."""
        await self.flush()
        self._leases.close()
        if self._log is not None:
            self._log.close()

    async def _note(self, refused: Refused, asked: Asked | None) -> None:
        """Log a refusal: of whoever may enter at once, of everybody else as a number."""
        if self._log is None:
            return
        now_s, reason = self._now_ns() / 1e9, refused.detail[:MAX_REASON_CHARS]
        if asked is None or refused.status == 429:
            hotkey = refused.hotkey if asked is None else asked.sender
            if self._log.count(refused.code, hotkey=hotkey, reason=reason, now_s=now_s):
                await self.flush()
            return
        line = Visit(int(now_s), refused.code, asked.sender, reason=reason)
        if refused.request is not None and refused.request.lease_id is not None:
            name = (refused.request.executor_ids or ("",))[0]
            line = replace(line, executor_id=name, purpose=Purpose.RENT.value)
        try:
            await asyncio.to_thread(self._log.write, [line])
        except StoreAway as error:
            _log.error("%s", error)

    async def _prove(self, scope: Scope, receive: Receive) -> Asked:
        """Who asks, proved, admitted and for the first time."""
        now_ns = self._now_ns()
        self._check_rate(scope, now_ns)
        limit_bytes = _limit_of_route(scope, keeps_results=self._config.folder is not None)
        _check_size(scope["headers"], limit_bytes)
        try:
            claim = read_claim(scope["headers"], receiver=self._keypair.ss58_address, now_ns=now_ns)
            self._check_unseen(claim)
            body = await _read_body(receive, self.bounds.body_s, limit_bytes)
            asked = check_request(claim, method="POST", target=_target(scope), body=body)
        except NotAuthentic as error:
            raise Refused(401, error.code, error.detail) from None
        self._admit(asked.sender)
        await self._check_first_use(asked)
        self._remember(asked)
        return asked

    def _check_rate(self, scope: Scope, now_ns: int) -> None:
        client = scope.get("client") or ("unknown", 0)
        if not self._addresses.allows(network_of(client[0]), now_s=now_ns / 1e9):
            raise Refused(429, "TOO_MANY", f"over {self.bounds.requests_per_s:g} requests a second")

    def _check_rate_of_hotkey(self, hotkey: str) -> None:
        # Last, so that nobody can use up a validator's rate by what it did not ask.
        if not self._hotkeys.allows(hotkey, now_s=self._now_ns() / 1e9):
            detail = f"over {self.bounds.hotkey_requests_per_s:g} requests a second of this hotkey"
            raise Refused(429, "TOO_MANY", detail)

    def _admit(self, hotkey: str) -> None:
        verdict = self._may_enter(hotkey)
        if verdict is not True:
            raise Refused(403, "NOT_ADMITTED", _why(verdict), hotkey=hotkey)

    def _check_unseen(self, claim: Claim) -> None:
        # Most replays end here, before signature and store are asked; the store knows those of other processes.
        if (claim.hotkey, claim.nonce_ns) in self._seen:
            raise Refused(401, "AUTH_REPLAYED", "this nonce was used before")

    def _remember(self, asked: Asked) -> None:
        self._seen[asked.sender, asked.nonce_ns] = None
        if len(self._seen) > MAX_SEEN:
            self._seen.popitem(last=False)

    async def _check_first_use(self, asked: Asked) -> None:
        try:
            is_first = await asyncio.to_thread(
                self._nonces.remember,
                sender=asked.sender,
                receiver=asked.receiver,
                nonce_ns=asked.nonce_ns,
                now_ns=self._now_ns(),
            )
        except StoreAway:
            raise Refused(503, "STORE_AWAY", "the miner's nonce store does not answer") from None
        if not is_first:
            raise Refused(401, "AUTH_REPLAYED", "this nonce was used before")

    async def _open(self, asked: Asked) -> bytes:
        """Let the key in, and say where."""
        now = datetime.fromtimestamp(self._now_ns() / 1e9, UTC)
        request = _read_request(asked.body)
        try:
            return await self._open_as_asked(asked.sender, request, now)
        except Refused as refused:
            lease = f"lease {request.lease_id}: " if request.lease_id else ""
            raise Refused(refused.status, refused.code, lease + refused.detail, request=request) from None

    async def _open_as_asked(self, hotkey: str, request: wire.KeyRequest, now: datetime) -> bytes:
        self._check_expiry(request, now)
        chosen = self._choose(request.executor_ids)
        if request.lease_id is not None:
            coming = Coming(chosen[0].offer.executor_id, hotkey, request.lease_id, request.expires_at)
            await self._admit_lease(coming, chosen[0].offer.paused_from, now)
        grant = Grant(
            public_key=request.public_key,
            hotkey=hotkey,
            epoch=request.epoch,
            expires_at=datetime.fromtimestamp(request.expires_at, UTC),
            lease_id=request.lease_id or "",
        )
        answer = await asyncio.to_thread(_let_in_everywhere, chosen, grant, now, self._newest_authority())
        await self._note_grants(grant, answer, now)
        if self._config.folder is not None:
            swaps = await asyncio.to_thread(shown_swaps, self._config.folder, now.timestamp())
            answer = answer.model_copy(update={"swaps": swaps})
        return answer.model_dump_json().encode()

    def _newest_authority(self) -> Authority | None:
        config = self._config
        if self._authority[0] is not config:
            try:
                self._authority = config, _authority_of(config)
            except SettingError:
                raise Refused(503, "CA_FILE", "the agent's ssh_ca can't be read") from None
        return self._authority[1]

    async def _note_grants(self, grant: Grant, answer: wire.ExecutorsAnswer, now: datetime) -> None:
        """Log what came of each executor; Refused when that can't be written: nobody enters unseen."""
        if self._log is None:
            return
        codes = {offer.executor_id: GRANTED for offer in answer.executors}
        codes |= {missing.executor_id: missing.error for missing in answer.failed}
        at_s, until_s = int(now.timestamp()), int(grant.expires_at.timestamp())
        purpose, reason = Purpose.VALIDATE.value, f"epoch {grant.epoch}"
        if grant.lease_id:
            purpose, reason = Purpose.RENT.value, f"lease {grant.lease_id}"
        rows = [
            Visit(at_s, code, grant.hotkey, name, purpose, until_s, reason) for name, code in codes.items()
        ]
        try:
            await asyncio.to_thread(self._log.write, rows)
        except StoreAway:
            raise Refused(503, "STORE_AWAY", "the agent's log can't be written") from None

    async def _keep(self, asked: Asked) -> bytes:
        """Keep what the validator's epoch came to."""
        assert self._config.folder is not None
        try:
            results = wire.Results.model_validate_json(asked.body)
        except ValidationError as error:
            where, _, wanted = wire.problem(error)
            raise Refused(400, "BAD_REQUEST", f"{where}: {wanted}") from None
        try:
            await asyncio.to_thread(keep_results, self._config.folder, asked.sender, results)
        except OSError:
            raise Refused(503, "STORE_AWAY", "the agent's folder can't be written") from None
        return b"{}"

    async def _admit_lease(self, coming: Coming, paused_from: int | None, now: datetime) -> None:
        """Let a lease's key be let in, and know the lease from now on."""
        config, now_s = self._config, int(now.timestamp())
        is_paused = paused_from is not None and paused_from <= now_s
        terms = Terms(config.rentals, is_paused, config.max_leases)
        try:
            await asyncio.to_thread(self._leases.admit, coming, terms, now_s=now_s)
        except LeaseRefused as refused:
            raise Refused(403, refused.code, refused.detail) from None
        except StoreAway:
            raise Refused(503, "STORE_AWAY", "the agent's leases can't be written") from None

    def _check_expiry(self, request: wire.KeyRequest, now: datetime) -> None:
        ahead_s, most_s = request.expires_at - now.timestamp(), self._config.max_grant_s
        if request.lease_id is not None:
            most_s = min(most_s, LIFE_S)
        if ahead_s <= 0:
            raise Refused(400, "EXPIRED", "expires_at has passed")
        if ahead_s > most_s:
            raise Refused(400, "EXPIRY_TOO_FAR", f"expires_at is over {most_s} s ahead")

    def _choose(self, wanted: tuple[str, ...] | None) -> tuple[MinerExecutor, ...]:
        if wanted is None:
            return self._config.executors
        by_id = {executor.offer.executor_id: executor for executor in self._config.executors}
        unknown = next((executor_id for executor_id in wanted if executor_id not in by_id), None)
        if unknown is not None:
            raise Refused(404, "UNKNOWN_EXECUTOR", unknown)
        return tuple(by_id[executor_id] for executor_id in dict.fromkeys(wanted))


def _authority_of(config: MinerConfig) -> Authority | None:
    return Authority.load(config.ssh_ca, config.ssh_session) if config.ssh_ca else None


def _same(config: MinerConfig) -> MinerConfig:
    return config


# --- the way in, in call order ---------------------------------------------------------------------


def _limit_of_route(scope: Scope, *, keeps_results: bool) -> int:
    """How many bytes may be sent there; Refused when nothing is."""
    limits = {wire.PATH.encode(): wire.MAX_REQUEST_BYTES}
    if keeps_results:
        limits[wire.RESULTS_PATH.encode()] = wire.MAX_RESULTS_BYTES
    if scope["type"] != "http" or _target(scope) not in limits:
        raise Refused(404, "NO_SUCH_PATH", f"only {' and '.join(p.decode() for p in limits)} is here")
    if scope["method"] != "POST":
        raise Refused(405, "NO_SUCH_METHOD", "only POST is answered")
    return limits[_target(scope)]


def _why(verdict: bool | str) -> str:  # noqa: FBT001  what `MayEnter` answers
    return verdict if isinstance(verdict, str) else "not admitted"


def _is_for_keys(asked: Asked) -> bool:
    return asked.target == wire.PATH.encode()


def _target(scope: Scope) -> bytes:
    query: bytes = scope["query_string"]
    path: bytes = scope["raw_path"]
    return path + b"?" + query if query else path


def _check_size(headers: RawHeaders, limit_bytes: int) -> None:
    for name, value in headers:
        if name == b"content-encoding":
            raise Refused(415, "ENCODED", "a compressed body is not read")
        if name == b"content-length" and (len(value) > 9 or int(value) > limit_bytes):
            raise Refused(413, "TOO_LARGE", f"over {limit_bytes} bytes")


async def _read_body(receive: Receive, limit_s: float, limit_bytes: int) -> bytes:
    body = bytearray()
    try:
        async with asyncio.timeout(limit_s):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Refused(400, "GONE", "hung up in the middle of the body")
                body += message.get("body", b"")
                if len(body) > limit_bytes:
                    raise Refused(413, "TOO_LARGE", f"over {limit_bytes} bytes")
                if not message.get("more_body", False):
                    return bytes(body)
    except TimeoutError:
        raise Refused(408, "TOO_SLOW", f"the body took over {limit_s:g} s") from None


def _read_request(body: bytes) -> wire.KeyRequest:
    try:
        return wire.KeyRequest.model_validate_json(body)
    except ValidationError as error:
        where, _, wanted = wire.problem(error)
        raise Refused(400, "BAD_REQUEST", f"{where}: {wanted}") from None


def _let_in_everywhere(
    executors: tuple[MinerExecutor, ...], grant: Grant, now: datetime, authority: Authority | None
) -> wire.ExecutorsAnswer:
    offers: list[wire.Offer] = []
    failed: list[wire.NotReady] = []
    for executor in executors:
        try:
            offer = _let_in(executor, grant, now, authority)
        except KeysFileRefused:
            failed.append(wire.NotReady(executor_id=executor.offer.executor_id, error="KEYS_FILE"))
        else:
            offers.append(offer)
    return wire.ExecutorsAnswer(executors=tuple(offers), failed=tuple(failed))


def _let_in(executor: MinerExecutor, grant: Grant, now: datetime, authority: Authority | None) -> wire.Offer:
    if authority is not None:
        is_rented = bool(grant.lease_id) and executor.rent_user is not None
        purpose = Purpose.RENT if is_rented else Purpose.VALIDATE
        certificate = authority.issue(grant, executor.offer.executor_id, now=now, purpose=purpose)
        user = executor.rent_user if is_rented else executor.offer.user
        return executor.offer.model_copy(update={"certificate": certificate, "user": user})
    if executor.authorized_keys is None:
        raise KeysFileRefused("the file has lost its ssh_ca meanwhile")
    let_in(executor.authorized_keys, grant, now=now)
    return executor.offer


async def _answer(send: Send, status: int, body: bytes, headers: dict[str, str]) -> None:
    raw = [(name.lower().encode("ascii"), value.encode("ascii")) for name, value in headers.items()]
    raw += [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode("ascii")),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
