"""Keeping the history as steps: past days folded, old ones forgotten."""

from __future__ import annotations

import asyncio
import logging
from datetime import date

from storage.compaction import Folded, compact
from storage.errors import HistoryDamaged
from storage.places import Place
from storage.retention import Forgotten, Keep, forget, forgettable
from tasks.stepping import step

_log = logging.getLogger("subnet.history")


@step("fold past days", deadline_s=10_800.0)
async def fold(history: Place, today: date) -> list[Folded]:
    """Fold the days before this one; HistoryDamaged at the end when one of them has a file that can't be read."""
    return await asyncio.to_thread(_fold, history, today)


@step("forget old days", deadline_s=3_600.0)
async def forget_old(history: Place, keep: Keep, today: date) -> list[Forgotten]:
    """Forget what is older than the policy keeps it."""
    return await asyncio.to_thread(_forget, history, keep, today)


def _fold(history: Place, today: date) -> list[Folded]:
    done = list(compact(history, today))
    for one in done:
        _log.info("%s %s: %s files became %s", one.day, one.table, one.files_before, one.files_after)
    troubles = [one for one in done if one.trouble]
    if troubles:
        raise HistoryDamaged(
            f"{history} ({len(troubles)} of {len(done)} days and tables)", troubles[0].trouble
        )
    return done


def _forget(history: Place, keep: Keep, today: date) -> list[Forgotten]:
    old = forgettable(history, keep, today)
    for one in old:
        forget(history, one)
        _log.info("%s %s: %s forgotten, %s bytes", one.day, one.table, one.what, one.bytes)
    return old
