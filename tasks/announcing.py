"""Telling Prefect what became of an epoch, as events: automations of the server wait for them, and for those that do not come.

An event is telemetry: one that is lost costs a message, never an epoch. Outside of a flow run nothing is sent.
"""

from __future__ import annotations

import asyncio
import logging

from prefect.events import emit_event

from storage.errors import StorageError
from storage.pass_rates import pass_rates
from storage.records import EpochOutcome, PassRate
from tasks.alarming import EPOCH_BEGAN, EPOCH_ENDED, News, news_of
from tasks.epoch import EpochRun
from tasks.stepping import is_in_flow_run

_log = logging.getLogger("subnet.epoch")
ABOUT = "subnet.about"
"""The label by which the automations tell each thing for itself."""
REMEMBERED = 36
"""Epochs that a pass rate is compared with: six hours of 50 blocks of 12 s."""


def announce_begin(run: EpochRun) -> None:
    """The epoch is ours, and begins."""
    if is_in_flow_run():
        send(News(EPOCH_BEGAN, f"epoch {run.epoch} began"), run.view.netuid, run.epoch)


async def announce(run: EpochRun, outcome: EpochOutcome) -> None:
    """The epoch is archived, and this is what an operator has to hear of it."""
    if not is_in_flow_run():
        return
    before = await asyncio.to_thread(_rates, run)
    for news in news_of(outcome, before):
        send(news, outcome.netuid, outcome.epoch)


def _rates(run: EpochRun) -> tuple[PassRate, ...]:
    try:
        return pass_rates(run.edges.engine, run.epoch, REMEMBERED)
    except StorageError as error:
        _log.warning("epoch %s: no pass rates to compare with: %s", run.epoch, error)
        return ()


def send(news: News, netuid: int, epoch: int) -> None:
    """Into Prefect's queue; it is sent beside the flow."""
    is_of_epoch = news.event in {EPOCH_BEGAN, EPOCH_ENDED}
    resource = epoch_resource(netuid, epoch) if is_of_epoch else validator_resource(netuid)
    emit_event(
        news.event,
        {
            "prefect.resource.id": resource,
            "prefect.resource.name": f"subnet {netuid}, epoch {epoch}",
            ABOUT: news.about,
        },
        payload={"message": news.message, "epoch": epoch, **news.facts},
    )


def epoch_resource(netuid: int, epoch: int | str) -> str:
    """The name of an epoch among Prefect's resources."""
    return f"subnet.epoch.{netuid}.{epoch}"


def validator_resource(netuid: int) -> str:
    """The name of a validator among Prefect's resources."""
    return f"subnet.validator.{netuid}"
