"""One epoch in a process of its own: `python -m deployments.run_epoch FLOW POLICY RESULT_FILE`.

The commands start it and watch the state meanwhile; the process can be ended at any moment without harm to them.
The result file gets one JSON object: the flow run's id, and the error in one sentence when there is one.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import sys
from pathlib import Path

from flows.policies import named_policy
from flows.validate import SKIPPED
from storage.errors import StorageError
from tasks.errors import SubnetError, UserError


def main(arguments: list[str]) -> int:
    """Run the flow `module:function`; exit code 0 done, 1 our own trouble, 2 a user's mistake."""
    name, policy, result = arguments
    run_id, error = asyncio.run(_run(name, policy))
    report = {"flow_run_id": run_id, "error": None if error is None else f"{error}"}
    temporary = Path(f"{result}.{os.getpid()}")
    temporary.write_text(json.dumps(report), encoding="utf-8")
    temporary.replace(result)
    if error is None:
        return 0
    return 2 if isinstance(error, UserError) else 1


async def _run(name: str, policy: str) -> tuple[str, BaseException | None]:
    module, _, function = name.partition(":")
    flow = getattr(importlib.import_module(module), function)
    state = await flow(policy=named_policy(policy), return_state=True)
    run_id = str(state.state_details.flow_run_id)
    if state.name == SKIPPED:
        return run_id, UserError(state.message)
    if state.is_completed():
        return run_id, None
    failure = await state.aresult(raise_on_failure=False)
    if isinstance(failure, SubnetError | StorageError):
        return run_id, failure
    return run_id, SubnetError(f"{state.name}: {state.message}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
