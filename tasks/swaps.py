"""A swap of cards that the miner has signed: what it says, whether it counts, and what it makes of a record.

A statement (`tasks/edges/signing.py`) of these lines: `swap/1`, the miner's hotkey, the executor's name, unix seconds at
which it was signed, the UUIDs that are gone, the UUIDs that came (comma between, sorted). It counts once: it must be newer
than the last one that counted, and name the very cards that the record holds. Pure rules; who checks the signature and
moves the state is `tasks/seeking.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from storage.records import Event, ExecutorRecord, Reason, Severity
from tasks.policy import RecordPolicy

CARDS_SWAPPED = "CARDS_SWAPPED"
MAX_AHEAD_S = 120.0
"""A miner's clock may be so far ahead of ours."""
_CARDS = r"(?:[A-Za-z0-9-]{1,64},){0,15}[A-Za-z0-9-]{1,64}"
_FORM = re.compile(
    r"subnet/statement/1\n(?:sr25519|ed25519)\nswap/1\n"
    r"(?P<miner_hotkey>[1-9A-HJ-NP-Za-km-z]{48})\n"
    r"(?P<executor_id>[a-z0-9-]{1,64})\n"
    r"(?P<signed_at>[0-9]{1,11})\n"
    rf"(?P<gone>{_CARDS})\n"
    rf"(?P<came>{_CARDS})\n"
    r"[0-9a-f]{128}",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Swap:
    """These cards of this machine are gone, and those came for them."""

    miner_hotkey: str
    executor_id: str
    signed_at: datetime
    gone: tuple[str, ...]
    """All cards that the machine had, also those that stay."""
    came: tuple[str, ...]
    """All cards that it has now."""
    statement: str = ""
    """The signed text; empty while it is not signed."""

    @property
    def executor_key(self) -> str:
        """Of the machine."""
        return f"{self.miner_hotkey}/{self.executor_id}"

    @property
    def lines(self) -> tuple[str, ...]:
        """What is signed, without the form's own first lines."""
        seconds = str(int(self.signed_at.timestamp()))
        cards = (",".join(self.gone), ",".join(self.came))
        return ("swap/1", self.miner_hotkey, self.executor_id, seconds, *cards)


def read_swap(text: str) -> Swap | None:
    """What the statement says; None when it has another form. Its signature is not looked at."""
    match = _FORM.fullmatch(text)
    if match is None:
        return None
    gone, came = (tuple(sorted(set(match[name].split(",")))) for name in ("gone", "came"))
    signed_at = datetime.fromtimestamp(int(match["signed_at"]), UTC)
    return Swap(match["miner_hotkey"], match["executor_id"], signed_at, gone, came, text)


@dataclass(frozen=True, slots=True)
class Occasion:
    """What swaps are judged by."""

    records: Callable[[str], ExecutorRecord]
    """What is known of a machine, by its key."""
    leased_keys: frozenset[str]
    policy: RecordPolicy
    now: datetime
    is_signed_by: Callable[[str, str], bool]
    """Whether this text carries the signature of this hotkey."""


def judge_swaps(
    hotkey: str, statements: Iterable[str], occasion: Occasion
) -> tuple[tuple[Swap, ...], tuple[Reason, ...]]:
    """The swaps of one miner's answer that count, and why others don't; those that counted before say nothing."""
    good: dict[str, Swap] = {}
    reasons: list[Reason] = []
    for statement in statements:
        swap = read_swap(statement)
        if swap is not None and _is_over(swap, occasion):
            continue
        reason = _against(hotkey, swap, occasion)
        if reason is not None:
            reasons.append(reason)
        elif swap is not None and swap.executor_key not in good:
            good[swap.executor_key] = swap
    return tuple(good.values()), tuple(reasons)


def swapped(record: ExecutorRecord, swap: Swap, now: datetime) -> ExecutorRecord:
    """The record after the swap: model and cards are open again, what the old ones earned is gone, speed of the line stays."""
    return replace(
        record,
        consecutive_passed=0,
        passed_since=None,
        model=None,
        card_count=None,
        card_uuids=(),
        verified_count=0,
        verified_failed=0,
        resets=record.resets + 1,
        reset_at=now,
        reset_code=CARDS_SWAPPED,
        last_score=0.0,
        last_score_epoch=None,
        swapped_at=swap.signed_at,
        announced_uuids=swap.came,
    )


def swap_event(swap: Swap, now: datetime) -> Event:
    """What the archive keeps of it, with the statement that proves it."""
    gone, came = (sorted(set(some) - set(others)) for some, others in _both_ways(swap))
    message = f"gone {', '.join(gone) or 'none'}; came {', '.join(came) or 'none'}"
    return Event(now, CARDS_SWAPPED, swap.executor_key, message[:600], swap.statement)


def _both_ways(swap: Swap) -> tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]:
    return (swap.gone, swap.came), (swap.came, swap.gone)


def _is_over(swap: Swap, occasion: Occasion) -> bool:
    """Whether it counted already: a miner's agent shows it for as long as it is valid."""
    counted = occasion.records(swap.executor_key).swapped_at
    return counted is not None and swap.signed_at <= counted


def _against(hotkey: str, swap: Swap | None, occasion: Occasion) -> Reason | None:
    if swap is None:
        return _refused("SWAP_MALFORMED", "another text", "a statement as `subnet miner swap` makes it")
    if swap.miner_hotkey != hotkey or not occasion.is_signed_by(swap.statement, hotkey):
        return _refused("SWAP_NOT_SIGNED", swap.executor_id, "this miner's own signature")
    return _out_of_time(swap, occasion) or _out_of_place(swap, occasion)


def _out_of_time(swap: Swap, occasion: Occasion) -> Reason | None:
    policy, name = occasion.policy, swap.executor_id
    last, age_s = (
        occasion.records(swap.executor_key).swapped_at,
        (occasion.now - swap.signed_at).total_seconds(),
    )
    if not -MAX_AHEAD_S <= age_s <= policy.swap_valid_s:
        got, wanted = f"{name}, signed {age_s:.0f} s ago", f"0 to {policy.swap_valid_s:.0f} s"
        return _refused("SWAP_OUT_OF_DATE", got, wanted)
    if last and (swap.signed_at - last).total_seconds() < policy.swap_interval_s:
        got = f"{name}, signed {swap.signed_at:%Y-%m-%d %H:%M} UTC"
        wanted = f"{policy.swap_interval_s:.0f} s after the last swap, of {last:%Y-%m-%d %H:%M} UTC"
        return _refused("SWAP_TOO_SOON", got, wanted)
    return None


def _out_of_place(swap: Swap, occasion: Occasion) -> Reason | None:
    record = occasion.records(swap.executor_key)
    if swap.executor_key in occasion.leased_keys:
        return _refused("SWAP_WHILE_LEASED", swap.executor_id, "a machine that nobody rents")
    # Until announced cards have passed, a mistake in the announcement can be mended.
    held_to = record.card_uuids or record.announced_uuids
    known, gone = (sorted(u.lower() for u in cards) for cards in (held_to, swap.gone))
    if known != gone:
        got = f"{swap.executor_id}: {', '.join(swap.gone)} gone"[:200]
        wanted = ", ".join(held_to)[:200] or "no swap: the machine is held to no cards yet"
        return _refused("SWAP_OTHER_CARDS", got, wanted)
    return None


def _refused(code: str, got: str, wanted: str) -> Reason:
    mend = "Announce the swap again with `subnet miner swap`; `subnet miner status` shows the cards that are known."
    return Reason(code, Severity.WARN, got, wanted, mend)
