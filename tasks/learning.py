"""Learning from the archive: every archived epoch is counted once, and what all of them tell of a model is read once.

    history (Parquet) -> proved_days (state), an epoch at a time -> the populations that bounds come from

The days in the state hold nothing that the history does not: without them, the next epochs count it again. So a
process that is killed in between loses nothing, and no epoch is counted twice.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import NamedTuple

from storage.errors import StorageError
from storage.history import archived_since, read_passed
from storage.places import Place
from storage.records import ProvedEpoch
from storage.state import State
from tasks.policy import Policy
from tasks.proof.population import Populations, days_of, populations

_log = logging.getLogger("subnet.epoch")
MAX_COUNTED_AT_ONCE = 288
"""Two days of epochs: a state that knows nothing learns a month within fifteen epochs, the newest first."""


class Learned(NamedTuple):
    """What the archive tells, and the first thing of it that could not be read."""

    populations: Populations
    trouble: StorageError | None


def learn(history: Place, state: State, policy: Policy, now: datetime) -> Learned:
    """The populations of the last days of the policy; what can't be read costs itself, never the epoch."""
    since = (now.astimezone(UTC) - timedelta(days=policy.proof.history_days)).date().isoformat()
    try:
        trouble = _count_new(history, state, policy, since)
        state.forget_proofs(since)
        return Learned(populations(state.load_proved_days(since)), trouble)
    except StorageError as error:
        return Learned(MappingProxyType({}), error)


def _count_new(history: Place, state: State, policy: Policy, since: str) -> StorageError | None:
    """Count the archived epochs that are not counted yet; the first trouble with one of them."""
    counted = state.proved_epochs()
    new = [archived for archived in archived_since(history, since) if archived.epoch not in counted]
    troubles = [_count(history, state, policy, archived) for archived in new[:MAX_COUNTED_AT_ONCE]]
    return next((trouble for trouble in troubles if trouble is not None), None)


def _count(history: Place, state: State, policy: Policy, archived: ProvedEpoch) -> StorageError | None:
    try:
        proofs = read_passed(history, archived)
    except StorageError as error:
        _log.warning("epoch %s of the history teaches nothing: %s", archived.epoch, error)
        return error
    state.count_proofs(archived, days_of(proofs, archived.day, policy))
    return None
