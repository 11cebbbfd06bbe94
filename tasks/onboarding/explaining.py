"""What came of a run, for the Prefect UI: a table of machines, and what validators told of them."""

from __future__ import annotations

from prefect.artifacts import acreate_table_artifact

from tasks.onboarding.hearing import newest_told
from tasks.onboarding.work import Onboarding, Outcome
from tasks.stepping import is_in_flow_run, step


@step("explain", deadline_s=60.0)
async def explain(work: Onboarding) -> None:
    """Leave a table artifact with a row for each machine."""
    if is_in_flow_run():
        rows = [_row(work, outcome) for outcome in work.outcomes]
        await acreate_table_artifact(
            rows, key="machines-brought-in", description="Machines, and what came of them"
        )


def _row(work: Onboarding, outcome: Outcome) -> dict[str, object]:
    told = newest_told(work.folder, outcome.executor_id, 0)
    failure = outcome.failure
    return {
        "machine": outcome.machine.label,
        "name": outcome.executor_id,
        "came to": "done" if failure is None else f"{failure.step}: {failure.why}"[:300],
        "mend": "" if failure is None else failure.mend,
        "scores": ", ".join(f"{machine.score:.4g}" for _, _, machine in told),
        "reasons": ", ".join(sorted({r.code for _, _, m in told for r in m.reasons})),
        "left there": ", ".join(left.what for left in outcome.left)[:300],
    }
