"""Asking the chain for the weights of validators, over a connection of its own that is closed afterwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from flows.settings import Settings

FRESH_S = 120.0
DEADLINE_S = 20.0
MOST = 8
"""Validators, those with most stake first."""


@dataclass(frozen=True, slots=True)
class ChainRows:
    """What validators have set, as the chain has it."""

    block: int = 0
    rows: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """By the validator's hotkey, the share of each hotkey."""
    fault: str = ""
    """Why it could not be read; empty when it was."""


def failed(error: Exception) -> ChainRows:
    """What is said when it could not be read; what an error says itself may name an address of ours."""
    return ChainRows(fault=type(error).__name__)


def ask_chain(settings: Settings, substrate: Callable[[], object] | None) -> ChainRows:
    """The rows at the newest block. Raises ChainAway and others of the chain's edge."""
    from tasks.edges.chain import Chain, ChainSettings  # noqa: PLC0415  the SDK is half a second of import

    chain = Chain(
        ChainSettings(settings.network, settings.netuid, DEADLINE_S, cache=settings.cache),
        substrate_factory=substrate,
    )
    try:
        head, rows = chain.rows(MOST)
    finally:
        chain.close()
    return ChainRows(
        head.block, {hotkey: {one.hotkey: one.weight for one in row} for hotkey, row in rows.items()}
    )
