"""How often a validator's epochs come, and weights with them: as the chain's blocks and the subnet's tempo say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from deployments.sites import local_substrate
from flows.settings import Settings
from storage.records import BLOCKS_PER_EPOCH, Head
from tasks.edges.chain import Chain, ChainSettings
from tasks.errors import ChainAway


@dataclass(frozen=True, slots=True)
class Pace:
    """Of one subnet's chain, in seconds."""

    epoch_s: float
    """From one epoch to the next: all validators count them in blocks, whatever the tempo."""
    tempo_s: float
    """From one pay to the next; weights are set once in it."""

    @property
    def schedule_s(self) -> int:
        """Between two runs: never longer than an epoch, so that none is left out; a second run in one is skipped."""
        return max(1, int(self.epoch_s))

    def told(self) -> str:
        """In one sentence."""
        weights = max(1, round(self.tempo_s / self.epoch_s))
        every = "every epoch" if weights == 1 else f"about every {weights} epochs"
        return (
            f"an epoch every {self.schedule_s} s, weights {every} (once in a tempo of {self.tempo_s:.0f} s)"
        )


USUAL = Pace(BLOCKS_PER_EPOCH * 12.0, 361 * 12.0)
"""Of the public networks: 12 s a block, 361 blocks a tempo."""


def pace_of(head: Head) -> Pace:
    """The pace of the chain whose newest block this is."""
    tempo_blocks = max(1, head.next_epoch_block - head.last_epoch_block)
    return Pace(BLOCKS_PER_EPOCH * head.block_time_s, tempo_blocks * head.block_time_s)


def ask_pace(settings: Settings, say: Callable[[str], None]) -> Pace:
    """The pace of the chain that the settings name; the usual one, and said so, when it does not answer."""
    asked = ChainSettings(settings.network, settings.netuid, settings.chain_deadline_s, cache=settings.cache)
    chain = Chain(asked, substrate_factory=local_substrate(settings))
    try:
        return pace_of(chain.head())
    except ChainAway as error:
        say(f"The chain does not answer ({error}): the usual pace is taken. Repeat this when it does.")
        return USUAL
    finally:
        chain.close()
