from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from kernels.blake2s import U32, U64
from kernels.protocol import LINE_BYTES
from tests.cheats.cost import (
    NVLINK_3,
    NVLINK_4,
    NVLINK_5,
    NVLINK_BRIDGE,
    PCIE_4,
    PCIE_5,
    hardware,
    judge_timed,
    share_of,
)
from tests.cheats.links import ADDRESS_BYTES, Split, least_bytes_a_step, together, usd_per_hour


class ByRows(Split):
    """Every card has each `count`-th line; a line that lies elsewhere is asked for and comes to the walker's card."""

    def cut(self, memory: U32) -> list[U32]:
        return [memory[card :: self.count].copy() for card in range(self.count)]

    def lines(self, wanted: U64) -> U32:
        owners = (wanted % np.uint64(self.count)).astype(np.int64)
        self.fetch(owners)
        self.work.lines_read += len(wanted)
        slots = wanted // np.uint64(self.count)
        return np.stack([self._parts[owner][slot] for owner, slot in zip(owners, slots, strict=True)])

    def fetch(self, owners: np.ndarray) -> None:
        if len(owners) != self._parameters.walkers:
            return  # the product's pages: only the walk is held to a bound
        is_elsewhere = owners != self.homes
        self.send(self.homes[is_elsewhere], ADDRESS_BYTES)
        self.send(owners[is_elsewhere], LINE_BYTES)


class StatesTravel(ByRows):
    """The state goes to the card that has the line, and stays there until the next line is elsewhere."""

    def fetch(self, owners: np.ndarray) -> None:
        if len(owners) != self._parameters.walkers:
            return
        at = getattr(self, "_at", self.homes)
        self.send(at[owners != at], LINE_BYTES)
        self._at = owners


@pytest.mark.parametrize("card", [ByRows, StatesTravel])
@pytest.mark.parametrize("count", [2, 4, 8])
def test_most_of_every_line_crosses_a_link(card, count):
    """Whether lines or states travel: at each step 128 bytes cross, but for the times when the line is at home."""
    bytes_a_step = []

    class Told(card):
        def next_stage(self) -> None:
            super().next_stage()
            bytes_a_step.append(self.bytes_a_step)

    Told.count = count
    claim = hardware("A100-SXM4-80GB")
    assert judge_timed(Told, claim, replace(claim, link_bytes_s=math.inf)).code == "PROVED"
    least = least_bytes_a_step(count)
    walked = bytes_a_step[1:5]
    assert min(walked) >= 0.97 * least
    assert max(walked) <= 1.03 * (least + ADDRESS_BYTES)


REJECTED = [
    ("A100-SXM4-80GB", "GeForce RTX 3090", 4, PCIE_4, 0.09),
    ("A100-SXM4-80GB", "GeForce RTX 4090", 4, PCIE_4, 0.09),
    ("H100 80GB HBM3", "GeForce RTX 5090", 4, PCIE_5, 0.11),
    ("H100 80GB HBM3", "L40S", 2, PCIE_4, 0.05),
    ("RTX A6000", "GeForce RTX 3090", 2, NVLINK_BRIDGE, 0.32),
    ("RTX PRO 6000 Blackwell", "GeForce RTX 5090", 4, PCIE_5, 0.20),
    ("A100-SXM4-80GB", "A100-SXM4-40GB", 2, NVLINK_3, 0.64),
    ("H200", "H100 80GB HBM3", 2, NVLINK_4, 0.39),
    ("H200", "A100-SXM4-80GB", 2, NVLINK_3, 0.26),
    ("B300 SXM6", "B200", 2, NVLINK_5, 0.47),
    ("B200", "H100 80GB HBM3", 4, NVLINK_4, 0.31),
]


@pytest.mark.parametrize(
    ("claimed", "real", "count", "link", "share"),
    REJECTED,
    ids=[f"{n} {r} as {c}" for c, r, n, _, _ in REJECTED],
)
def test_links_are_too_slow(claimed, real, count, link, share):
    """Several cards as one dear one read at the pace of their links, far below the claimed card's bandwidth."""
    claim, has = hardware(claimed), together(hardware(real, link), count)
    card = type("Cut", (StatesTravel,), {"count": count})
    verdict = judge_timed(card, claim, has)
    assert verdict.code in {"BANDWIDTH_TOO_LOW", "PROOF_TOO_LATE"}
    if verdict.code == "BANDWIDTH_TOO_LOW":
        assert share_of(verdict, claim) == pytest.approx(share, abs=0.02)


RESIDUE = [
    ("A100-SXM4-80GB", "A100-SXM4-40GB", 4, NVLINK_3, 0.85),
    ("H100 80GB HBM3", "A100-SXM4-40GB", 8, NVLINK_3, 0.88),
]


@pytest.mark.parametrize(("claimed", "real", "count", "link", "share"), RESIDUE)
def test_many_cards_on_nvswitch_pass_and_cost_more_than_the_one(claimed, real, count, link, share):
    """Not closed: four or eight NVLinked A100-40 reach the bandwidth of one A100-80 or H100, at over twice its price."""
    claim, has = hardware(claimed), together(hardware(real, link), count)
    verdict = judge_timed(type("Cut", (StatesTravel,), {"count": count}), claim, has)
    assert verdict.code == "PROVED"
    assert share_of(verdict, claim) == pytest.approx(share, abs=0.02)
    assert count * usd_per_hour(real) > 1.9 * usd_per_hour(claimed)
