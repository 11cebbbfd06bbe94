"""Replaying from the archive: an epoch and the scores that its weights add up are read, and the rule makes them again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from storage.history import archived_epochs, read_arrow, read_epoch
from storage.places import Place
from storage.records import WeightVector
from tasks.errors import SettingError
from tasks.scoring.replay import Replay, Standing, replay
from tasks.scoring.shares import Earned


def replay_epoch(root: Place, number: int) -> Replay:
    """An archived epoch, made again from the archive alone.

    SettingError when it is not archived; HistoryDamaged, SchemaUnknown when its files can't be read.
    """
    outcome = read_epoch(root, number, transcripts=False)
    if outcome is None:
        raise SettingError("--epoch", str(number), f"an epoch that is archived in {root}")
    earlier = _earlier(root, outcome.weights)
    if earlier is None:
        why = "its weights add up scores of earlier epochs that are not archived any more"
        return Replay(number, Standing.UNKNOWN, why=why, code_version=outcome.code_version)
    return replay(outcome, archived_scores(root, earlier))


def archived_scores(root: Place, epochs: Iterable[int]) -> Iterator[Earned]:
    """Every machine's score of these epochs, as the archive keeps it."""
    for epoch in epochs:
        table = read_arrow(root, "scores", epoch=epoch, columns=Earned._fields)
        yield from map(Earned, *(table[name].to_pylist() for name in Earned._fields))


def _earlier(root: Place, vector: WeightVector | None) -> list[int] | None:
    """The epochs before its own whose scores are in a vector; None when the first of them is gone."""
    if vector is None or vector.first_epoch is None or vector.first_epoch >= vector.epoch:
        return []
    found = [e for e in archived_epochs(root) if vector.first_epoch <= e < vector.epoch]
    return found if vector.first_epoch in found else None
