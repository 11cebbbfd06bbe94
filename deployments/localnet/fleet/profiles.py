"""Who a fleet's machines are: how far away, how fast, how long they work, and what is wrong with some. Pure values.

Everything is drawn from one seed, machine by machine: the same seed gives the same machine under the same number,
however many others there are, so that a run repeats exactly and a larger fleet holds the smaller one.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from tasks.errors import SettingError

LEAST_RTT_MS, MOST_RTT_MS = 20.0, 300.0
MEDIAN_RTT_MS, RTT_SIGMA = 80.0, 0.6
"""Of the log-normal: half of the machines are within 80 ms, one in ten is beyond 170, one in a hundred at the bound."""
LEAST_MBIT_S, MOST_MBIT_S = 50.0, 1_000.0
LEAST_SLOW_AUTH_S, MOST_SLOW_AUTH_S = 2.0, 8.0


class Fault(StrEnum):
    """What is wrong with a machine; its value is how the fleet's table calls it."""

    REFUSES = "refuses"
    """Nobody listens on its port."""
    SILENT = "silent"
    """It accepts the connection and never sends a banner."""
    SLOW_AUTH = "slow-auth"
    """It lets in, but takes seconds to say so."""
    DROPS_LOGIN = "drops-login"
    """It lets in and hangs up."""
    HANGS = "hangs"
    """It lets in, accepts the session and never answers."""
    DROPS_PROOF = "drops-proof"
    """It hangs up in the second round of the proof."""
    STALLS_PROOF = "stalls-proof"
    """It never says that its cards are full."""
    LIES = "lies"
    """Its card has twice the memory that such a card has, says its nvidia-smi."""
    FORGES = "forges"
    """It opens another state of the walk than the one it has committed to."""
    OTHER_KEY = "other-key"
    """It answers with another host key than its miner announced."""


HOSTILE = tuple(fault for fault in Fault if fault is not Fault.SLOW_AUTH)
"""A machine that is slow to let in is an honest one, and its cards are proved."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a fleet is like; the defaults are those of the old farm: near, instant, honest."""

    seed: int = 1
    rtt_ms: float | None = 0.0
    """The same for all machines; None: drawn, each its own, as in the world."""
    wait_s: tuple[float, float] = (0.0, 0.0)
    """Least and most of the time for which a machine works before its cards are full, uniform."""
    faults: float = 0.0
    """Share of the machines with which something is wrong, each fault as often as any other."""
    is_line_bounded: bool = False
    """Whether machines have a bandwidth of their own, log-uniform; else they send as fast as this computer does."""
    honest: int | None = None
    """The first so many machines are honest, and every other one is broken or hostile; None: drawn by `faults`."""

    def __post_init__(self) -> None:
        """SettingError for what makes no sense."""
        least_s, most_s = self.wait_s
        _check("seed", str(self.seed), "0 to 2^63 - 1", is_good=0 <= self.seed < 1 << 63)
        _check("rtt", f"{self.rtt_ms}", "0 to 2000 ms", is_good=_within(self.rtt_ms or 0.0, 0.0, 2_000.0))
        _check(
            "wait",
            f"{least_s:g}-{most_s:g}",
            "two numbers of seconds from 0 to 600, the smaller one first",
            is_good=_within(least_s, 0.0, 600.0) and _within(most_s, least_s, 600.0),
        )
        _check("faults", f"{self.faults}", "a share from 0 to 1", is_good=_within(self.faults, 0.0, 1.0))


@dataclass(frozen=True, slots=True)
class Profile:
    """One machine of a fleet."""

    rtt_ms: float
    mbit_s: float | None
    """Of its line, each way; None: unbounded."""
    wait_s: float
    fault: Fault | None
    slow_auth_s: float
    """How long it takes to let in, where that is its fault."""


def draw(conditions: Conditions, number: int) -> Profile:
    """The machine of this number; a condition that is changed changes nothing else of it."""
    chance = _chances(conditions.seed, number)
    rtt_ms = conditions.rtt_ms
    if rtt_ms is None:
        drawn_ms = MEDIAN_RTT_MS * math.exp(chance("rtt").gauss(0.0, RTT_SIGMA))
        rtt_ms = min(MOST_RTT_MS, max(LEAST_RTT_MS, drawn_ms))
    is_faulty = chance("is faulty").random() < conditions.faults
    faults = tuple(Fault)
    if conditions.honest is not None:
        is_faulty, faults = number >= conditions.honest, HOSTILE
    return Profile(
        rtt_ms=rtt_ms,
        mbit_s=_log_uniform(chance("line"), LEAST_MBIT_S, MOST_MBIT_S)
        if conditions.is_line_bounded
        else None,
        wait_s=chance("wait").uniform(*conditions.wait_s),
        fault=chance("fault").choice(faults) if is_faulty else None,
        slow_auth_s=chance("auth").uniform(LEAST_SLOW_AUTH_S, MOST_SLOW_AUTH_S),
    )


def key_seed(seed: int, executor_id: str, use: str = "host key") -> bytes:
    """The 32 bytes that a machine's host key is made of: the same in every run with this seed."""
    return hashlib.blake2s(f"fleet/{seed}/{executor_id}/{use}".encode()).digest()


def _chances(seed: int, number: int) -> Callable[[str], random.Random]:
    """A stream of chance for each thing that is drawn, so that none depends on whether another is drawn."""
    return lambda what: random.Random(f"fleet/{seed}/{number}/{what}")  # noqa: S311  nothing here is a secret


def _log_uniform(chance: random.Random, least: float, most: float) -> float:
    return math.exp(chance.uniform(math.log(least), math.log(most)))


def _within(value: float, least: float, most: float) -> bool:
    return math.isfinite(value) and least <= value <= most


def _check(key: str, got: str, wanted: str, *, is_good: bool) -> None:
    if not is_good:
        raise SettingError(key, got, wanted)
