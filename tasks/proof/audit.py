"""An archived epoch's proofs judged again: read in parts, in as many threads as there are cores.

The kernels hold no lock while they compute, so that threads of one process use all cores; reading the transcripts does
not. Few transcripts are in memory at once, whatever the epoch's size.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from storage.history import read_epoch, read_transcripts
from storage.places import Place
from tasks.errors import SettingError
from tasks.proof.evidence import (
    ArchivedEpoch,
    Evidence,
    Standing,
    archived_epoch,
    held_together,
    judge_again,
    paid_unseen,
)

CARDS_AT_ONCE = 64
"""Enough to fill the lanes: four segments a card are 256 walks, 1,024 chains."""

Wanted = Callable[[str], bool]
"""Whether the proof of this executor key is to be judged."""


@dataclass(frozen=True, slots=True)
class Audit:
    """What came of an epoch's proofs."""

    epoch: int
    evidence: tuple[Evidence, ...]
    """In the order of the archive."""
    is_policy_known: bool
    """Whether form, parameters and bounds could be held against the epoch's policy."""
    listed: int
    """Wanted machines that the epoch knows, proved or not."""
    untried: int
    """Of these, the ones that inspection let through and that have no verdict."""
    wall_s: float
    cpu_s: float
    """Of the whole process, all threads together."""

    @property
    def cards(self) -> int:
        """Cards whose arithmetic was done again."""
        return sum(one.cards for one in self.evidence)

    @property
    def leased(self) -> int:
        """Machines whose proof was a small one, since they were leased, as V says."""
        return sum(one.is_leased for one in self.evidence)

    @property
    def cpu_ms_a_card(self) -> float:
        """Reading the archive included; 0 when there was no card."""
        return 1_000 * self.cpu_s / self.cards if self.cards else 0.0

    def count(self, standing: Standing) -> int:
        """Machines that came out so."""
        return Counter(one.standing for one in self.evidence)[standing]

    @property
    def holds(self) -> bool:
        """Whether nothing differs and nothing is damaged."""
        return not self.count(Standing.DIFFERS) and not self.count(Standing.DAMAGED)


def audit_epoch(
    root: Place, number: int, wanted: Wanted, threads: int, advance: Callable[[int, int], None]
) -> Audit:
    """Judge an archived epoch again; `advance` is told how many machines of how many are done.

    SettingError when the epoch is not archived; HistoryDamaged, SchemaUnknown when its files can't be read.
    """
    began_s, cpu_began_s = time.perf_counter(), time.process_time()
    outcome = read_epoch(root, number, transcripts=False)
    if outcome is None:
        raise SettingError("--epoch", str(number), f"an epoch that is archived in {root}")
    epoch = archived_epoch(outcome)
    machines = sum(wanted(v.executor_key) for v in outcome.verdicts)
    parts = _parts(((k, t) for k, t in read_transcripts(root, number) if wanted(k)), epoch)
    evidence: list[Evidence] = []
    for judged in _in_threads(parts, epoch, threads):
        evidence += judged
        advance(len(evidence), machines)
    return Audit(
        epoch=number,
        evidence=(*held_together(evidence), *paid_unseen(epoch, wanted)),
        is_policy_known=epoch.policy is not None,
        listed=sum(wanted(key) for key in epoch.executors.keys() | epoch.verdicts.keys()),
        untried=sum(
            r.may_be_proved and r.executor_key not in epoch.verdicts and wanted(r.executor_key)
            for r in outcome.reports
        ),
        wall_s=time.perf_counter() - began_s,
        cpu_s=time.process_time() - cpu_began_s,
    )


Part = list[tuple[str, bytes]]


def _parts(transcripts: Iterable[tuple[str, bytes]], epoch: ArchivedEpoch) -> Iterator[Part]:
    """Parts of about `CARDS_AT_ONCE` cards, as the archived verdicts count them."""
    part: Part = []
    cards = 0
    for key, content in transcripts:
        part.append((key, content))
        cards += max(1, len(epoch.verdicts[key].cards))
        if cards >= CARDS_AT_ONCE:
            yield part
            part, cards = [], 0
    if part:
        yield part


def _in_threads(parts: Iterable[Part], epoch: ArchivedEpoch, threads: int) -> Iterator[list[Evidence]]:
    """The parts judged in their order, never more than two a thread in memory."""
    waiting: deque[Future[list[Evidence]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for part in parts:
            if len(waiting) >= 2 * threads:
                yield waiting.popleft().result()
            waiting.append(pool.submit(judge_again, part, epoch))
        while waiting:
            yield waiting.popleft().result()
