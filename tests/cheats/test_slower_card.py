from __future__ import annotations

import json

import pytest

from storage.records import Verdict
from tests.cheats.cost import CountedCard, hardware, judge_timed, share_of
from tests.cheats.links import usd_per_hour

SLOWER = [
    ("H100 80GB HBM3", "A100-SXM4-80GB", 0.66),
    ("H100 80GB HBM3", "H100 PCIe", 0.66),
    ("A100-SXM4-80GB", "RTX PRO 5000 Blackwell", 0.72),
    ("L40S", "RTX 5000 Ada Generation", 0.72),
    ("GeForce RTX 5090", "GeForce RTX 4090", 0.61),
    ("B200", "H200", 0.65),
]


@pytest.mark.parametrize(("claimed", "real", "share"), SLOWER, ids=[f"{r} as {c}" for c, r, _ in SLOWER])
def test_a_slower_card_is_told_by_its_bandwidth(claimed, real, share):
    """A card that says the name of a dearer one reads at its own pace, even with all the memory that it needs."""
    claim, has = hardware(claimed), hardware(real)
    verdict = judge_timed(CountedCard, claim, has)
    assert share_of(verdict, claim) == pytest.approx(share, abs=0.01)
    assert verdict.code == "BANDWIDTH_TOO_LOW"


ALIKE = [
    ("RTX 6000 Ada Generation", "A40", 5.8, 2.4),
    ("H100 PCIe", "A100 80GB PCIe", 3.3, 1.3),
    ("GeForce RTX 4090", "A30", 3.0, 4.0),
    ("GeForce RTX 4090", "GeForce RTX 4090 D", 2.7, 1.1),
    ("GeForce RTX 4090", "GeForce RTX 3090", 1.9, 2.3),
]


@pytest.mark.parametrize(
    ("claimed", "real", "gain", "fill_ratio"), ALIKE, ids=[f"{r} as {c}" for c, r, _, _ in ALIKE]
)
def test_another_card_of_the_same_memory_and_bandwidth_passes(claimed, real, gain, fill_ratio):
    """Not closed: the walk tells nothing but memory and bandwidth; the seconds to READY, hashing alone, would tell most."""
    claim = hardware(claimed)
    honest, lie = judge_timed(CountedCard, claim), judge_timed(CountedCard, claim, hardware(real))
    assert (honest.code, lie.code) == ("PROVED", "PROVED")
    assert usd_per_hour(claimed) / usd_per_hour(real) == pytest.approx(gain, abs=0.06)
    assert _ready_s(lie) / _ready_s(honest) == pytest.approx(fill_ratio, abs=0.06)


def _ready_s(verdict: Verdict) -> float:
    """Seconds from GO to READY by V's clock, as they are archived."""
    return float(json.loads(verdict.transcript)["reply"]["ready_s"])
