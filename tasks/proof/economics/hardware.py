"""What a cheat's cards can do: memory, reading, making lines anew, links. Upper bounds, from vendors' figures.

    lines made anew [bytes/s] = SMs x lanes x clock / (w x instructions) x 32

A BLAKE2s compression is 80 quarter rounds of 12 integer instructions (4 additions, two of three operands; 4 xors; 4
rotations). Cards with 64 integer lanes an SM can move the additions to the multiply pipe, so that 8 remain on the
integer pipe; where 128 lanes take either kind, nothing is gained, since an SM starts 128 instructions a clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

from kernels.protocol import DIGEST_BYTES
from tasks.inspection.models import (
    MIB,
    MODELS,
    Architecture,
    Model,
    PriceSource,
    Sku,
    estimate_usd_per_hour,
)

QUARTER_ROUNDS = 80
INSTRUCTIONS = 12 * QUARTER_ROUNDS
INTEGER_PIPE_INSTRUCTIONS = 8 * QUARTER_ROUNDS
CONTEXT_BYTES = 300 * MIB
"""What a CUDA context leaves of no card: the least that was seen."""

PCIE_GB_S = MappingProxyType(
    {
        Architecture.TURING: 15.75,
        Architecture.AMPERE: 31.5,
        Architecture.ADA: 31.5,
        Architecture.HOPPER: 63.0,
        Architecture.BLACKWELL: 63.0,
    }
)
"""One way over 16 lanes of PCI Express 3, 4, 5 (PCI-SIG): 10^9 bytes a second, without any overhead."""
HALF_WIDE = frozenset(
    {
        *("RTX PRO 2000 Blackwell", "GeForce RTX 5060 Ti", "GeForce RTX 5060", "GeForce RTX 5050"),
        *("RTX 2000 Ada Generation", "GeForce RTX 4060 Ti", "GeForce RTX 4060", "GeForce RTX 3050", "A2"),
    }
)
"""Models with 8 lanes (NVIDIA product pages)."""
C2C_GB_S = MappingProxyType({"GH200 480GB": 450.0, "GH200 144G HBM3e": 450.0, "GB200": 450.0})
"""One way over NVLink-C2C to the host's memory (NVIDIA Grace Hopper whitepaper: 900 GB/s both ways)."""
NVLINK_GB_S = MappingProxyType(
    {
        **dict.fromkeys(("B300 SXM6", "B200", "GB200"), 900.0),
        **dict.fromkeys(
            ("H100 80GB HBM3", "H200", "H200 NVL", "H20", "GH200 480GB", "GH200 144G HBM3e"), 450.0
        ),
        **dict.fromkeys(("H100 PCIe", "H100 NVL"), 300.0),
        **dict.fromkeys(("H800", "H800 NVL", "H800 PCIe", "A800-SXM4-80GB", "A800 80GB PCIe"), 200.0),
        **dict.fromkeys(("A100-SXM4-80GB", "A100-SXM4-40GB", "A100 80GB PCIe", "A100-PCIE-40GB"), 300.0),
        "A30": 100.0,
        **dict.fromkeys(("A40", "RTX A6000", "RTX A5500", "RTX A5000", "RTX A4500"), 56.25),
        **dict.fromkeys(("GeForce RTX 3090 Ti", "GeForce RTX 3090"), 56.25),
        **dict.fromkeys(("Quadro RTX 8000", "Quadro RTX 6000", "TITAN RTX", "GeForce RTX 2080 Ti"), 50.0),
        **dict.fromkeys(("Quadro RTX 5000", "GeForce RTX 2080 SUPER", "GeForce RTX 2080"), 25.0),
    }
)
"""One way between two cards, half of the vendor's figure, which counts both ways (NVIDIA datasheets)."""
SWITCHED = frozenset(
    {
        *("B300 SXM6", "B200", "GB200", "H100 80GB HBM3", "H200", "H200 NVL", "H20", "H800"),
        *("A100-SXM4-80GB", "A100-SXM4-40GB", "A800-SXM4-80GB"),
    }
)
"""Models of which four are linked all to all; the others' bridges join two."""


@dataclass(frozen=True, slots=True)
class Cards:
    """So many equal cards of one model and memory size."""

    model: Model
    sku: Sku
    count: int = 1

    def __str__(self) -> str:
        size = f" {self.sku.nominal_mib / 1_024:.0f} GB" if len(self.model.skus) > 1 else ""
        return f"{self.count} x {self.model.name}{size}"

    @property
    def is_price_estimated(self) -> bool:
        """Whether nobody publishes a price for the model."""
        return self.model.price_source is PriceSource.ESTIMATE

    @property
    def usd_per_hour(self) -> float:
        """Market rate of all of them: what they earn elsewhere. A larger size is worth more than the model's estimate."""
        rate = self.model.base_price_usd_per_hour
        if self.is_price_estimated:
            rate = max(rate, estimate_usd_per_hour(self.sku.nominal_mib, self.sku.bandwidth_gb_s))
        return self.count * rate

    @property
    def usable_bytes(self) -> int:
        """Memory of one card, error correction switched off."""
        return self.sku.nominal_mib * MIB - CONTEXT_BYTES

    @property
    def bandwidth_gb_s(self) -> float:
        """Of one card, 10^9 bytes a second."""
        return self.sku.bandwidth_gb_s

    @property
    def host_gb_s(self) -> float:
        """One way between one card and the host's memory."""
        return C2C_GB_S.get(self.model.name, self.pcie_gb_s)

    @property
    def pcie_gb_s(self) -> float:
        """One way over the card's PCI Express."""
        return PCIE_GB_S[self.model.architecture] * (0.5 if self.model.name in HALF_WIDE else 1.0)

    @property
    def nvlink_gb_s(self) -> float:
        """One way between one card and the others; 0 where NVLink does not join so many."""
        joined = self.count <= 2 or self.model.name in SWITCHED
        return NVLINK_GB_S.get(self.model.name, 0.0) if joined else 0.0


def made_anew_gb_s(model: Model, chain_w: int) -> float:
    """10^9 bytes of D a second that all integer units of one card can compute: 32 bytes for `chain_w` compressions."""
    instructions = INSTRUCTIONS if model.integer_lanes > 64 else INTEGER_PIPE_INSTRUCTIONS
    return model.int32_tera_ops * 1e3 / (chain_w * instructions) * DIGEST_BYTES


def every_card(count: int = 1) -> tuple[Cards, ...]:
    """So many of every model and size in the table."""
    return tuple(Cards(model, sku, count) for model in MODELS for sku in model.skus)
