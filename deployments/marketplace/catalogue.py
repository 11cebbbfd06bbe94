"""The machines as they are offered, read once for all who ask: offers of the last epoch, and which cards are held.

A snapshot that is older than `FRESH_S` is made anew, and used for `STALE_S` at most while somebody does: whoever rents finds out by compare-and-set anyway whether its cards are still free.
Answers are made once for each snapshot and question, as bytes, and compressed once: a thousand offers are half a
megabyte of JSON.
"""

from __future__ import annotations

import gzip
import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b

from deployments.marketplace import cursors, views
from deployments.marketplace.models import Offer, OfferQuery, Page
from storage.rental import Offer as Machine
from tasks.renting.offering import demand_of

FRESH_S = 0.5
STALE_S = 2.0
MAX_ANSWERS = 256
GZIP_LEVEL = 5
Key = tuple[float, str]


@dataclass(frozen=True, slots=True)
class Answer:
    """A page of offers, ready to be sent."""

    body: bytes
    compressed: bytes
    etag: str


class Snapshot:
    """All offers at one moment."""

    def __init__(
        self, offers: Iterable[Machine], held: Mapping[str, str], before: Snapshot | None = None
    ) -> None:
        self.offers, self.held = tuple(offers), held
        self.demand = demand_of(self.offers, held)
        self.epoch = max((one.epoch for one in self.offers), default=0)
        self._views = self._made_views(before)
        self.by_key = {view.executor_key: view for view in self._views}
        self._answers: OrderedDict[object, Answer] = OrderedDict()
        self._lock = threading.Lock()

    def _made_views(self, before: Snapshot | None) -> list[Offer]:
        """Of a machine about which nothing has changed, the one of before."""
        if before is None or before.offers != self.offers:
            return [views.offer(one, self._free(one)) for one in self.offers]
        return [
            view if view.free_card_count == self._free(one) else views.offer(one, self._free(one))
            for one, view in zip(self.offers, before._views, strict=True)  # noqa: SLF001  our own
        ]

    def _free(self, one: Machine) -> int:
        return sum(uuid not in self.held for uuid in one.card_uuids)

    def cached(self, question: object) -> Answer | None:
        """The answer to a question that was asked before."""
        with self._lock:
            found = self._answers.get(question)
            if found is not None:
                self._answers.move_to_end(question)
            return found

    def answer(self, question: object, query: OfferQuery) -> Answer:
        """The page that fits the query, made once for the question."""
        return self.made(question, lambda: self.page(query).model_dump_json().encode())

    def made(self, question: object, make: Callable[[], bytes]) -> Answer:
        """What is made of these offers for a question, once."""
        found = self.cached(question)
        if found is None:
            body = make()
            etag = f'"{blake2b(body, digest_size=12).hexdigest()}"'
            found = Answer(body, gzip.compress(body, GZIP_LEVEL, mtime=0), etag)
            with self._lock:
                self._answers[question] = found
                if len(self._answers) > MAX_ANSWERS:
                    self._answers.popitem(last=False)
        return found

    def page(self, query: OfferQuery) -> Page[Offer]:
        """The offers that fit, in order, from the cursor on."""
        fit = self.fitting(query)
        if query.cursor:
            after = cursors.decode(query.cursor, float, str)
            fit = [pair for pair in fit if pair[0] > after]
        page = fit[: query.limit]
        rest = cursors.encode(*page[-1][0]) if len(fit) > len(page) else None
        return Page(items=tuple(view for _, view in page), next_cursor=rest)

    def fitting(self, query: OfferQuery) -> list[tuple[Key, Offer]]:
        """All offers that fit, in order, whatever the page."""
        fit = [(_rank(query, view), view) for view in self._views if _fits(query, view)]
        return sorted(fit, key=lambda pair: pair[0])


class Catalogue:
    """The newest snapshot; made anew when it is too old and something has changed."""

    def __init__(
        self,
        offers: Callable[[], Iterable[Machine]],
        held: Callable[[], Mapping[str, str]],
        clock: Callable[[], float],
    ) -> None:
        self._offers, self._held, self._clock = offers, held, clock
        self._lock = threading.Lock()
        self._snapshot: Snapshot | None = None
        self._read_at = -math.inf

    @property
    def usable(self) -> Snapshot | None:
        """The newest snapshot, unless it is too old for anything."""
        return self._snapshot if self._age_s() <= STALE_S else None

    def _age_s(self) -> float:
        return self._clock() - self._read_at

    @property
    def fresh(self) -> Snapshot | None:
        """The snapshot, if it needs no look into the database."""
        return self._snapshot if self._age_s() <= FRESH_S else None

    def snapshot(self) -> Snapshot:
        """The newest; one thread reads, the others wait for it."""
        if (found := self.fresh) is not None:
            return found
        with self._lock:
            if (found := self.fresh) is not None:
                return found
            offers, held = tuple(self._offers()), dict(self._held())
            last = self._snapshot
            if last is None or last.offers != offers or last.held != held:
                last = Snapshot(offers, held, last)
            self._snapshot, self._read_at = last, self._clock()
            return last


def _fits(query: OfferQuery, view: Offer) -> bool:
    count = query.count or 1
    price = view.micro_usd_per_card_hour * count / 1e6
    return (
        view.free_card_count >= count
        and (query.count == 0 or query.count >= view.min_card_count)
        and query.model in ("", view.model)
        and query.region in ("", view.region)
        and view.vram_gib >= query.min_vram_gib
        and (query.max_usd_per_hour == 0 or price <= query.max_usd_per_hour)
        and view.performance >= query.min_performance
        and view.reliability >= query.min_reliability
    )


def _rank(query: OfferQuery, view: Offer) -> Key:
    """What the page is sorted by; names decide among equals, so that no offer is on two pages."""
    match query.sort:
        case "price":
            return float(view.micro_usd_per_card_hour), view.executor_key
        case "reliability":
            return -float(view.reliability), view.executor_key
        case _:
            return -float(view.performance_per_usd), view.executor_key
