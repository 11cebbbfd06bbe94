"""What everybody may know of the validator's epochs, read from its state at most once a second however many look.

Board.look() -> Look       the newest epoch with its phases, those before it, weights as meant and as the chain has them
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

import sqlalchemy as sa

from storage.records import EpochState, EpochSummary, Neuron, Phase, WeightOutcome, WeightVector
from storage.snapshots import Snapshot, Snapshots
from storage.state import State

EPOCHS = 48
FRESH_S = 1.0
MOST_SHARES = 256
"""Of a subnet no more hotkeys have a weight."""


@dataclass(frozen=True, slots=True)
class Share:
    """One hotkey's part of the emission; None: not told."""

    uid: int
    hotkey: str
    is_owner: bool
    """Where what nobody earned goes."""
    meant: float | None
    landed: float | None
    incentive: float | None


@dataclass(frozen=True, slots=True)
class Look:
    """The network at one moment."""

    epochs: tuple[EpochSummary, ...]
    """The newest first."""
    phases: tuple[Phase, ...]
    """Of the newest."""
    weights_epoch: int | None
    """The newest closed epoch, whose weights these are."""
    outcome: WeightOutcome | None
    shares: tuple[Share, ...]
    """The largest first."""
    validators: tuple[Neuron, ...]
    """Those with a permit, the most stake first."""
    block: int = 0
    """Of the snapshot that validators and incentives are of."""

    @property
    def disagreement(self) -> float | None:
        """The part of the emission that all validators together pay elsewhere than our weights mean; None: nothing is known."""
        meant = sum(one.meant or 0.0 for one in self.shares)
        paid = sum(one.incentive or 0.0 for one in self.shares)
        if meant <= 0 or paid <= 0:
            return None
        return sum(abs((one.meant or 0.0) / meant - (one.incentive or 0.0) / paid) for one in self.shares) / 2

    @property
    def newest(self) -> EpochSummary | None:
        """The one at work, or the last."""
        return self.epochs[0] if self.epochs else None


class Board:
    """Reads it; safe for threads."""

    def __init__(self, engine: sa.Engine, clock: Callable[[], float] = monotonic) -> None:
        self._state, self._snapshots, self._clock = State(engine), Snapshots(engine), clock
        self._lock = threading.Lock()
        self._seen: Look | None = None
        self._seen_at = float("-inf")

    def look(self) -> Look:
        """As it was within the last second."""
        with self._lock:
            if self._seen is None or self._clock() - self._seen_at >= FRESH_S:
                self._seen, self._seen_at = self._read(), self._clock()
            return self._seen

    def snapshot(self) -> Snapshot | None:
        """The last finished epoch: one copy in memory for all who ask."""
        with self._lock:
            return self._snapshots.newest()

    def _read(self) -> Look:
        epochs = self._state.latest_epochs(EPOCHS)
        closed = next((one for one in epochs if one.state is not EpochState.OPEN), None)
        vector, outcome = (
            self._state.meant_weights(closed.header.epoch) if closed is not None else (None, None)
        )
        snapshot = self._snapshots.newest()
        return Look(
            epochs=epochs,
            phases=self._state.read_phases(epochs[0].header.epoch) if epochs else (),
            weights_epoch=closed.header.epoch if closed is not None else None,
            outcome=outcome,
            shares=shares_of(vector, outcome, snapshot),
            validators=validators_of(snapshot),
            block=snapshot.block if snapshot else 0,
        )


def shares_of(
    vector: WeightVector | None, outcome: WeightOutcome | None, snapshot: Snapshot | None
) -> tuple[Share, ...]:
    """Everybody who has a part, or was meant to."""
    meant = {target.hotkey: target for target in (vector.targets if vector else ())}
    landed = {target.hotkey: target for target in (outcome.landed if outcome else ())}
    neurons = snapshot.neurons if snapshot else {}
    earning = {hotkey for hotkey, neuron in neurons.items() if neuron.incentive > 0}
    shares = [
        Share(
            uid=next(
                one.uid for one in (meant.get(key), landed.get(key), neurons.get(key)) if one is not None
            ),
            hotkey=key,
            is_owner=snapshot is not None and key == snapshot.owner_hotkey,
            meant=meant[key].weight if key in meant else None,
            landed=landed[key].weight if key in landed else None,
            incentive=neurons[key].incentive if key in neurons else None,
        )
        for key in {*meant, *landed, *earning}
    ]
    ordered = sorted(shares, key=lambda one: (-(one.meant or 0.0), -(one.incentive or 0.0), one.uid))
    return tuple(ordered[:MOST_SHARES])


def validators_of(snapshot: Snapshot | None) -> tuple[Neuron, ...]:
    """Who may set weights."""
    permitted = [neuron for neuron in snapshot.neurons.values() if neuron.has_permit] if snapshot else []
    return tuple(sorted(permitted, key=lambda one: (-one.stake_rao, one.uid)))
