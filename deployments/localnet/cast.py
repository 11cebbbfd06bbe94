"""Who plays on the local subnet: validators, miners, their executors, and what is false about some of them.

Pure values. Every address is a loopback address of its own: 127.0.0.2 upward for miners (the chain refuses
127.0.0.1), 127.0.1.1 upward for executors. Miners are registered in the order of this list.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from enum import StrEnum

_CARD_NAMES = uuid.UUID("6ab9d1f4-7b0e-4c39-9d2b-5f6f2f1f8e77")


class Lie(StrEnum):
    """What is false about a machine, or fails."""

    FOLDS = "folds"
    """Its cards have half the memory that they claim; the prover folds the addresses."""
    TWIN = "twin"
    """It lists a card that another miner's machine lists too."""
    ALIAS = "alias"
    """Its card is that of another machine of its miner, listed by a name of its own."""
    LAZY = "lazy"
    """It computes a tenth of the product."""
    OTHER_KEY = "other_key"
    """It answers with another host key than its miner announced."""
    HANGS = "hangs"
    """It accepts the session and never answers."""


@dataclass(frozen=True, slots=True)
class CastExecutor:
    """One machine: its cards, its address, and its lie if it has one."""

    executor_id: str
    address: str
    model: str
    """As nvidia-smi spells it."""
    card_count: int
    price_usd_per_hour: float
    lie: Lie | None = None
    twin_of: str | None = None
    """The machine whose first card this one lists, or has under another name."""

    @property
    def card_uuids(self) -> tuple[str, ...]:
        """The cards as nvidia-smi lists them; the same on every local subnet."""
        is_twin = self.lie is Lie.TWIN and self.twin_of is not None
        return tuple(
            _card_uuid(self.twin_of if is_twin else self.executor_id, i) for i in range(self.card_count)
        )

    @property
    def real_card_uuid(self) -> str:
        """The card that its first one really is."""
        return _card_uuid(self.twin_of or self.executor_id, 0)


def _card_uuid(owner: str | None, index: int) -> str:
    return f"GPU-{uuid.uuid5(_CARD_NAMES, f'{owner}/{index}')}"


@dataclass(frozen=True, slots=True)
class CastMiner:
    """One miner: where its agent listens, and its machines."""

    name: str
    address: str
    executors: tuple[CastExecutor, ...]


@dataclass(frozen=True, slots=True)
class CastValidator:
    """One validator and its stake on the subnet."""

    name: str
    stake_alpha: float


@dataclass(frozen=True, slots=True)
class Cast:
    """All who play: the owner, the validators (ours first), and the miners."""

    owner: str
    validators: tuple[CastValidator, ...]
    miners: tuple[CastMiner, ...]

    @property
    def executors(self) -> tuple[CastExecutor, ...]:
        """All machines, in the order of the miners."""
        return tuple(e for m in self.miners for e in m.executors)

    def miner_of(self, executor_id: str) -> CastMiner:
        """The miner that runs this machine."""
        return next(m for m in self.miners if any(e.executor_id == executor_id for e in m.executors))


CAST = Cast(
    owner="owner",
    validators=(
        CastValidator("validator", 4_000.0),
        CastValidator("witness-1", 3_500.0),
        CastValidator("witness-2", 2_500.0),
    ),
    miners=(
        CastMiner(
            "aurora",
            "127.0.0.2",
            (
                CastExecutor("aurora-1", "127.0.1.1", "NVIDIA H100 80GB HBM3", 8, 16.0),
                CastExecutor("aurora-2", "127.0.1.2", "NVIDIA A100-SXM4-80GB", 2, 2.4),
            ),
        ),
        CastMiner(
            "basalt",
            "127.0.0.3",
            (
                CastExecutor("basalt-1", "127.0.1.3", "NVIDIA GeForce RTX 4090", 4, 1.6),
                CastExecutor("basalt-2", "127.0.1.4", "NVIDIA L4", 1, 0.4),
                CastExecutor("basalt-3", "127.0.1.5", "NVIDIA A100-SXM4-80GB", 1, 1.0, Lie.FOLDS),
                CastExecutor("basalt-4", "127.0.1.11", "NVIDIA L40S", 1, 0.7, Lie.LAZY),
            ),
        ),
        CastMiner(
            "cinder",
            "127.0.0.4",
            (
                CastExecutor("cinder-1", "127.0.1.6", "NVIDIA L40S", 2, 1.5),
                CastExecutor("cinder-2", "127.0.1.7", "NVIDIA GeForce RTX 3090", 4, 0.8, Lie.OTHER_KEY),
                CastExecutor("cinder-3", "127.0.1.8", "NVIDIA H100 PCIe", 1, 1.8, Lie.HANGS),
            ),
        ),
        CastMiner(
            "dune",
            "127.0.0.5",
            (
                CastExecutor("dune-1", "127.0.1.9", "NVIDIA RTX A6000", 1, 0.5),
                CastExecutor(
                    "dune-2", "127.0.1.10", "NVIDIA GeForce RTX 4090", 1, 0.4, Lie.TWIN, twin_of="basalt-1"
                ),
                CastExecutor("dune-3", "127.0.1.12", "NVIDIA RTX A6000", 1, 0.5, Lie.ALIAS, twin_of="dune-1"),
            ),
        ),
    ),
)
