"""What a miner may know of its own machines, read from the validator's state at most once in two seconds for each miner.

Miners.look(hotkey, page) -> Mine      its place on the subnet, a page of its machines: score, record, leases, last epochs
Miners.one(hotkey, name) -> Mine       the same with one machine, or none
"""

from __future__ import annotations

import threading
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from time import monotonic

import sqlalchemy as sa
from pydantic import TypeAdapter

from deployments.marketplace.board import Board
from storage import tables
from storage.database import reading
from storage.records import (
    ALPHA_TAO,
    TAO_USD,
    TOKEN,
    EpochState,
    Executor,
    ExecutorRecord,
    Neuron,
    OfferTerms,
    Reason,
    Score,
    WeightOutcome,
    WeightTarget,
)
from storage.rental import Mode, Rental, RentalState
from storage.rentals import Rentals
from storage.snapshots import Snapshot
from storage.state import State
from tasks.estimating import ALPHA_PER_DAY
from tasks.policy import Policy, policy_of
from tasks.renting.offering import price_refused

FRESH_S = 2.0
KEPT = 256
PAGE = 25
BEATS = 24
"""Epochs of a machine's trend."""
FORGOTTEN = 20
"""Machines that are told of though no epoch lists them any more."""
_NOWHERE = ""
"""Stands for all names that are no machine's."""


@dataclass(frozen=True, slots=True)
class Pay:
    """What a share of the emission comes to in a day; None: no price is known."""

    share: float
    alpha_per_day: float
    tao_per_day: float | None
    usd_per_day: float | None


@dataclass(frozen=True, slots=True)
class Beat:
    """One epoch of a machine."""

    epoch: int
    is_listed: bool
    is_passed: bool
    score: float


@dataclass(frozen=True, slots=True)
class Held:
    """A lease on a machine, as far as its miner may know of it."""

    mode: Mode
    state: RentalState
    cards: int
    since: datetime
    """Of the hand-over, or of the reservation before it."""
    usd_per_hour: float
    is_paid_now: bool
    miner_usd_per_hour: float
    """Without the market's fee."""


@dataclass(frozen=True, slots=True)
class Machine:
    """One machine of the miner."""

    key: str
    name: str
    """The miner's own."""
    executor: Executor | None
    """None: the newest epoch does not list it."""
    score: Score | None
    proof: str
    """The proof's code; empty: there was none."""
    record: ExecutorRecord
    terms: OfferTerms | None
    price_refused: str
    """Why nobody is offered it at this price; empty when that is not the reason."""
    deposited_rao: int
    pay: Pay | None
    """By our weights as they were meant; None: there are none."""
    beats: tuple[Beat, ...]
    leases: tuple[Held, ...]

    @property
    def rent_usd_per_day(self) -> float:
        """What its renters pay now, without the market's fee."""
        return 24.0 * sum(one.miner_usd_per_hour for one in self.leases if one.is_paid_now)


@dataclass(frozen=True, slots=True)
class Mine:
    """A miner at one moment."""

    hotkey: str
    epoch: int | None
    """The newest that was finished; None: none was."""
    netuid: int
    block: int
    finished_at: datetime | None
    neuron: Neuron | None
    """None: the hotkey has no place on the subnet."""
    reply: tuple[Reason, ...] | None
    """What was wrong with its agent's answer; None: it was not asked."""
    outcome: WeightOutcome | None
    meant: float | None
    """Its weight; None: the epoch has set none."""
    landed: float | None
    pay: Pay | None
    policy: Policy
    listed: int
    paid: int
    machines: tuple[Machine, ...]
    """Those of this page, the unpaid ones first."""
    page: int
    pages: int


class Miners:
    """Reads it; safe for threads."""

    def __init__(
        self, engine: sa.Engine, board: Board, policy: Policy, clock: Callable[[], float] = monotonic
    ) -> None:
        self._engine, self._board, self._clock = engine, board, clock
        self._state, self._rentals = State(engine), Rentals(engine)
        self._usual = policy
        self._policy: tuple[int, Policy] | None = None
        self._lock = threading.Lock()
        self._seen: OrderedDict[str, _Seen] = OrderedDict()

    def look(self, hotkey: str, page: int = 0) -> Mine:
        """A page of its machines, as they were within the last two seconds."""
        return self._look(hotkey, page)

    def one(self, hotkey: str, name: str) -> Mine:
        """The same with the one machine that the miner calls so; with none when it has no such machine."""
        return self._look(hotkey, name)

    def _look(self, hotkey: str, what: int | str) -> Mine:
        seen = self._seen_of(hotkey)
        with seen.lock:
            now = self._clock()
            found = seen.find(what, now)
            if found is None and isinstance(what, str) and not self._is_there(hotkey, what):
                what = _NOWHERE
                found = seen.find(what, now)
            return found or seen.keep(self._read(hotkey, what), what, now)

    def _is_there(self, hotkey: str, name: str) -> bool:
        snapshot, key = self._board.snapshot(), f"{hotkey}/{name}"
        return snapshot is not None and (key in snapshot.executors or key in snapshot.records)

    def _seen_of(self, hotkey: str) -> _Seen:
        with self._lock:
            seen = self._seen.setdefault(hotkey, _Seen())
            self._seen.move_to_end(hotkey)
            while len(self._seen) > KEPT:
                self._seen.popitem(last=False)
            return seen

    def _read(self, hotkey: str, what: int | str) -> Mine:
        snapshot = self._board.snapshot()
        if snapshot is None:
            return _nothing(hotkey, self._usual)
        policy = self._policy_of(snapshot.epoch)
        vector, outcome = self._state.meant_weights(snapshot.epoch)
        own = _own_keys(snapshot, hotkey)
        some, page, pages = _page(own, what, hotkey)
        with reading(self._engine) as connection:
            reply = _reply(connection, snapshot.epoch, hotkey)
            deposits = _deposits(connection, snapshot.epoch, some)
            beats = _beats(connection, some)
        leases = _by_machine(self._rentals.on_machines(some), policy)
        meant = _weight(vector.targets if vector else None, hotkey)
        scored = sum(snapshot.scores[key].score for key in own if key in snapshot.scores)
        pays = _Pays(meant, scored, snapshot)
        return Mine(
            hotkey=hotkey,
            epoch=snapshot.epoch,
            netuid=snapshot.netuid,
            block=snapshot.block,
            finished_at=snapshot.finished_at,
            neuron=snapshot.neurons.get(hotkey),
            reply=reply,
            outcome=outcome,
            meant=meant,
            landed=_weight(outcome.landed if outcome else None, hotkey),
            pay=None if meant is None else pays.of_share(meant),
            policy=policy,
            listed=sum(key in snapshot.executors for key in own),
            paid=sum(key in snapshot.scores and snapshot.scores[key].score > 0 for key in own),
            machines=tuple(
                Machine(
                    key=key,
                    name=key.partition("/")[2],
                    executor=snapshot.executors.get(key),
                    score=snapshot.scores.get(key),
                    proof=snapshot.verdicts[key].code if key in snapshot.verdicts else "",
                    record=snapshot.records.get(key) or ExecutorRecord(key),
                    terms=snapshot.terms.get(key),
                    price_refused=price_refused(snapshot, key, self._usual.renting),
                    deposited_rao=deposits.get(key, 0),
                    pay=pays.of_machine(snapshot.scores.get(key)),
                    beats=beats.get(key, ()),
                    leases=leases.get(key, ()),
                )
                for key in some
            ),
            page=page,
            pages=pages,
        )

    def _policy_of(self, epoch: int) -> Policy:
        """The policy that the epoch's scores were made by."""
        if self._policy is None or self._policy[0] != epoch:
            query = sa.select(tables.grounds.c.policy_values).where(tables.grounds.c.epoch == epoch)
            with reading(self._engine) as connection:
                text = connection.execute(query).scalar()
            self._policy = epoch, policy_of(text) if text else self._usual
        return self._policy[1]


class _Seen:
    """What was read of one miner within the last seconds."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._known: dict[int | str, tuple[float, Mine]] = {}

    def find(self, what: int | str, now: float) -> Mine | None:
        """What was read of it; a number behind the last page is that page."""
        self._known = {key: one for key, one in self._known.items() if now - one[0] < FRESH_S}
        for _, any_page in self._known.values():
            what = min(max(0, what), any_page.pages - 1) if isinstance(what, int) else what
        found = self._known.get(what)
        return found[1] if found else None

    def keep(self, read: Mine, what: int | str, now: float) -> Mine:
        """It was read at that moment."""
        place = read.page if isinstance(what, int) else what
        self._known[place] = now, read
        return read


@dataclass(frozen=True, slots=True)
class _Pays:
    """Shares of the emission as money, by the epoch's prices."""

    meant: float | None
    scored: float
    """All scores of the miner."""
    snapshot: Snapshot

    def of_share(self, share: float) -> Pay:
        tokens = {quote.name: quote.value for quote in self.snapshot.quotes if quote.kind == TOKEN}
        alpha = share * ALPHA_PER_DAY
        tao = alpha * tokens[ALPHA_TAO] if ALPHA_TAO in tokens else None
        usd = tao * tokens[TAO_USD] if tao is not None and TAO_USD in tokens else None
        return Pay(share, alpha, tao, usd)

    def of_machine(self, score: Score | None) -> Pay | None:
        """Its part of the miner's weight is that of its score."""
        if self.meant is None or score is None:
            return None
        return self.of_share(self.meant * score.score / self.scored if self.scored > 0 else 0.0)


def _nothing(hotkey: str, policy: Policy) -> Mine:
    return Mine(hotkey, None, 0, 0, None, None, None, None, None, None, None, policy, 0, 0, (), 0, 1)


def _own_keys(snapshot: Snapshot, hotkey: str) -> tuple[str, ...]:
    """Those of the newest epoch, unpaid ones first; then some that were listed before."""
    listed = [key for key, one in snapshot.executors.items() if one.miner_hotkey == hotkey]
    scores = snapshot.scores
    listed.sort(key=lambda key: (key in scores and scores[key].score > 0, key))
    gone = sorted(
        key for key in snapshot.records if key.startswith(f"{hotkey}/") and key not in snapshot.executors
    )
    return (*listed, *gone[:FORGOTTEN])


def _page(own: tuple[str, ...], what: int | str, hotkey: str) -> tuple[tuple[str, ...], int, int]:
    """The keys of a page, its number and how many there are; the page of one machine by its name."""
    pages = max(1, -(-len(own) // PAGE))
    if isinstance(what, str):
        key = f"{hotkey}/{what}"
        return ((key,) if key in own else ()), 0, pages
    page = min(max(0, what), pages - 1)
    return own[page * PAGE : (page + 1) * PAGE], page, pages


def _weight(targets: Iterable[WeightTarget] | None, hotkey: str) -> float | None:
    return None if targets is None else sum(one.weight for one in targets if one.hotkey == hotkey)


def _reply(connection: sa.Connection, epoch: int, hotkey: str) -> tuple[Reason, ...] | None:
    table = tables.miner_replies
    query = sa.select(table.c.reasons).where(table.c.epoch == epoch, table.c.hotkey == hotkey)
    text = connection.execute(query).scalar()
    return None if text is None else _REASONS.validate_json(text)


def _deposits(connection: sa.Connection, epoch: int, keys: Sequence[str]) -> dict[str, int]:
    table = tables.standings
    query = sa.select(table.c.executor_key, table.c.deposited_rao).where(
        table.c.epoch == epoch, table.c.executor_key.in_(keys)
    )
    return {str(key): int(rao) for key, rao in connection.execute(query)}


def _beats(connection: sa.Connection, keys: Sequence[str]) -> dict[str, tuple[Beat, ...]]:
    """The last closed epochs of these machines, the oldest first."""
    head, listed, scores = tables.epochs.c, tables.executors.c, tables.scores.c
    closed = sa.select(head.epoch).where(head.state != EpochState.OPEN.value)
    epochs = sorted(connection.execute(closed.order_by(head.epoch.desc()).limit(BEATS)).scalars())
    scored = sa.and_(scores.epoch == listed.epoch, scores.executor_key == listed.executor_key)
    query = (
        sa.select(listed.epoch, listed.executor_key, scores.score, scores.passed)
        .select_from(tables.executors.outerjoin(tables.scores, scored))
        .where(listed.epoch.in_(epochs), listed.executor_key.in_(keys))
    )
    found: dict[str, dict[int, Beat]] = defaultdict(dict)
    for epoch, key, score, passed in connection.execute(query):
        found[key][epoch] = Beat(epoch, is_listed=True, is_passed=(passed or 0) > 0, score=score or 0.0)
    missing = Beat(0, is_listed=False, is_passed=False, score=0.0)
    return {
        key: tuple(found[key].get(epoch, replace(missing, epoch=epoch)) for epoch in epochs) for key in keys
    }


def _by_machine(leases: Iterable[Rental], policy: Policy) -> Mapping[str, tuple[Held, ...]]:
    kept = 1.0 - policy.renting.platform_ppm / 1e6
    found: dict[str, list[Held]] = defaultdict(list)
    for one in leases:
        usd = one.micro_usd_per_hour / 1e6
        held = Held(
            mode=one.wish.mode,
            state=one.state,
            cards=len(one.card_uuids),
            since=one.active_at or one.requested_at,
            usd_per_hour=usd,
            is_paid_now=one.paid_from is not None,
            miner_usd_per_hour=usd * kept,
        )
        found[one.executor_key].append(held)
    return {key: tuple(some) for key, some in found.items()}


_REASONS = TypeAdapter(tuple[Reason, ...])
