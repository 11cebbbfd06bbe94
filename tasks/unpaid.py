"""Scores that no weights have paid yet: what the archive tells, and the state where the archive can't.

Both know which weights were set and what machines scored, so that either may be lost, be of yesterday or be damaged:
nothing is paid twice for it, and no weights are held up by it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from storage.errors import StorageError
from storage.history import archived_epochs, read_arrow
from storage.state import SET
from tasks.epoch import EpochRun
from tasks.landing import FOUND, found_epoch
from tasks.replaying import archived_scores
from tasks.scoring.shares import Earned


def unpaid(run: EpochRun) -> tuple[int, list[Earned]]:
    """The first epoch whose scores wait for weights, this one when none does, and the scores of all before this one."""
    oldest = run.epoch - run.policy.weights.max_epochs
    archived = _archived(run, oldest)
    last = _last_paid(run, archived, run.state.last_set_epoch(run.epoch))
    since = oldest if last is None else max(last, oldest)
    told = run.state.unarchived_epochs(since, run.epoch)
    waiting = sorted({*run.state.closed_epochs(since, run.epoch), *(e for e in archived if e > since)})
    earned = [
        score for e in waiting for score in _scores_of(run, e, is_archived=e in archived and e not in told)
    ]
    return min(waiting, default=run.epoch), earned


def _archived(run: EpochRun, oldest: int) -> Sequence[int]:
    try:
        return [e for e in archived_epochs(run.edges.history) if oldest < e < run.epoch]
    except StorageError as error:
        run.note_incident(error)
        return ()


def _last_paid(run: EpochRun, archived: Iterable[int], known: int | None) -> int | None:
    """The newest epoch whose weights were set: by the state, or by the archive where that knows of a newer one."""
    paid = [] if known is None else [known]
    for epoch in sorted((e for e in archived if known is None or e > known), reverse=True):
        try:
            paid += _told_paid(run, epoch)
        except StorageError as error:
            run.note_incident(error)
        if paid and max(paid) >= epoch:
            break  # what older epochs tell is older
    return max(paid, default=None)


def _told_paid(run: EpochRun, epoch: int) -> list[int]:
    """The epochs of which this one's archive tells that their weights were set: its own, and those that it has found."""
    own = read_arrow(run.edges.history, "epochs", epoch=epoch, columns=["weight_status"])
    paid = [epoch for status in own["weight_status"].to_pylist() if status in SET]
    events = read_arrow(run.edges.history, "events", epoch=epoch, columns=["kind", "subject"])
    told = zip(events["kind"].to_pylist(), events["subject"].to_pylist(), strict=True)
    return paid + [found_epoch(subject) for kind, subject in told if kind == FOUND]


def _scores_of(run: EpochRun, epoch: int, *, is_archived: bool) -> Iterable[Earned]:
    """Every machine's score of a closed epoch: a full disk, or a file that is gone or can't be read, loses none."""
    if is_archived:
        try:
            if archived := list(archived_scores(run.edges.history, [epoch])):
                return archived
        except StorageError as error:
            run.note_incident(error)
    return _kept_scores(run, epoch)


def _kept_scores(run: EpochRun, epoch: int) -> Iterator[Earned]:
    outcome = run.state.load_outcome(epoch)
    for score in outcome.scores if outcome else ():
        yield Earned(score.executor_key, score.miner_hotkey, score.score)
