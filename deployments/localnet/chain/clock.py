"""The lazy clock: which block it is, from anchors and the time, without anybody producing blocks.

An anchor says at which moment a block began; later blocks follow every block time. A new anchor is
set when the chain stood still (nobody looked at it), when the machine's clock was put back, and when
blocks are advanced by hand. Older blocks keep the anchors of their own time.
"""

from __future__ import annotations

from dataclasses import dataclass

CLOCK_STEP_BACK_MS = 5_000
"""A clock that went back further than this was put back; less is jitter between processes."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """A block and when it began, in milliseconds of Unix time."""

    block: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class Clock:
    """Anchors in ascending order of block, and the block time."""

    anchors: tuple[Anchor, ...]
    block_time_ms: int

    def block_at(self, now_ms: int) -> int:
        """The newest block at this moment; never below the one before the last anchor."""
        last = self.anchors[-1]
        return max(last.block + (now_ms - last.at_ms) // self.block_time_ms, last.block - 1)

    def begins_ms(self, block: int) -> int:
        """When this block began, or will begin; never decreasing over blocks."""
        following = (i for i, a in enumerate(self.anchors) if a.block > block)
        after = next(following, len(self.anchors))
        anchor = self.anchors[max(after - 1, 0)]
        begins = anchor.at_ms + (block - anchor.block) * self.block_time_ms
        return min([begins, *(a.at_ms for a in self.anchors[after:])])


def reanchored(clock: Clock, *, now_ms: int, seen_ms: int, idle_ms: int) -> Anchor | None:
    """The anchor to add at this access, None when the clock just goes on.

    `seen_ms` is a recent access and `idle_ms` how long nobody may look before the chain counts as
    having stood still. The recorded access is up to a tenth of that old, so the chain goes on from there.
    """
    if now_ms - seen_ms > idle_ms:
        return Anchor(clock.block_at(seen_ms + idle_ms // 10) + 1, now_ms)
    if now_ms < seen_ms - CLOCK_STEP_BACK_MS:
        return Anchor(clock.block_at(seen_ms + idle_ms // 10) + 1, now_ms)
    return None


class ManualClock:
    """A time that only moves when told to: whoever sleeps on it moves it."""

    def __init__(self, at_s: float = 1_800_000_000.0) -> None:
        self.at_s = at_s

    def now(self) -> float:
        """Seconds of Unix time."""
        return self.at_s

    async def sleep(self, seconds: float) -> None:
        """Move on."""
        self.at_s += seconds
