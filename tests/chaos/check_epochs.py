"""Of epochs: what is archived is whole, weights follow from it, and each was set once and stands on the chain as it was meant."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import sqlalchemy as sa

from deployments.localnet.chain.ledger import Ledger, LedgerError
from storage.database import reading
from storage.errors import HistoryDamaged, SchemaUnknown
from storage.folders import MANIFEST, manifest_of, parts_of
from storage.history import archived_epochs, read_epoch
from storage.records import LandingState, WeightStatus, WeightTarget
from storage.state import State
from storage.tables import epochs, landings, weight_sets
from tasks.replaying import replay_epoch
from tasks.scoring.replay import Standing
from tests.chaos.found import Check, check

SET = frozenset({WeightStatus.CONFIRMED, WeightStatus.ALREADY_SET, WeightStatus.COMMITTED})
CALL = "SubtensorModule.set_mechanism_weights"
U16 = 65_535
ROUNDING = 2 / U16
KEPT_BLOCKS = 4_000
"""The local chain keeps every block's state for so long."""
GOOD = frozenset({Standing.IDENTICAL, Standing.NOTHING})


@dataclass(frozen=True, slots=True)
class Sent:
    """Weights that the chain has taken of us."""

    block: int
    row: dict[int, int]
    """As it stood at the end of that block."""


def check_weights(history: Path, engine: sa.Engine) -> Check:
    """Scores and weights of every archived epoch are those that its archived inputs give: faults have changed none."""
    wrong, count = [], 0
    for epoch in archived_epochs(history):
        try:
            made = replay_epoch(history, epoch)
        except (HistoryDamaged, SchemaUnknown) as error:
            wrong.append(f"epoch {epoch} can't be read: {error}")
            continue
        count += 1
        if made.standing not in GOOD:
            wrong.append(f"epoch {epoch} is {made.standing}: {made.why or made.differences[:2]}")
        outcome = read_epoch(history, epoch, transcripts=False)
        meant, _ = State(engine).meant_weights(epoch)
        if outcome and outcome.weights and meant and outcome.weights.targets != meant.targets:
            wrong.append(f"epoch {epoch} is archived with other weights than the state has")
    return check("weights are those that the archive gives", count, "epochs", wrong)


def check_closed(history: Path, engine: sa.Engine) -> Check:
    """Every epoch that was begun is over, and archived."""
    with reading(engine) as connection:
        rows = connection.execute(sa.select(epochs.c.epoch, epochs.c.state, epochs.c.is_archived)).all()
    archived = set(archived_epochs(history))
    wrong = [f"epoch {r.epoch} is {r.state}" for r in rows if r.state == "open"]
    wrong += [f"epoch {r.epoch} is {r.state} and not in the history" for r in rows if r.epoch not in archived]
    wrong += [
        f"epoch {r.epoch} is in the history, its row says no"
        for r in rows
        if r.epoch in archived and not r.is_archived
    ]
    return check("epochs are closed and archived", len(rows), "epochs", wrong)


def check_set_once(chain: Path, hotkey: str, engine: sa.Engine) -> Check:
    """As many weights on the chain as epochs whose state says that they were set, each with the row that was meant."""
    sent = sent_weights(chain, hotkey)
    with reading(engine) as connection:
        rows = connection.execute(
            sa.select(weight_sets.c.epoch, weight_sets.c.status, weight_sets.c.block)
        ).all()
        differing = (
            connection.execute(
                sa.select(landings.c.epoch).where(landings.c.state == LandingState.DIFFERS.value)
            )
            .scalars()
            .all()
        )
    state = State(engine)
    meant = {r.epoch: state.meant_weights(r.epoch)[0] for r in rows}
    done = sorted(r.epoch for r in rows if r.status in SET)
    wrong = [f"weights of epoch {epoch} landed as others than meant" for epoch in differing]
    wrong += unpaired(sent, {e: v.targets for e, v in meant.items() if v is not None}, done)
    return check("weights are set once, as they were meant", len(sent), "times set", wrong)


def unpaired(
    sent: Sequence[Sent], meant: dict[int, Sequence[WeightTarget]], done: Sequence[int]
) -> Iterator[str]:
    """What of sent and meant does not come in pairs, in order: an epoch's weights are sent once or never."""
    if len(sent) != len(done):
        yield f"weights were set {len(sent)} times on the chain (blocks {[s.block for s in sent]}), of epochs {list(done)}"
        return
    for one, epoch in zip(sent, done, strict=True):
        if one.row and not is_same(one.row, meant.get(epoch, ())):
            yield f"at block {one.block} the chain's row {one.row} is not what epoch {epoch} meant: {meant.get(epoch)}"


def is_same(row: dict[int, int], targets: Iterable[WeightTarget]) -> bool:
    """Whether the chain's row shares the emission out as was meant, but for its rounding."""
    whole, wanted = sum(row.values()), {t.uid: t.weight for t in targets if t.weight > 0}
    total = sum(wanted.values())
    shares = {uid: value / whole for uid, value in row.items()} if whole else {}
    return total > 0 and all(
        abs(shares.get(uid, 0.0) - wanted.get(uid, 0.0) / total) <= ROUNDING
        for uid in shares.keys() | wanted.keys()
    )


def sent_weights(chain: Path, hotkey: str) -> list[Sent]:
    """All weights of a hotkey that the chain has taken, oldest first."""
    with closing(sqlite3.connect(f"file:{chain}?mode=ro", uri=True)) as connection:
        query = "SELECT block FROM extrinsics WHERE call = ? AND signer = ? AND error = '' ORDER BY block, position"
        blocks = [int(block) for (block,) in connection.execute(query, (CALL, hotkey))]
    with closing(Ledger(chain)) as ledger:
        newest = ledger.head()
        return [
            Sent(block, _row(ledger, block, hotkey) if block > newest - KEPT_BLOCKS else {})
            for block in blocks
        ]


def _row(ledger: Ledger, block: int, hotkey: str) -> dict[int, int]:
    try:
        state = ledger.state_at(block)
    except LedgerError:
        return {}
    return next((dict(n.weights) for n in state.neurons if n.hotkey == hotkey), {})


def check_history(history: Path) -> Check:
    """Every file that counts opens, has its rows and says whose they are; nothing half is left beside them."""
    wrong, count = [], 0
    for folder in sorted(history.glob("*/day=*")):
        seen: Counter[int] = Counter()
        for part in parts_of(folder):
            count += 1
            try:
                table = pq.read_table(part.path)
            except (OSError, ValueError) as error:
                wrong.append(f"{part.path} can't be read: {error}")
                continue
            seen.update(part.epochs)
            if "epoch" in table.column_names and (
                strange := set(table["epoch"].to_pylist()) - set(part.epochs)
            ):
                wrong.append(f"{part.path} has rows of {sorted(strange)}")
        wrong += [f"{folder} has epoch {epoch} twice" for epoch, times in seen.items() if times > 1]
        manifest_of(folder)
    wrong += [f"{path} is half a file" for path in half_files(history)]
    return check("no half file in the history", count, "files", wrong)


def half_files(history: Path) -> list[Path]:
    """What a writer that was killed has left and nobody has written over or removed."""
    return sorted(
        p
        for p in history.rglob("*")
        if p.is_file()
        and p.suffix != ".parquet"
        and p.name != MANIFEST
        and p.name[0] != "_"
        and not p.name.startswith(".writing")
    )
