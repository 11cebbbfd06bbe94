"""One validation epoch.

    chain -> discover -> inspect -> prove -> score -> set weights -> chain, and all of it into the archive

A miner, a machine or a chain that is away costs only itself: the epoch goes on with what it has, says so, and
archives what it knows. Run it again after a kill -9 at any line: the next run finds what this one has saved.
"""

from __future__ import annotations

import os

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.edges import open_edges
from flows.policies import named_policy
from flows.settings import read_settings
from storage.records import EpochOutcome
from tasks.announcing import announce, announce_begin
from tasks.archiving import archive
from tasks.crew.opening import crewed
from tasks.discovery import executors_of
from tasks.epoch import Edges, EpochRun
from tasks.errors import EpochBusy
from tasks.explaining import explain, show_progress
from tasks.inspection.step import inspect
from tasks.opening import open_epoch
from tasks.policy import Policy
from tasks.pricing.step import learn_prices
from tasks.proof.step import prove
from tasks.scoring.step import score
from tasks.seeking import seek
from tasks.telling import tell
from tasks.weights import set_weights, were_set

SKIPPED = "Skipped"
"""The state of a run that found its epoch taken or done."""


@flow(name="validate", flow_run_name="epoch", persist_result=False)
async def validate(epoch: int | None = None, policy: Policy | None = None) -> State[None] | None:
    """Validate the subnet that the environment names (.env.example), as a deployment runs it.

    Without an epoch it is the one that the chain is in, without a policy that which SUBNET_POLICY names.
    What it finds is in the state and in the archive: Prefect walks through every field of a flow's result, a
    millisecond a machine.
    """
    settings = read_settings(os.environ)
    async with open_edges(settings) as edges:
        return await validate_or_skip(edges, epoch, policy or named_policy(settings.policy))


async def validate_or_skip(edges: Edges, epoch: int | None, policy: Policy) -> State[None] | None:
    """The epoch asked for; when none is and the present one is taken or done, the run is skipped and says so."""
    try:
        await validate_epoch(edges, epoch, policy)
    except EpochBusy as busy:
        if epoch is not None:
            raise
        return Completed(name=SKIPPED, message=str(busy))
    return None


async def validate_epoch(edges: Edges, epoch: int | None, policy: Policy) -> EpochOutcome:
    """The epoch itself, over whatever edges it is given."""
    with await open_epoch(edges, epoch, policy) as run:
        announce_begin(run)
        async with show_progress(run):
            try:
                await _work(run)
            except Exception as error:  # noqa: BLE001  the top of the flow: whatever it is, what is known is archived
                run.note_incident(error)
            outcome = await archive(run)
        await announce(run, outcome)
        await tell(run, outcome)
        await explain(run, outcome)
        return outcome


async def _work(run: EpochRun) -> None:
    if await were_set(run):
        return  # by a run that died: what they have paid must stay as it is
    replies = await seek(run)
    executors = executors_of(replies)
    async with crewed(run):
        reports = await inspect(run, executors)
        verdicts = await prove(run, executors, reports)
    await learn_prices(run, reports)
    scores = await score(run, executors, reports, verdicts)
    await set_weights(run, replies, scores)
