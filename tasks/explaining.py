"""What an operator sees in the Prefect UI: progress while the epoch works, a table of scores, a page of reasons."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress

import httpx
from prefect import get_client
from prefect.artifacts import (
    acreate_markdown_artifact,
    acreate_progress_artifact,
    acreate_table_artifact,
    aupdate_progress_artifact,
)
from prefect.context import FlowRunContext
from prefect.exceptions import PrefectException

from storage.records import EpochOutcome, Look, Reason
from tasks.epoch import EpochRun
from tasks.scoring.bills import TERMS
from tasks.stepping import is_in_flow_run, step

_log = logging.getLogger("subnet.epoch")
PROGRESS_PERIOD_S = 5.0
MAX_MACHINES_SHOWN = 500
"""In the table: as many as a page of Prefect's UI can bear."""
MAX_MACHINES_EXPLAINED = 1_000
MAX_TEXT = 300
_MARKUP = re.compile(r"[\\`*_{}\[\]<>()#+!|~&]")
_ADDRESS = re.compile(r"://|(?<=www)\.|@", re.IGNORECASE)


@asynccontextmanager
async def show_progress(run: EpochRun) -> AsyncIterator[None]:
    """A progress artifact, brought up to date while the block runs; nothing outside of a flow run."""
    if not is_in_flow_run():
        yield
        return
    follower = asyncio.create_task(_follow(run))
    try:
        yield
    finally:
        follower.cancel()
        with suppress(asyncio.CancelledError):
            await follower


async def _follow(run: EpochRun) -> None:
    """Telemetry only: when the server is away there is no artifact, and the epoch goes on."""
    try:
        await _name_flow_run(f"epoch-{run.epoch}")
        artifact = await acreate_progress_artifact(
            0.0, key="epoch-progress", description=f"Epoch {run.epoch}"
        )
        shown = 0.0
        try:
            while True:
                await asyncio.sleep(PROGRESS_PERIOD_S)
                # While provers work nothing comes on, and each update is a write on Prefect's server.
                if (share := run.progress.share) != shown:
                    await aupdate_progress_artifact(artifact, share)
                    shown = share
        finally:
            await aupdate_progress_artifact(artifact, run.progress.share)
    except (PrefectException, httpx.HTTPError) as error:
        _log.warning("epoch %s has no progress artifact: %s", run.epoch, error)


async def _name_flow_run(name: str) -> None:
    """A run that the schedule started learns only now which epoch it is."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        return
    async with get_client() as client:
        await client.update_flow_run(context.flow_run.id, name=name)


@step("explain", deadline_s=60.0)
async def explain(run: EpochRun, outcome: EpochOutcome) -> None:
    """Leave the table artifact with every score's terms and the Markdown artifact that explains each zero."""
    if not is_in_flow_run():
        return
    await acreate_table_artifact(
        score_rows(outcome)[:MAX_MACHINES_SHOWN], key="epoch-scores", description=_about_scores(outcome)
    )
    if run.looks:
        await acreate_table_artifact(
            look_rows(run.looks),
            key="weights-landed",
            description=f"Epoch {outcome.epoch}: what landed of earlier weights against what was meant",
        )
    await acreate_markdown_artifact(
        explanation(outcome),
        key="epoch-reasons",
        description=f"Epoch {outcome.epoch}: why machines are not paid",
    )


def _about_scores(outcome: EpochOutcome) -> str:
    about, count = f"Epoch {outcome.epoch}: every score with its terms", len(outcome.scores)
    if count <= MAX_MACHINES_SHOWN:
        return about
    return f"{about}, the best {MAX_MACHINES_SHOWN} of {count}: `subnet show --epoch {outcome.epoch}` and the archive have all"


def score_rows(outcome: EpochOutcome) -> list[dict[str, object]]:
    """A row per machine, best first: the score and every term of its formula."""
    names = {e.key: e.executor_id for e in outcome.executors}
    return [
        {
            "miner": s.miner_uid,
            "executor": names.get(s.executor_key, s.executor_key),
            "score": _short(s.score),
            "model": s.model,
            "cards": s.card_count,
            **{name: _short(getattr(s, name)) for name in TERMS[s.formula] if name != "card_count"},
            "reasons": ", ".join(r.code for r in s.reasons if r.decides),
        }
        for s in sorted(outcome.scores, key=lambda s: (-s.score, s.executor_key))
    ]


def _short(number: float) -> float:
    """Four digits: shares of the emission are small."""
    return float(f"{number:.4g}")


def look_rows(looks: Iterable[Look]) -> list[dict[str, object]]:
    """A row per uid of each set of weights that is followed: what was meant and what our row on the chain holds."""
    return [
        {
            "epoch": seen.landing.epoch,
            "state": seen.landing.state.value,
            "uid": uid,
            "meant": round(seen.meant.get(uid, 0.0), 6),
            "landed": round(seen.landed.get(uid, 0.0), 6),
            "set at block": seen.landing.set_block,
        }
        for seen in looks
        for uid in sorted(seen.meant.keys() | seen.landed.keys())
    ]


def explanation(outcome: EpochOutcome) -> str:
    """Markdown: one section for each machine without pay, all its reasons at once, each with the mend."""
    names = {e.key: f"{e.executor_id} (miner {e.miner_uid})" for e in outcome.executors}
    zeros = [s for s in outcome.scores if s.score == 0.0]
    lines = [
        f"# Epoch {outcome.epoch}",
        "",
        f"{len(zeros)} of {len(outcome.scores)} machines are not paid.",
        "",
    ]
    for incident in outcome.incidents:
        lines += [f"**{incident.code}** {plain(incident.got)}: {plain(incident.mend)}", ""]
    for reply in outcome.replies:
        if reply.reasons:
            lines += [f"## Miner {reply.uid}", "", *_list(reply.reasons), ""]
    for score in zeros[:MAX_MACHINES_EXPLAINED]:
        lines += [f"## {names.get(score.executor_key, score.executor_key)}", "", *_list(score.reasons), ""]
    left_out = len(zeros) - MAX_MACHINES_EXPLAINED
    if left_out > 0:
        lines += [
            f"And {left_out} more: `subnet show --epoch {outcome.epoch}` and the archive have all of them.",
            "",
        ]
    return "\n".join(lines)


def _list(reasons: Iterable[Reason]) -> list[str]:
    """One point a reason, those that decide first: the UI cuts wide tables off."""
    return [
        f"- **{r.code}** ({_weight_of(r)}): got {plain(r.got)}; wanted {plain(r.wanted)}. *{plain(r.mend)}*"
        for r in sorted(reasons, key=lambda r: not r.decides)
    ]


def _weight_of(reason: Reason) -> str:
    severity = reason.severity.value.replace("_", " ")
    return f"{severity}, in shadow: without effect" if reason.is_shadow else severity


def plain(text: str) -> str:
    """Foreign text as text: nothing of it is read as Markdown, HTML or an address to link to.

    With backslashes, since one of the UI's two readers shows entities as they are written; and a word joiner (U+2060,
    not seen) in addresses, since the other makes links of them whatever stands before.
    """
    shown = "".join(c if c.isprintable() else " " for c in text[:MAX_TEXT])
    return _ADDRESS.sub("\u2060\\g<0>", _MARKUP.sub(r"\\\g<0>", shown))
