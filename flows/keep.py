"""Keeping the history: past days become few files, and what is older than the settings keep it is forgotten.

It touches no day that the validator still writes to, and can be stopped at any line (docs/history.md).
"""

from __future__ import annotations

import os
from datetime import UTC, datetime

from prefect import flow

from flows.settings import read_settings
from storage.retention import Keep
from tasks.keeping import fold, forget_old


@flow(name="keep", flow_run_name="keep", persist_result=False)
async def keep() -> None:
    """Fold the days before today and forget the old ones, by the settings of the environment, as a deployment runs it."""
    settings = read_settings(os.environ)
    today = datetime.now(UTC).date()
    policy = Keep(settings.keep_transcripts_days or None, settings.keep_days or None)
    await forget_old(settings.history, policy, today)
    await fold(settings.history, today)
