"""The local subnet's other validators: they know the cast's truth and set weights by it, each tempo.

Without them our validator would be the whole consensus; with them a wrong vector of ours costs us dividends.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping

from deployments.localnet.cast import Cast
from storage.records import SubnetView, WeightOutcome, WeightStatus, WeightTarget
from tasks.edges.chain import Chain
from tasks.errors import ChainRefused, TransportError
from tasks.inspection.models import find
from tasks.policy import LOCALNET

RETRY_S = 2.0
_SET = (WeightStatus.CONFIRMED, WeightStatus.COMMITTED, WeightStatus.ALREADY_SET)


def true_targets(cast: Cast, hotkeys: Mapping[str, str], view: SubnetView) -> tuple[WeightTarget, ...]:
    """What the honest machines are worth by their models' market rates, the burn share with the owner.

    `hotkeys` are the miners' by name; miners that the view does not have are left out.
    """
    worth = {hotkeys[m.name]: _worth_usd_per_hour(cast, m.name) for m in cast.miners}
    found = {key: usd for key, usd in worth.items() if usd > 0 and view.by_hotkey(key) is not None}
    total, burn = sum(found.values()), LOCALNET.weights.burn_share if found else 1.0
    shares = {key: (1.0 - burn) * usd / total for key, usd in found.items()}
    shares[view.owner_hotkey] = shares.get(view.owner_hotkey, 0.0) + burn
    neurons = [n for n in view.neurons if shares.get(n.hotkey, 0.0) > 0]
    return tuple(WeightTarget(n.uid, n.hotkey, shares[n.hotkey]) for n in neurons)


async def keep_true_weights(chain: Chain, cast: Cast, hotkeys: Mapping[str, str]) -> None:
    """Set this validator's weights once in every tempo, for as long as the task lives."""
    set_in = -1
    while True:
        wait_s = RETRY_S
        try:
            view = await asyncio.to_thread(chain.view)
            if set_in != view.head.last_epoch_block:
                outcome = await asyncio.to_thread(_set, chain, true_targets(cast, hotkeys, view), view)
                set_in = view.head.last_epoch_block if outcome.status in _SET else set_in
                wait_s = max(RETRY_S, outcome.retry_after_blocks * view.head.block_time_s)
        except (TransportError, ChainRefused) as error:
            sys.stderr.write(f"witness: {error}\n")
        await asyncio.sleep(wait_s)


def _set(chain: Chain, targets: tuple[WeightTarget, ...], view: SubnetView) -> WeightOutcome:
    return chain.submit_weights(
        targets,
        version_key=LOCALNET.weights.version_key,
        epoch_began_block=view.head.last_epoch_block,
    )


def _worth_usd_per_hour(cast: Cast, miner: str) -> float:
    executors = next(m.executors for m in cast.miners if m.name == miner)
    honest = [(find(e.model), e.card_count) for e in executors if e.lie is None]
    return sum(model.base_price_usd_per_hour * count for model, count in honest if model is not None)
