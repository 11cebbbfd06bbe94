"""A client of the market's API over httpx: bounded, honest about failure, and never renting twice.

Every POST carries an Idempotency-Key that stays the same however often this process repeats it, so that a repetition is
the same request to the market. Repeated are transport errors and the statuses 429, 502, 503 and 504, a few times and
for a limited time; a refusal (problem+json) becomes a `MarketRefused` with the market's own advice, cleaned of what
could move a cursor.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import NoReturn, Self

import httpx

from deployments.hygiene import printable
from deployments.renting.account import Market
from deployments.renting.streams import Event, EventReader
from deployments.renting.wire import Document, parts
from tasks.errors import BadAnswer, LimitExceeded, MarketAway, MarketRefused

Query = Mapping[str, str | int | float | bool | None]

MAX_BODY_BYTES = 16 << 20
MAX_PAGES = 200
REPEATED = frozenset({429, 502, 503, 504})
CONNECT_S, READ_S = 5.0, 30.0
FOLLOW_READ_S = 60.0
"""A stream that is silent for so long is opened anew: the market sends a sign of life every few seconds."""
SHORT_FEED_S = 5.0


@dataclass(frozen=True, slots=True)
class Patience:
    """How often and how long a request is repeated."""

    attempts: int = 6
    first_wait_s: float = 0.5
    longest_wait_s: float = 10.0
    whole_s: float = 90.0


@dataclass(frozen=True, slots=True)
class Answer:
    """A response that was read whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Client:
    """One market, one key, as long as the block lasts."""

    market: Market
    key: str = field(repr=False)
    transport: httpx.BaseTransport | None = None
    patience: Patience = Patience()
    connect_s: float = CONNECT_S
    read_s: float = READ_S
    sleep: Callable[[float], None] = time.sleep
    monotonic: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._http = httpx.Client(
            base_url=self.market.url,
            transport=self.transport,
            timeout=httpx.Timeout(self.read_s, connect=self.connect_s),
            headers={
                **({"Authorization": f"Bearer {self.key}"} if self.key else {}),
                "Accept": "application/json",
                "Accept-Encoding": "identity",
                "User-Agent": "subnet-rent",
            },
            follow_redirects=False,
            trust_env=not self.market.is_loopback,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._http.close()

    def get(self, path: str, query: Query | None = None) -> Document:
        """The object at a path."""
        return self._document("GET", path, query=query)

    def post(
        self,
        path: str,
        body: Document,
        *,
        request_id: str = "",
        is_repeatable: bool = True,
        read_s: float = READ_S,
    ) -> Document:
        """Ask for something to be done, once: the same `request_id` is the same request, also of another process.

        `is_repeatable=False`: repeated only where it can't have been heard.
        """
        headers = {"Idempotency-Key": request_id or secrets.token_hex(16)}
        return self._document(
            "POST", path, body=body, headers=headers, is_repeatable=is_repeatable, read_s=read_s
        )

    def patch(self, path: str, body: Document) -> Document:
        """Change some fields."""
        return self._document("PATCH", path, body=body)

    def put(self, path: str, body: Document) -> Document:
        """Put an object where it belongs."""
        return self._document("PUT", path, body=body)

    def delete(self, path: str) -> Document:
        """Take something away."""
        return self._document("DELETE", path)

    def drop(self, path: str) -> bool:
        """Take something away; False when it was not there."""
        try:
            self.delete(path)
        except MarketRefused as refused:
            if refused.status != httpx.codes.NOT_FOUND:
                raise
            return False
        return True

    def pages(self, path: str, query: Query | None = None, *, most: int = 10_000) -> Iterator[Document]:
        """The items of a list, page by page, `most` of them."""
        asked: dict[str, str | int | float | bool | None] = dict(query or {})
        seen: set[str] = set()
        for _page in range(MAX_PAGES):
            document = self.get(path, asked)
            for item in parts(document, "items"):
                if most <= 0:
                    return
                most -= 1
                yield item
            cursor = document.get("next_cursor")
            if not isinstance(cursor, str) or not cursor or cursor in seen or most <= 0:
                return
            seen.add(cursor)
            asked["cursor"] = cursor

    def stream(self, path: str, query: Query | None = None, *, again: Query | None = None) -> Iterator[Event]:
        """Server-sent events until the market says `end`, which is the last; a broken stream is taken up where it was.

        That is behind the last event that had a name; `again`: what is asked for then, where it is something else.
        MarketAway when the market stays away through all attempts.
        """
        last, failures = "", 0
        while True:
            began = self.monotonic()
            try:
                for event in self._events(path, query, last):
                    failures, last = 0, event.id or last
                    yield event
                    if event.kind == "end":
                        return
                # Every feed is closed after a while; one that is closed at once is a broken one.
                failures += self.monotonic() - began < SHORT_FEED_S
                why = "its feed ends at once"
            except (httpx.TransportError, MarketAway) as error:
                failures, why = failures + 1, _words(error)
            if failures >= self.patience.attempts:
                raise MarketAway(self.market.url, why)
            self.sleep(self._backoff_s(max(0, failures - 1)))
            query = again or query

    def content(self, path: str, most_bytes: int) -> Iterator[bytes]:
        """The bytes of a file, as they come; LimitExceeded when there are more than were announced."""
        timeout, left = httpx.Timeout(FOLLOW_READ_S, connect=self.connect_s), most_bytes
        headers = {"Accept": "application/octet-stream"}
        try:
            with self._http.stream("GET", path, headers=headers, timeout=timeout) as response:
                if response.status_code != httpx.codes.OK:
                    self._refuse(self._whole(response, self.monotonic() + READ_S))
                for chunk in response.iter_bytes():
                    left -= len(chunk)
                    if left < 0:
                        raise LimitExceeded("the file", f"{most_bytes} bytes")
                    yield chunk
        except httpx.TransportError as error:
            raise MarketAway(self.market.url, _words(error)) from None

    def _events(self, path: str, query: Query | None, last: str) -> Iterator[Event]:
        headers = {"Accept": "text/event-stream", **({"Last-Event-ID": last} if last else {})}
        timeout = httpx.Timeout(FOLLOW_READ_S, connect=self.connect_s)
        with self._http.stream(
            "GET", path, params=_params(query), headers=headers, timeout=timeout
        ) as response:
            if response.status_code != httpx.codes.OK:
                answer = self._whole(response, self.monotonic() + READ_S)
                if answer.status in REPEATED:
                    raise MarketAway(self.market.url, f"status {answer.status}")
                self._refuse(answer)
            reader = EventReader()
            for chunk in response.iter_bytes():
                yield from reader.feed(chunk)

    def _document(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: Document | None = None,
        headers: Mapping[str, str] | None = None,
        is_repeatable: bool = True,
        read_s: float | None = None,
    ) -> Document:
        read_s = self.read_s if read_s is None else read_s
        request = self._http.build_request(
            method,
            path,
            params=_params(query),
            json=body,
            headers=dict(headers or {}),
            timeout=httpx.Timeout(read_s, connect=self.connect_s),
        )
        answer = self._asked(request, read_s, is_repeatable=is_repeatable)
        if not httpx.codes.is_success(answer.status):
            self._refuse(answer)
        if not answer.body.strip():
            return {}
        try:
            found = json.loads(answer.body)
        except (ValueError, RecursionError):
            raise BadAnswer(
                f"{self.market.url}{path} answered what is no JSON; is this the market's address?"
            ) from None
        if not isinstance(found, dict):
            raise BadAnswer(f"{self.market.url}{path} answered JSON that is no object")
        return found

    def _asked(self, request: httpx.Request, read_s: float, *, is_repeatable: bool) -> Answer:
        """The answer to a request, repeated as far as that is safe and patience lasts."""
        end = self.monotonic() + self.patience.whole_s + read_s
        for attempt in range(self.patience.attempts):
            is_last = attempt == self.patience.attempts - 1
            try:
                answer = self._once(request, min(end, self.monotonic() + 2 * read_s))
            except httpx.TransportError as error:
                was_not_heard = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
                if is_last or not (is_repeatable or was_not_heard):
                    raise MarketAway(self.market.url, _words(error)) from None
                wait_s = self._backoff_s(attempt)
            else:
                if answer.status not in REPEATED or (not is_repeatable and answer.status in {502, 504}):
                    return answer
                wait_s = max(_retry_after_s(answer.headers), self._backoff_s(attempt))
                if is_last or self.monotonic() + wait_s > end:
                    return answer
            self.sleep(wait_s)
        raise AssertionError("the last attempt returns or raises")

    def _once(self, request: httpx.Request, end: float) -> Answer:
        response = self._http.send(request, stream=True)
        try:
            return self._whole(response, end)
        finally:
            response.close()

    def _whole(self, response: httpx.Response, end: float) -> Answer:
        body = bytearray()
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                raise LimitExceeded("the market's answer", f"{MAX_BODY_BYTES >> 20} MiB")
            if self.monotonic() > end:
                raise LimitExceeded("the market's answer", "its time")
        return Answer(response.status_code, response.headers, bytes(body))

    def _backoff_s(self, attempt: int) -> float:
        return min(self.patience.first_wait_s * 2.0**attempt, self.patience.longest_wait_s)

    def _refuse(self, answer: Answer) -> NoReturn:
        """Say why the market did not do it, in its own words as far as they are words."""
        try:
            found = json.loads(answer.body)
        except (ValueError, RecursionError):
            found = None
        problem = found if isinstance(found, dict) else {}
        detail = _text(problem, "detail") or _text(problem, "title") or f"status {answer.status}"
        wait_s = _retry_after_s(answer.headers)
        mend = _text(problem, "mend") or (f"try again in {wait_s:.0f} s" if wait_s else "")
        if answer.status >= 500 and not _text(problem, "code"):
            raise MarketAway(self.market.url, detail)
        raise MarketRefused(answer.status, _text(problem, "code"), detail, mend)


def _text(problem: Mapping[str, object], name: str) -> str:
    found = problem.get(name)
    return printable(found, 1000) if isinstance(found, str) else ""


def _params(query: Query | None) -> dict[str, str | int | float | bool]:
    return {name: value for name, value in (query or {}).items() if value is not None}


def _words(error: Exception) -> str:
    return printable(str(error)) or type(error).__name__


def _retry_after_s(headers: Mapping[str, str]) -> float:
    """Seconds of a Retry-After header, which is a number or a date; 0 without one."""
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit() and len(value) <= 6:
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return 0.0
