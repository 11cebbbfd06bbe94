"""Bans: a miner or a card that is not paid whatever it proves. A lease that runs is left alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple

from storage.records import Ban, BanKind, Executor, ExecutorRecord, HostReport, Reason, Severity

CODES: Mapping[BanKind, str] = {BanKind.MINER: "MINER_BANNED", BanKind.CARD: "CARD_BANNED"}
BAN_CODES = frozenset(CODES.values())
BANNED_WHILE_LEASED = "BANNED_WHILE_LEASED"
_MEND = (
    "Write to whoever runs this validator, with the machine's name, the epoch and why the ban is wrong; what is banned "
    "in fact is to be taken out of the listing."
)


class Banned(NamedTuple):
    """A machine's report, and the ban that it is under."""

    report: HostReport
    ban: Ban | None


def with_bans(
    reports: Iterable[HostReport],
    executors: Iterable[Executor],
    records: Mapping[str, ExecutorRecord],
    bans: Iterable[Ban],
    leased_keys: frozenset[str],
) -> tuple[Banned, ...]:
    """The reports in their order, each banned machine's with a reason.

    An idle one fails. A leased one is only told so, and inspected and proved on: whoever rents it has done nothing;
    scoring then pays nothing for it.
    """
    miners = {executor.key: executor.miner_hotkey for executor in executors}
    by_subject = {(ban.kind, ban.subject): ban for ban in bans}
    return tuple(
        _judged(report, _ban_of(report, miners[report.executor_key], records, by_subject), leased_keys)
        for report in reports
    )


def banned_pay(code: str) -> Reason:
    """Why a leased machine under a ban is not paid."""
    return Reason(
        code, Severity.FAIL, "a ban; the machine's lease goes on", "no ban of the miner or its cards", _MEND
    )


def _ban_of(
    report: HostReport,
    miner_hotkey: str,
    records: Mapping[str, ExecutorRecord],
    bans: Mapping[tuple[BanKind, str], Ban],
) -> Ban | None:
    """The miner's own, or that of the first banned card: of those listed, or known where it lists none."""
    record = records.get(report.executor_key)
    listed = [card.uuid for card in report.facts.cards] or list(record.card_uuids if record else ())
    cards = (bans.get((BanKind.CARD, uuid.lower())) for uuid in sorted(listed))
    return bans.get((BanKind.MINER, miner_hotkey)) or next((ban for ban in cards if ban), None)


def _judged(report: HostReport, ban: Ban | None, leased_keys: frozenset[str]) -> Banned:
    if ban is None:
        return Banned(report, None)
    until = f"until {ban.until:%Y-%m-%d %H:%M} UTC" if ban.until else "until it is lifted"
    got = f"{ban.subject} is banned since {ban.since:%Y-%m-%d}, {until}: {ban.reason}"[:300]
    if report.executor_key in leased_keys:
        told = Reason(BANNED_WHILE_LEASED, Severity.WARN, got, "no ban of the miner or its cards", _MEND)
    else:
        told = Reason(CODES[ban.kind], Severity.FAIL, got, "no ban of the miner or its cards", _MEND)
    return Banned(replace(report, reasons=(*report.reasons, told)), ban)
