"""What the market's JSON says, read with a doubt: typed, printable, and with a default for what is missing or odd."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from deployments.hygiene import printable

Document = dict[str, object]
"""One JSON object as it came."""

READY = "active"
CLOSED = frozenset({"ended", "failed"})
MAX_ITEMS = 10_000
PREFIX = "lease-"


def text(document: Mapping[str, object], name: str, limit: int = 500) -> str:
    """A field's text, printable; empty when it is none."""
    found = document.get(name)
    return printable(found, limit) if isinstance(found, str) else ""


def integer(document: Mapping[str, object], name: str) -> int:
    """A field's whole number; 0 when it is none."""
    found = document.get(name)
    return found if isinstance(found, int) and not isinstance(found, bool) and abs(found) < 1 << 63 else 0


def number(document: Mapping[str, object], name: str) -> float:
    """A field's finite number; 0 when it is none."""
    found = document.get(name)
    is_number = isinstance(found, int | float) and not isinstance(found, bool) and abs(found) < 1e30
    return float(found) if is_number and math.isfinite(found) else 0.0  # type: ignore[arg-type]  # `is_number` says so


def moment(document: Mapping[str, object], name: str) -> datetime | None:
    """A field's time in UTC; None when it is none."""
    found = document.get(name)
    if not isinstance(found, str):
        return None
    try:
        parsed = datetime.fromisoformat(found[:40])
        return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def part(document: Mapping[str, object], name: str) -> Document:
    """A field's object; an empty one when it is none."""
    found = document.get(name)
    return found if isinstance(found, dict) else {}


def parts(document: Mapping[str, object], name: str) -> list[Document]:
    """A field's list of objects, without what is none."""
    found = document.get(name)
    return [item for item in found[:MAX_ITEMS] if isinstance(item, dict)] if isinstance(found, list) else []


def texts(document: Mapping[str, object], name: str, limit: int = 500) -> tuple[str, ...]:
    """A field's list of texts, printable."""
    found = document.get(name)
    items = found[:MAX_ITEMS] if isinstance(found, list) else []
    return tuple(printable(item, limit) for item in items if isinstance(item, str))


@dataclass(frozen=True, slots=True)
class Offer:
    """A machine of the market's list."""

    executor_key: str
    model: str
    vram_gib: float
    card_count: int
    free_card_count: int
    micro_usd_per_card_hour: int
    performance: float
    performance_per_usd: float
    reliability: float
    region: str
    min_card_count: int = 1

    @staticmethod
    def of(document: Document) -> Offer:
        """As the market told it."""
        return Offer(
            text(document, "executor_key"),
            text(document, "model"),
            number(document, "vram_gib"),
            integer(document, "card_count"),
            integer(document, "free_card_count"),
            integer(document, "micro_usd_per_card_hour"),
            number(document, "performance"),
            number(document, "performance_per_usd"),
            number(document, "reliability"),
            text(document, "region"),
            integer(document, "min_card_count"),
        )

    def cards_for(self, wanted: int) -> int:
        """How many cards a wish for so many would get here, 0 being the whole machine; 0: it can't have them now."""
        if wanted == 0:
            return self.card_count if self.free_card_count == self.card_count else 0
        return wanted if self.free_card_count >= wanted >= self.min_card_count else 0

    def price(self, wanted: int) -> int:
        """Micro-USD an hour of what a wish for so many cards would get."""
        return self.micro_usd_per_card_hour * (wanted or self.card_count)


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the way to the renter's container."""

    name: str
    seconds: float
    state: str


@dataclass(frozen=True, slots=True)
class Lease:
    """What of a lease a terminal shows; the document has all of it."""

    lease_id: str
    state: str
    is_queued: bool
    detail: str
    image: str
    executor_key: str
    card_count: int
    micro_usd_per_hour: int
    cost_micro_usd: int
    address: str
    ssh_port: int
    host_key: str
    requested_at: datetime | None
    active_at: datetime | None
    ended_at: datetime | None
    end_asked_at: datetime | None
    ends_by: datetime | None
    notice_until: datetime | None
    ttl_s: int
    party: str
    reason: str
    steps: tuple[Step, ...]
    tried: tuple[str, ...]
    document: Document

    @staticmethod
    def of(document: Document) -> Lease:
        """As the market told it."""
        access, terms = part(document, "access"), part(document, "terms")
        steps = (
            Step(text(s, "name", 40), number(s, "seconds"), text(s, "state", 20))
            for s in parts(document, "steps")
        )
        return Lease(
            lease_id=text(document, "lease_id"),
            state=text(document, "state", 20),
            is_queued=document.get("queued") is True,
            detail=text(document, "detail"),
            image=text(part(document, "pod"), "image"),
            executor_key=text(document, "executor_key"),
            card_count=len(texts(document, "card_uuids")),
            micro_usd_per_hour=integer(document, "micro_usd_per_hour"),
            cost_micro_usd=integer(document, "cost_micro_usd"),
            address=text(access, "address"),
            ssh_port=integer(access, "ssh_port"),
            host_key=text(access, "host_key", 5000),
            requested_at=moment(document, "requested_at"),
            active_at=moment(document, "active_at"),
            ended_at=moment(document, "ended_at"),
            end_asked_at=moment(document, "end_asked_at"),
            ends_by=moment(document, "ends_by"),
            notice_until=moment(document, "notice_until"),
            ttl_s=integer(terms, "ttl_s"),
            party=text(document, "party", 20) or "nobody",
            reason=text(document, "reason", 1000),
            steps=tuple(steps),
            tried=texts(document, "tried"),
            document=document,
        )

    @property
    def short(self) -> str:
        """Enough of its name for a table and for the next command."""
        return short_lease(self.lease_id)

    @property
    def standing(self) -> str:
        """Its state; `ending` as soon as its end is asked for."""
        return "ending" if self.end_asked_at is not None and not self.is_closed else self.state

    @property
    def is_closed(self) -> bool:
        """Whether nothing more happens to it."""
        return self.state in CLOSED

    def end(self) -> datetime | None:
        """When it ends by its own limits of time; None: by none."""
        limits = [self.ends_by, self.notice_until]
        if self.ttl_s and self.active_at is not None:
            limits.append(datetime.fromtimestamp(self.active_at.timestamp() + self.ttl_s, UTC))
        return min((limit for limit in limits if limit is not None), default=None)


def short_lease(lease_id: str) -> str:
    """A lease's name without the word that all have in front, and not all of the rest."""
    return lease_id.removeprefix(PREFIX)[:8]


def is_begun(lease_id: str, wanted: str) -> bool:
    """Whether a name, or the beginning of one, may mean this lease: with the word in front, or without it."""
    return lease_id.startswith(wanted) or lease_id.removeprefix(PREFIX).startswith(wanted)


def meant(leases: Iterable[Lease], wanted: str) -> tuple[Lease, ...]:
    """The leases that a name, or the beginning of one, may mean: the very one, or the open ones, or the closed ones."""
    found = tuple(lease for lease in leases if is_begun(lease.lease_id, wanted))
    exact = tuple(lease for lease in found if lease.lease_id == wanted)
    is_open = tuple(lease for lease in found if not lease.is_closed)
    return exact or is_open or found
