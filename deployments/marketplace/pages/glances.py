"""What a miner reads first of a machine, and of its own place on the subnet: whether it earns, why not, and what to do. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from deployments.marketplace.miners import Beat, Machine, Mine
from deployments.marketplace.pages.bills import Bill, bill_of, ordered
from storage.records import Reason
from tasks.inspection.models import find

TREND_HEIGHT, TREND_STEP = 32.0, 8
STUB = 4.0
"""Of an epoch that was not paid."""


@dataclass(frozen=True, slots=True)
class Told:
    """One sentence, and the mend where there is any."""

    kind: Literal["good", "warn", "fault"]
    text: str
    mend: str = ""


@dataclass(frozen=True, slots=True)
class Glance:
    """A machine with what is told of it first."""

    machine: Machine
    told: Told
    reasons: tuple[Reason, ...]
    """All, the gravest first."""
    bill: Bill | None
    model: str
    """The name that estimates know its cards by; empty: none."""

    @property
    def others(self) -> int:
        """Reasons beside the one that is told first."""
        return len(self.reasons) - (1 if self.told.mend and self.reasons else 0)


@dataclass(frozen=True, slots=True)
class Bar:
    """An epoch of a trend."""

    beat: Beat
    x: int
    y: float
    height: float
    look: Literal["paid", "unpaid", "missing"]


def glance_of(machine: Machine, mine: Mine) -> Glance:
    """The machine as its page shows it."""
    score = machine.score
    reasons = ordered(score.reasons) if score else ()
    model = find(score.model) if score else None
    return Glance(
        machine,
        told_of(machine, mine, reasons),
        reasons,
        bill_of(score, mine.policy.shadow.terms) if score else None,
        model.name if model else "",
    )


def told_of(machine: Machine, mine: Mine, reasons: tuple[Reason, ...]) -> Told:
    """Why it earns nothing comes first; then why it earns by an older score; then that all is well."""
    score = machine.score
    if machine.executor is None:
        return Told(
            "warn",
            f"Earns nothing: it is not listed, your agent's answer in epoch {mine.epoch} has no such machine",
            "put it back into the agent's file, unless you have taken it out: what is not listed is forgotten in time",
        )
    if score is None:
        return Told(
            "warn", f"Earns nothing: epoch {mine.epoch} did not come to it", "wait for the next epoch"
        )
    if score.score <= 0:
        return _unpaid(mine, reasons)
    return _scored(machine, mine, next((one for one in reasons if one.decides), None))


def _unpaid(mine: Mine, reasons: tuple[Reason, ...]) -> Told:
    if not reasons:
        return Told("fault", f"Earns nothing: its score in epoch {mine.epoch} is 0", "see the bill")
    return Told("fault", f"Earns nothing: {_said(reasons[0])}", reasons[0].mend)


def _scored(machine: Machine, mine: Mine, cause: Reason | None) -> Told:
    if cause is not None:
        return Told("warn", f"Earns by the score that it had before: {_said(cause)}", cause.mend)
    if machine.pay is None:
        text = f"Passed in epoch {mine.epoch}, which has set no weights: what it earns is not known"
        return Told("good", text)
    if machine.pay.share <= 0:
        return Told(
            "fault",
            "Passed, and earns nothing: your hotkey has no weight",
            "see that the hotkey is registered on the subnet: only registered hotkeys are paid",
        )
    return Told("good", f"Passed in epoch {mine.epoch}, and is paid")


def notice_of(mine: Mine) -> Told | None:
    """What is to be done before anything can be earned; None: nothing."""
    if mine.epoch is None:
        return Told(
            "warn",
            "This validator has finished no epoch yet",
            "wait for the first one: it takes some minutes",
        )
    if mine.neuron is None:
        return Told(
            "fault",
            f"This hotkey has no place on subnet {mine.netuid} (as of block {mine.block}): no validator asks it for machines",
            "`subnet miner onboard` brings a machine in, a place included; `subnet miner register` gets a place alone",
        )
    if mine.reply:
        return Told("fault", "Your agent's answer was not taken as it is", "")
    if mine.neuron.endpoint is None:
        return Told(
            "fault",
            "The chain does not say where your agent is, so that nobody can ask it",
            "`subnet miner serve` starts it and tells the chain",
        )
    if not mine.listed:
        return Told(
            "fault",
            f"Your agent listed no machine in epoch {mine.epoch}",
            "`subnet miner onboard root@HOST` brings one in; `subnet miner machines` shows what the agent's file offers",
        )
    return None


def trended(beats: tuple[Beat, ...]) -> tuple[Bar, ...]:
    """Bars as high as the score over the highest one; an unpaid epoch is a stub, one that did not list it a dot."""
    most = max((one.score for one in beats), default=0.0)
    bars = []
    for number, beat in enumerate(beats):
        look: Literal["paid", "unpaid", "missing"] = (
            "missing" if not beat.is_listed else "paid" if beat.score > 0 else "unpaid"
        )
        height = (
            max(STUB, TREND_HEIGHT * beat.score / most)
            if look == "paid"
            else STUB / (1 + (look == "missing"))
        )
        bars.append(
            Bar(beat, number * TREND_STEP + 1, round(TREND_HEIGHT - height, 1), round(height, 1), look)
        )
    return tuple(bars)


def _said(reason: Reason) -> str:
    told = [reason.code]
    if reason.got:
        told.append(f"found {reason.got}")
    return ", ".join(told) + (f"; wanted {reason.wanted}" if reason.wanted else "")
