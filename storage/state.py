"""The state: every query has a name here, every transaction is short, and only the run that holds an epoch writes to it.

An epoch moves `open -> finished | abandoned` by compare-and-set. Each write first renews the run's sign of life
on the epoch's row, under its token; where that row is not there any more, nothing is written (EpochLost).
What is saved for a machine replaces what was saved before, so a step that is repeated changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any, TypeVar

import sqlalchemy as sa

from storage import tables
from storage.convert import json_of, record_of, row_of
from storage.database import reading, writing
from storage.errors import EpochLost
from storage.records import (
    Ban,
    BanKind,
    EpochHeader,
    EpochOutcome,
    EpochState,
    EpochSummary,
    Event,
    Executor,
    ExecutorRecord,
    Grounds,
    HostReport,
    Landing,
    LandingState,
    MinerReply,
    Phase,
    ProvedDay,
    ProvedEpoch,
    Reason,
    Score,
    Standing,
    Verdict,
    WeightOutcome,
    WeightStatus,
    WeightVector,
)
from storage.runs import Run, is_alive, this_run
from storage.upserts import add_up as _add_up
from storage.upserts import insert_into as _insert
from storage.upserts import upsert as _upsert

SET = (WeightStatus.CONFIRMED.value, WeightStatus.COMMITTED.value, WeightStatus.ALREADY_SET.value)
"""Weights that the chain has taken: their scores are paid."""
AnyRow = sa.Row[tuple[Any, ...]]
AnySelect = sa.Select[tuple[Any, ...]]
R = TypeVar("R", HostReport, Verdict, Score, Standing)


@dataclass(frozen=True, slots=True)
class Opening:
    """What came of asking for an epoch."""

    is_ours: bool
    is_resumed: bool
    """The epoch was begun by a run that died, with the same policy: what it saved is still there, and still holds."""
    refusal: str
    """Empty, or why the epoch is not ours, in one sentence."""
    unarchived: tuple[int, ...]
    """Closed epochs that the history does not have yet, ascending."""


def _now() -> datetime:
    return datetime.now(UTC)


class State:
    """The state as one run sees it; safe to use from several threads."""

    def __init__(
        self, engine: sa.Engine, *, run: Run | None = None, clock: Callable[[], datetime] = _now
    ) -> None:
        self._engine = engine
        self._run = run or this_run()
        self._clock = clock

    # --- the life of an epoch ----------------------------------------------------------------------

    def open_epoch(self, header: EpochHeader) -> Opening:
        """Take the epoch for this run if it is free, or was left open by a run that is dead.

        Other epochs that dead runs left open are abandoned. Refused when the epoch is closed already, or a run that
        lives holds an open epoch.
        """
        now = self._clock()
        with writing(self._engine) as connection:
            holders = _open_epochs(connection)
            live = [row for row in holders if self._lives(row, now)]
            if live:
                refusal = f"epoch {live[0].epoch} is still at work in process {live[0].run_pid} on {live[0].run_host}"
                return Opening(is_ours=False, is_resumed=False, refusal=refusal, unarchived=())
            if (owner := _owner(connection)) is not None and owner != (
                header.netuid,
                header.validator_hotkey,
            ):
                refusal = f"this state belongs to validator {owner[1]} on subnet {owner[0]}: give each its own SUBNET_DATABASE_URL"
                return Opening(is_ours=False, is_resumed=False, refusal=refusal, unarchived=())
            _abandon(connection, [row.epoch for row in holders if row.epoch != header.epoch])
            begun = next((row for row in holders if row.epoch == header.epoch), None)
            was_open = begun is not None
            is_same = begun is not None and begun.policy_digest == header.policy_digest
            is_ours = (
                self._take_over(connection, header, now) if was_open else self._begin(connection, header, now)
            )
            return Opening(
                is_ours=is_ours,
                is_resumed=is_ours and is_same,
                refusal="" if is_ours else f"epoch {header.epoch} is closed already",
                unarchived=_unarchived(connection),
            )

    def finish_epoch(self, epoch: int) -> bool:
        """Close the epoch; False when it is not open under this run any more."""
        with writing(self._engine) as connection:
            return self._close(connection, epoch, EpochState.FINISHED)

    def finish_counted(
        self, epoch: int, records: Iterable[ExecutorRecord], events: Iterable[Event] = ()
    ) -> None:
        """Count the epoch into these machines' records, with what that led to, and close it: in one piece.

        A run that died between the two would be resumed by one that scores with records in which its epoch is already.
        """
        with writing(self._engine) as connection:
            self._hold(connection, epoch)
            _count(connection, epoch, records, events)
            self._close(connection, epoch, EpochState.FINISHED)

    def abandon_epoch(self, epoch: int) -> bool:
        """Give the epoch up, keeping what is known of it; False when it is not open under this run any more."""
        with writing(self._engine) as connection:
            return self._close(connection, epoch, EpochState.ABANDONED)

    def mark_archived(self, epoch: int) -> None:
        """The history has this closed epoch now: its transcripts and evidence need not be kept twice."""
        with writing(self._engine) as connection:
            connection.execute(
                sa.update(tables.epochs)
                .where(tables.epochs.c.epoch == epoch, tables.epochs.c.state != EpochState.OPEN.value)
                .values(is_archived=True)
            )
            for table, column in ((tables.verdicts, "transcript"), (tables.miner_replies, "evidence")):
                connection.execute(sa.update(table).where(table.c.epoch == epoch).values({column: b""}))

    def is_archived(self, epoch: int) -> bool:
        """Whether the history has this epoch, and the state its transcripts no longer."""
        query = sa.select(tables.epochs.c.is_archived).where(tables.epochs.c.epoch == epoch)
        with reading(self._engine) as connection:
            return bool(connection.execute(query).scalar())

    def prune(self, keep: int) -> int:
        """Forget all but the newest `keep` epochs, as far as they are archived; how many were forgotten."""
        newest = sa.select(tables.epochs.c.epoch).order_by(tables.epochs.c.epoch.desc()).limit(keep)
        with writing(self._engine) as connection:
            old = sa.and_(tables.epochs.c.is_archived, tables.epochs.c.epoch.not_in(newest.scalar_subquery()))
            return connection.execute(sa.delete(tables.epochs).where(old)).rowcount

    # --- what an epoch finds out -------------------------------------------------------------------

    def set_phase(self, phase: Phase) -> None:
        """Where a phase of the epoch stands."""
        with writing(self._engine) as connection:
            self._hold(connection, phase.epoch)
            _upsert(connection, tables.phases, [row_of(phase)])

    def save_discovery(
        self, epoch: int, replies: Iterable[MinerReply], executors: Iterable[Executor]
    ) -> None:
        """The miners' answers and their executors; what an earlier run knew of machines that are gone is dropped."""
        machines = [{"epoch": epoch, "executor_key": e.key, **row_of(e)} for e in executors]
        told = tuple(replies)
        answers = [
            {"epoch": epoch, **row_of(reply, "executors", "swaps", "terms", "certificates")} for reply in told
        ]
        listed = {str(machine["executor_key"]) for machine in machines}
        terms = [row_of(t) | {"epoch": epoch} for r in told for t in r.terms if t.executor_key in listed]
        with writing(self._engine) as connection:
            self._hold(connection, epoch)
            connection.execute(sa.delete(tables.miner_replies).where(tables.miner_replies.c.epoch == epoch))
            known = connection.execute(_keys_of(epoch)).scalars().all()
            gone = set(known) - listed
            # Their reports, verdicts and scores go with them.
            _delete_of(connection, tables.executors, epoch, gone)
            _upsert(connection, tables.miner_replies, answers)
            _upsert(connection, tables.executors, machines)
            connection.execute(sa.delete(tables.offer_terms).where(tables.offer_terms.c.epoch == epoch))
            _upsert(connection, tables.offer_terms, terms)

    def last_listed(self, epoch: int, hotkeys: Iterable[str]) -> tuple[Executor, ...]:
        """The machines of these miners in the newest epoch before this one."""
        wanted = frozenset(hotkeys)
        newest = sa.select(sa.func.max(tables.epochs.c.epoch)).where(tables.epochs.c.epoch < epoch)
        with reading(self._engine) as connection:
            before = connection.execute(newest).scalar()
            found = () if before is None else _executors(connection, before)
            return tuple(e for e in found if e.miner_hotkey in wanted)

    def save_reports(self, epoch: int, reports: Iterable[HostReport]) -> None:
        """What inspection told of some machines; a dead run's verdicts and scores of them rest on older reports, and go."""
        rows = [row_of(report) | {"epoch": epoch} for report in reports]
        with writing(self._engine) as connection:
            self._hold(connection, epoch)
            _upsert(connection, tables.reports, rows)
            for table in (tables.verdicts, tables.scores):
                _delete_of(connection, table, epoch, (str(row["executor_key"]) for row in rows))

    def save_verdicts(self, epoch: int, verdicts: Iterable[Verdict]) -> None:
        """The proofs of some machines."""
        self._save(epoch, tables.verdicts, [row_of(verdict) for verdict in verdicts])

    def save_grounds(self, epoch: int, grounds: Grounds) -> None:
        """What scores are about to be made from, in one piece: what a dead run has kept is replaced."""
        rows = [row_of(standing) | {"epoch": epoch} for standing in grounds.standings]
        with writing(self._engine) as connection:
            self._hold(connection, epoch)
            connection.execute(sa.delete(tables.standings).where(tables.standings.c.epoch == epoch))
            _upsert(connection, tables.standings, rows)
            _upsert(connection, tables.grounds, [row_of(grounds, "standings") | {"epoch": epoch}])

    def save_scores(self, epoch: int, scores: Iterable[Score]) -> None:
        """The scores of some machines."""
        self._save(epoch, tables.scores, [row_of(score) for score in scores])

    def save_weights(self, vector: WeightVector, outcome: WeightOutcome | None = None) -> None:
        """What is to be set on the chain, before it is tried, and again with what came of it."""
        unknown = dict.fromkeys(field.name for field in fields(WeightOutcome))
        row = row_of(vector) | (row_of(outcome) if outcome else unknown)
        self._save(vector.epoch, tables.weight_sets, [row])

    def weights_in_doubt(self, epoch: int, newest: int) -> tuple[WeightVector, ...]:
        """Vectors that were meant, and nobody saw what became of them: of this epoch, and of the `newest` before it.

        Newest first; those older than the last that is known to be set are settled by it.
        """
        table = tables.weight_sets
        in_doubt = sa.or_(table.c.status.is_(None), table.c.status == WeightStatus.UNKNOWN.value)
        query = (
            sa.select(table)
            .where(in_doubt, table.c.epoch <= epoch)
            .order_by(table.c.epoch.desc())
            .limit(newest)
        )
        with reading(self._engine) as connection:
            since = _last_set(connection, epoch)
            rows = connection.execute(query.where(table.c.epoch > (since or -1))).mappings()
            return tuple(record_of(WeightVector, row) for row in rows)

    def last_set_epoch(self, before: int) -> int | None:
        """The newest epoch before this one whose weights are known to be set; None when there is none."""
        with reading(self._engine) as connection:
            return _last_set(connection, before - 1)

    def last_set_block(self, before: int) -> int:
        """The block at which the last weights of an earlier epoch were set, as far as it is known; -1 for none."""
        table = tables.weight_sets
        query = sa.select(sa.func.max(table.c.block)).where(table.c.status.in_(SET), table.c.epoch < before)
        with reading(self._engine) as connection:
            found = connection.execute(query).scalar()
        return -1 if found is None else int(found)

    def settle_weights(self, vector: WeightVector, outcome: WeightOutcome, event: Event) -> bool:
        """Keep what became of a vector in doubt, of a closed epoch too, with its event; False when somebody else has."""
        table = tables.weight_sets
        in_doubt = sa.or_(table.c.status.is_(None), table.c.status == WeightStatus.UNKNOWN.value)
        settled = sa.update(table).where(table.c.epoch == vector.epoch, in_doubt).values(row_of(outcome))
        with writing(self._engine) as connection:
            if connection.execute(settled).rowcount != 1:
                return False
            _note(connection, [event])
            return True

    def unarchived_epochs(self, since: int, before: int) -> tuple[int, ...]:
        """Closed epochs after `since` and before `before` that the history does not have, ascending."""
        with reading(self._engine) as connection:
            return tuple(epoch for epoch in _unarchived(connection) if since < epoch < before)

    def closed_epochs(self, since: int, before: int) -> tuple[int, ...]:
        """Closed epochs after `since` and before `before` that are not forgotten, ascending."""
        epoch = tables.epochs.c.epoch
        query = sa.select(epoch).where(~_IS_OPEN, epoch > since, epoch < before).order_by(epoch)
        with reading(self._engine) as connection:
            return tuple(connection.execute(query).scalars())

    def open_landings(self) -> tuple[Landing, ...]:
        """Weights that were set and are still followed, oldest first."""
        is_open = tables.landings.c.state == LandingState.OPEN.value
        query = sa.select(tables.landings).where(is_open).order_by(tables.landings.c.epoch)
        with reading(self._engine) as connection:
            return tuple(record_of(Landing, row) for row in connection.execute(query).mappings())

    def follow_weights(self, landing: Landing) -> None:
        """Begin to follow weights that were set; those that are followed already stay as they are."""
        insert_row = row_of(landing)
        with writing(self._engine) as connection:
            connection.execute(
                _insert(connection, tables.landings).values(insert_row).on_conflict_do_nothing()
            )

    def save_look(self, seen: Landing, event: Event | None = None) -> bool:
        """Keep what a look at our row told, with the event of its end; False when it has ended already."""
        table = tables.landings
        look = sa.update(table).where(table.c.epoch == seen.epoch, table.c.state == LandingState.OPEN.value)
        with writing(self._engine) as connection:
            if connection.execute(look.values(row_of(seen))).rowcount != 1:
                return False
            if event is not None:
                connection.execute(sa.insert(tables.events).values(row_of(event)))
            return True

    def meant_weights(self, epoch: int) -> tuple[WeightVector | None, WeightOutcome | None]:
        """What an epoch wanted to set, and what is known of it."""
        with reading(self._engine) as connection:
            return _weights(connection, epoch)

    def save_incidents(self, epoch: int, incidents: tuple[Reason, ...]) -> None:
        """All that went wrong on our own side or the chain's so far."""
        with writing(self._engine) as connection:
            self._hold(connection, epoch, incidents=json_of(incidents))

    # --- what all epochs know of a machine ---------------------------------------------------------

    def load_records(self) -> dict[str, ExecutorRecord]:
        """What earlier epochs know of every machine, by its key."""
        with reading(self._engine) as connection:
            rows = connection.execute(sa.select(tables.executor_records)).mappings()
            return {str(row["executor_key"]): record_of(ExecutorRecord, row) for row in rows}

    def update_records(
        self, epoch: int, records: Iterable[ExecutorRecord], events: Iterable[Event] = ()
    ) -> bool:
        """Count the epoch into these machines' records, with what that led to, exactly once; False when it is already."""
        with writing(self._engine) as connection:
            self._hold(connection, epoch)
            return _count(connection, epoch, records, events)

    def swap_cards(self, epoch: int, before: ExecutorRecord, after: ExecutorRecord, event: Event) -> bool:
        """Put a machine's record on its swapped cards, and note it, where it still is as it was; False where it is not."""
        was, now = row_of(before), row_of(after)
        table = tables.executor_records
        same = [
            table.c[name].is_not_distinct_from(was[name])
            for name in ("executor_key", "swapped_at", "card_uuids")
        ]
        with writing(self._engine) as connection:
            self._hold(connection, epoch)
            if connection.execute(sa.update(table).where(*same).values(now)).rowcount == 0:
                return False
            _note(connection, [event])
            return True

    def forget_records(self, before_epoch: int) -> int:
        """Drop the records of machines that no epoch from this one on has counted; how many."""
        old = tables.executor_records.c.last_epoch < before_epoch
        with writing(self._engine) as connection:
            return connection.execute(sa.delete(tables.executor_records).where(old)).rowcount

    # --- what all epochs know of a model -----------------------------------------------------------

    def proved_epochs(self) -> frozenset[int]:
        """The archived epochs whose passed proofs are counted into the days."""
        with reading(self._engine) as connection:
            return frozenset(connection.execute(sa.select(tables.proved_epochs.c.epoch)).scalars())

    def count_proofs(self, counted: ProvedEpoch, days: Iterable[ProvedDay]) -> bool:
        """Add an archived epoch's passed proofs to their day, exactly once; False when it is counted already.

        Whoever reads the archive may count it: what is archived does not change any more.
        """
        rows = [row_of(day) for day in days]
        with writing(self._engine) as connection:
            mark = _insert(connection, tables.proved_epochs).values(row_of(counted)).on_conflict_do_nothing()
            if connection.execute(mark).rowcount == 0:
                return False
            _add_up(connection, tables.proved_days, rows, "proofs", "sum_kb_s")
            return True

    def load_proved_days(self, since: str) -> tuple[ProvedDay, ...]:
        """The machines' passed proofs from this day on (YYYY-MM-DD)."""
        columns = [tables.proved_days.c[field.name] for field in fields(ProvedDay)]
        query = sa.select(*columns).where(tables.proved_days.c.day >= since)
        with reading(self._engine) as connection:
            # 30 rows a machine: all columns are plain values, so the record is built from the row itself.
            return tuple(ProvedDay(*row) for row in connection.execute(query).all())

    def forget_proofs(self, before: str) -> int:
        """Drop the days before this one (YYYY-MM-DD), and that their epochs are counted; how many rows of days."""
        with writing(self._engine) as connection:
            connection.execute(sa.delete(tables.proved_epochs).where(tables.proved_epochs.c.day < before))
            old = sa.delete(tables.proved_days).where(tables.proved_days.c.day < before)
            return connection.execute(old).rowcount

    # --- bans --------------------------------------------------------------------------------------

    def add_ban(self, ban: Ban) -> bool:
        """Ban from now on, and note it; False when the subject is banned already."""
        with writing(self._engine) as connection:
            ended = sa.delete(tables.bans).where(*_of_ban(ban.kind, ban.subject))
            connection.execute(ended.where(tables.bans.c.until <= ban.since))
            added = _insert(connection, tables.bans).values(row_of(ban)).on_conflict_do_nothing()
            if connection.execute(added).rowcount == 0:
                return False
            _note(connection, [_banned(ban)])
            return True

    def lift_ban(self, kind: BanKind, subject: str, lifted_by: str) -> bool:
        """End a ban before its time, and note it; False when there is none."""
        with writing(self._engine) as connection:
            lifted = sa.delete(tables.bans).where(*_of_ban(kind, subject))
            if connection.execute(lifted).rowcount == 0:
                return False
            _note(connection, [Event(self._clock(), "BAN_LIFTED", subject, f"{kind}, by {lifted_by}")])
            return True

    def active_bans(self, now: datetime) -> tuple[Ban, ...]:
        """The bans that hold at this moment, by kind and subject."""
        return tuple(ban for ban in self.all_bans() if ban.until is None or ban.until > now)

    def all_bans(self) -> tuple[Ban, ...]:
        """All bans that were not lifted, those that have run out too."""
        query = sa.select(tables.bans).order_by(tables.bans.c.kind, tables.bans.c.subject)
        with reading(self._engine) as connection:
            return tuple(record_of(Ban, row) for row in connection.execute(query).mappings())

    # --- what happens between epochs ---------------------------------------------------------------

    def note_event(self, event: Event) -> None:
        """Keep what happened; the next epoch that is closed takes it into the archive."""
        with writing(self._engine) as connection:
            _note(connection, [event])

    # --- reading back ------------------------------------------------------------------------------

    def read_phases(self, epoch: int) -> tuple[Phase, ...]:
        """The phases of an epoch in the order in which they began."""
        with reading(self._engine) as connection:
            return _phases(connection, epoch)

    def latest_epochs(self, count: int) -> tuple[EpochSummary, ...]:
        """The newest epochs, newest first."""
        with reading(self._engine) as connection:
            return tuple(_summary(row) for row in connection.execute(_latest(count)).mappings())

    def load_proved(
        self, epoch: int
    ) -> tuple[tuple[Executor, ...], tuple[HostReport, ...], tuple[Verdict, ...]]:
        """The machines of an epoch that have a verdict, with their reports; verdicts without their transcripts."""
        bare = [column for column in tables.verdicts.columns if column.name != "transcript"]
        query = sa.select(*bare).where(tables.verdicts.c.epoch == epoch)
        with reading(self._engine) as connection:
            rows = connection.execute(query).mappings()
            verdicts = tuple(record_of(Verdict, row, transcript=b"") for row in rows)
            tried = {verdict.executor_key for verdict in verdicts}
            executors = tuple(e for e in _executors(connection, epoch) if e.key in tried)
            reports = _all(connection, tables.reports, HostReport, epoch)
        return executors, tuple(r for r in reports if r.executor_key in tried), verdicts

    def load_outcome(self, epoch: int) -> EpochOutcome | None:
        """Everything that is known of an epoch, machines in the order of their keys; None when there is no such epoch.

        An epoch that is not closed ends now. Transcripts and evidence of an archived epoch are empty: the history
        has them.
        """
        with reading(self._engine) as connection:
            head = connection.execute(_of_epoch(tables.epochs, epoch)).mappings().one_or_none()
            if head is None:
                return None
            executors = _executors(connection, epoch)
            weights, weight_outcome = _weights(connection, epoch)
            return record_of(
                EpochOutcome,
                {**head, "finished_at": head["finished_at"] or self._clock()},
                replies=_replies(connection, epoch, executors),
                executors=executors,
                reports=_all(connection, tables.reports, HostReport, epoch),
                verdicts=_all(connection, tables.verdicts, Verdict, epoch),
                scores=_all(connection, tables.scores, Score, epoch),
                weights=weights,
                weight_outcome=weight_outcome,
                grounds=_grounds(connection, epoch),
                phases=_phases(connection, epoch),
                events=_events(connection, epoch),
            )

    def load_end(self, known: EpochOutcome) -> EpochOutcome:
        """An epoch that was read before it was closed, with what that has added: its end, its phases, what it led to."""
        with reading(self._engine) as connection:
            head = connection.execute(_of_epoch(tables.epochs, known.epoch)).mappings().one()
            return replace(
                known,
                state=EpochState(head["state"]),
                finished_at=head["finished_at"],
                phases=_phases(connection, known.epoch),
                events=_events(connection, known.epoch),
            )

    # --- compare and set ---------------------------------------------------------------------------

    def _lives(self, row: AnyRow, now: datetime) -> bool:
        run = Run(row.run_token, row.run_host, row.run_boot_id, row.run_pid, row.run_started_ticks)
        return run != self._run and is_alive(run, row.touched_at, now)

    def _begin(self, connection: sa.Connection, header: EpochHeader, now: datetime) -> bool:
        row = row_of(header) | self._signature(now)
        row |= {"state": EpochState.OPEN.value, "incidents": "[]", "is_counted": False, "is_archived": False}
        insert = _insert(connection, tables.epochs).values(row).on_conflict_do_nothing()
        return connection.execute(insert).rowcount == 1

    def _take_over(self, connection: sa.Connection, header: EpochHeader, now: datetime) -> bool:
        """The dead run's epoch under our token: newly pinned, without its phases, with the begin that it had."""
        row = row_of(header, "epoch", "started_at") | self._signature(now)
        connection.execute(sa.delete(tables.phases).where(tables.phases.c.epoch == header.epoch))
        taken = sa.update(tables.epochs).where(tables.epochs.c.epoch == header.epoch, _IS_OPEN).values(row)
        return connection.execute(taken).rowcount == 1

    def _close(self, connection: sa.Connection, epoch: int, state: EpochState) -> bool:
        now = self._clock()
        values = {"state": state.value, "finished_at": now, "touched_at": now}
        closing = sa.update(tables.epochs).where(*self._ours(epoch)).values(values)
        if connection.execute(closing).rowcount != 1:
            return False
        unclaimed = tables.events.c.epoch.is_(None)
        connection.execute(sa.update(tables.events).where(unclaimed).values(epoch=epoch))
        return True

    def _save(self, epoch: int, table: sa.Table, rows: Sequence[dict[str, object]]) -> None:
        with writing(self._engine) as connection:
            self._hold(connection, epoch)
            _upsert(connection, table, [{**row, "epoch": epoch} for row in rows])

    def _hold(self, connection: sa.Connection, epoch: int, **values: object) -> None:
        """Renew the sign of life on our open epoch, which also keeps every other run away until the transaction ends."""
        held = sa.update(tables.epochs).where(*self._ours(epoch)).values(touched_at=self._clock(), **values)
        if connection.execute(held).rowcount != 1:
            raise EpochLost(epoch)

    def _ours(self, epoch: int) -> tuple[sa.ColumnElement[bool], ...]:
        return (tables.epochs.c.epoch == epoch, tables.epochs.c.run_token == self._run.token, _IS_OPEN)

    def _signature(self, now: datetime) -> dict[str, object]:
        return {f"run_{name}": value for name, value in asdict(self._run).items()} | {"touched_at": now}


_IS_OPEN = tables.epochs.c.state == EpochState.OPEN.value


def _open_epochs(connection: sa.Connection) -> Sequence[AnyRow]:
    query = sa.select(tables.epochs).where(_IS_OPEN).order_by(tables.epochs.c.epoch).with_for_update()
    return connection.execute(query).all()


def _abandon(connection: sa.Connection, epochs: Sequence[int]) -> None:
    values = {"state": EpochState.ABANDONED.value, "finished_at": tables.epochs.c.touched_at}
    connection.execute(
        sa.update(tables.epochs).where(tables.epochs.c.epoch.in_(epochs), _IS_OPEN).values(values)
    )


def _unarchived(connection: sa.Connection) -> tuple[int, ...]:
    epoch = tables.epochs.c.epoch
    query = sa.select(epoch).where(~_IS_OPEN, tables.epochs.c.is_archived.is_(False)).order_by(epoch)
    return tuple(connection.execute(query).scalars())


def _owner(connection: sa.Connection) -> tuple[int, str] | None:
    """Subnet and hotkey of the newest epoch: whose weights and records these are."""
    columns = (tables.epochs.c.netuid, tables.epochs.c.validator_hotkey)
    newest = sa.select(*columns).order_by(tables.epochs.c.epoch.desc()).limit(1)
    row = connection.execute(newest).one_or_none()
    return None if row is None else (int(row.netuid), str(row.validator_hotkey))


def _keys_of(epoch: int) -> sa.Select[tuple[str]]:
    return sa.select(tables.executors.c.executor_key).where(tables.executors.c.epoch == epoch)


def _delete_of(connection: sa.Connection, table: sa.Table, epoch: int, keys: Iterable[str]) -> None:
    """An epoch's rows of these machines."""
    gone = sa.delete(table).where(table.c.epoch == epoch, table.c.executor_key == sa.bindparam("gone"))
    if parameters := [{"gone": key} for key in keys]:
        connection.execute(gone, parameters)


def _of_epoch(table: sa.Table, epoch: int) -> AnySelect:
    """All columns of a table's rows of one epoch, in the order of the primary key."""
    return sa.select(table).where(table.c.epoch == epoch).order_by(*table.primary_key.columns)


def _latest(count: int) -> AnySelect:
    listed = sa.select(sa.func.count()).where(tables.executors.c.epoch == tables.epochs.c.epoch)
    paid = sa.select(sa.func.count()).where(
        tables.scores.c.epoch == tables.epochs.c.epoch, tables.scores.c.score > 0
    )
    query: AnySelect = sa.select(tables.epochs).order_by(tables.epochs.c.epoch.desc()).limit(count)
    return query.add_columns(
        listed.scalar_subquery().label("executors"), paid.scalar_subquery().label("paid")
    )


def _summary(row: sa.RowMapping) -> EpochSummary:
    header = record_of(EpochHeader, row)
    return EpochSummary(header, EpochState(row["state"]), row["finished_at"], row["executors"], row["paid"])


def _all(connection: sa.Connection, table: sa.Table, kind: type[R], epoch: int) -> tuple[R, ...]:
    return tuple(record_of(kind, row) for row in connection.execute(_of_epoch(table, epoch)).mappings())


def _executors(connection: sa.Connection, epoch: int) -> tuple[Executor, ...]:
    rows = connection.execute(_of_epoch(tables.executors, epoch)).mappings()
    return tuple(record_of(Executor, row) for row in rows)


def _replies(connection: sa.Connection, epoch: int, executors: Sequence[Executor]) -> tuple[MinerReply, ...]:
    rows = connection.execute(_of_epoch(tables.miner_replies, epoch)).mappings()
    return tuple(
        record_of(MinerReply, row, executors=tuple(e for e in executors if e.miner_hotkey == row["hotkey"]))
        for row in rows
    )


def _phases(connection: sa.Connection, epoch: int) -> tuple[Phase, ...]:
    rows = connection.execute(_of_epoch(tables.phases, epoch)).mappings()
    phases = [record_of(Phase, row) for row in rows]
    return tuple(sorted(phases, key=lambda phase: (phase.started_at, phase.name)))


def _events(connection: sa.Connection, epoch: int) -> tuple[Event, ...]:
    rows = connection.execute(_of_epoch(tables.events, epoch)).mappings()
    return tuple(record_of(Event, row) for row in rows)


def _grounds(connection: sa.Connection, epoch: int) -> Grounds | None:
    row = connection.execute(_of_epoch(tables.grounds, epoch)).mappings().one_or_none()
    if row is None:
        return None
    return record_of(Grounds, row, standings=_all(connection, tables.standings, Standing, epoch))


def _weights(connection: sa.Connection, epoch: int) -> tuple[WeightVector | None, WeightOutcome | None]:
    row = connection.execute(_of_epoch(tables.weight_sets, epoch)).mappings().one_or_none()
    if row is None:
        return None, None
    vector = record_of(WeightVector, row)
    return vector, None if row["status"] is None else record_of(WeightOutcome, row)


def _of_ban(kind: BanKind, subject: str) -> tuple[sa.ColumnElement[bool], ...]:
    return (tables.bans.c.kind == kind.value, tables.bans.c.subject == subject)


def _banned(ban: Ban) -> Event:
    until = f"until {ban.until:%Y-%m-%d %H:%M} UTC" if ban.until else "until it is lifted"
    return Event(ban.since, "BANNED", ban.subject, f"{ban.kind}, {until}, by {ban.banned_by}: {ban.reason}")


def _count(
    connection: sa.Connection, epoch: int, records: Iterable[ExecutorRecord], events: Iterable[Event]
) -> bool:
    counted = (
        sa.update(tables.epochs)
        .where(tables.epochs.c.epoch == epoch, tables.epochs.c.is_counted.is_(False))
        .values(is_counted=True)
    )
    if connection.execute(counted).rowcount == 0:
        return False
    rows = [row_of(record) | {"last_epoch": epoch} for record in records]
    _upsert(connection, tables.executor_records, rows)
    _note(connection, events)
    return True


def _note(connection: sa.Connection, events: Iterable[Event]) -> None:
    if rows := [row_of(event) for event in events]:
        connection.execute(sa.insert(tables.events), rows)


def _last_set(connection: sa.Connection, until: int) -> int | None:
    table = tables.weight_sets
    query = sa.select(sa.func.max(table.c.epoch)).where(table.c.status.in_(SET), table.c.epoch <= until)
    return connection.execute(query).scalar()
