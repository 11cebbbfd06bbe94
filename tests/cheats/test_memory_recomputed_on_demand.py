from __future__ import annotations

import pytest

from tests.cheats.cost import PartOfMemory, hardware, judge_timed, keeping, share_of

CLAIMS = [
    ("RTX A6000", "RTX A5000", "PROOF_TOO_LATE"),
    ("L40S", "GeForce RTX 4090", "BANDWIDTH_TOO_LOW"),
    ("RTX PRO 6000 Blackwell", "GeForce RTX 5090", "BANDWIDTH_TOO_LOW"),
    ("A100-SXM4-80GB", "A100-SXM4-40GB", "PROOF_TOO_LATE"),
    ("H100 NVL", "H100 80GB HBM3", "PROOF_TOO_LATE"),
    ("H200", "H100 80GB HBM3", "PROOF_TOO_LATE"),
    ("B300 SXM6", "B200", "PROOF_TOO_LATE"),
]


@pytest.mark.parametrize(("claimed", "real", "code"), CLAIMS, ids=[f"{r} as {c}" for c, r, _ in CLAIMS])
def test_lines_made_on_demand_take_too_long(claimed, real, code):
    """A card holds what fits and makes the rest from the seed when it is read: all answers are right, and late."""
    claim, has = hardware(claimed), hardware(real)
    card = keeping(has.proved_bytes / claim.proved_bytes, PartOfMemory)
    assert judge_timed(card, claim, has).code == code


HIDDEN = [
    ("H100 80GB HBM3", 192, 0.004),
    ("A100-SXM4-80GB", 201, 0.004),
    ("B200", 413, 0.0),
    ("GeForce RTX 3090", 101, 0.011),
    ("GeForce RTX 4090", 47, 0.029),
    ("L4", 38, 0.037),
    ("GeForce RTX 5090", 33, 0.042),
    ("RTX PRO 6000 Blackwell", 27, 0.052),
]


@pytest.mark.parametrize(("name", "ratio", "hidden"), HIDDEN, ids=[row[0] for row in HIDDEN])
def test_only_the_slack_can_be_hidden(name, ratio, hidden):
    """Making a line costs `ratio` reads of one: only a small share of D fits into the bound's slack and the credit."""
    claim = hardware(name)
    line_s, read_s = 4 * 32 * 960 / claim.instructions_s, 128 / claim.bandwidth_bytes_s
    assert line_s / read_s == pytest.approx(ratio, abs=0.5)
    passing = judge_timed(keeping(1 - 0.9 * hidden, PartOfMemory), claim)
    assert passing.code == "PROVED"
    assert share_of(passing, claim) >= 0.75
    assert judge_timed(keeping(1 - 1.1 * hidden - 0.001, PartOfMemory), claim).code == "BANDWIDTH_TOO_LOW"
