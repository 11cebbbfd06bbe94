from __future__ import annotations

import numpy as np
import pytest

from kernels.blake2s import U32, U64
from kernels.protocol import LINE_BYTES
from tests.cheats.cost import NVLINK_4, PCIE_4, PCIE_5, PartOfMemory, hardware, judge_timed, keeping


class InHostRam(PartOfMemory):
    """Holds a part of D on the card, and the rest in the machine's memory, at the other end of the link."""

    def fill(self) -> None:
        super().fill()
        kept, n = len(self._memory), self._parameters.lines
        self._host = self.regenerated(np.arange(kept, n, dtype=np.uint64))

    def missing(self, wanted: U64) -> U32:
        self.work.link_bytes += LINE_BYTES * len(wanted)
        return self._host[wanted - np.uint64(len(self._memory))]


CLAIMS = [
    ("RTX A6000", "RTX A5000", PCIE_4, "BANDWIDTH_TOO_LOW"),
    ("L40S", "GeForce RTX 4090", PCIE_4, "BANDWIDTH_TOO_LOW"),
    ("RTX PRO 6000 Blackwell", "GeForce RTX 5090", PCIE_5, "BANDWIDTH_TOO_LOW"),
    ("A100-SXM4-80GB", "A100-SXM4-40GB", PCIE_4, "PROOF_TOO_LATE"),
    ("H200", "H100 80GB HBM3", PCIE_5, "PROOF_TOO_LATE"),
    ("GH200 144G HBM3e", "GH200 480GB", NVLINK_4, "BANDWIDTH_TOO_LOW"),
]


@pytest.mark.parametrize(
    ("claimed", "real", "link", "code"), CLAIMS, ids=[f"{r} as {c}" for c, r, _, _ in CLAIMS]
)
def test_lines_over_the_host_link_take_too_long(claimed, real, link, code):
    """The link to the host is slower than the card's memory: what does not fit on the card comes too late."""
    claim, has = hardware(claimed), hardware(real, link)
    card = keeping(has.proved_bytes / claim.proved_bytes, InHostRam)
    assert judge_timed(card, claim, has).code == code


HIDDEN = [
    ("B200", PCIE_5, 0.011),
    ("H200", PCIE_5, 0.019),
    ("A100-SXM4-80GB", PCIE_4, 0.023),
    ("H100 80GB HBM3", PCIE_5, 0.028),
    ("GeForce RTX 4090", PCIE_4, 0.047),
    ("RTX A6000", PCIE_4, 0.062),
    ("L4", PCIE_4, 0.155),
    ("GH200 480GB", NVLINK_4, 0.165),
]


@pytest.mark.parametrize(("name", "link", "hidden"), HIDDEN, ids=[row[0] for row in HIDDEN])
def test_only_the_slack_can_be_kept_in_host_ram(name, link, hidden):
    """A card on the fastest link of its kind can keep this share of D with its host, and no more."""
    claim = hardware(name, link)
    assert judge_timed(keeping(1 - 0.9 * hidden, InHostRam), claim).code == "PROVED"
    assert judge_timed(keeping(1 - 1.1 * hidden, InHostRam), claim).code == "BANDWIDTH_TOO_LOW"
