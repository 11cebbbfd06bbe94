"""The GPU models that are paid, from Turing to Blackwell: what each is called, has, and costs.

Memory is in MiB as nvidia-smi reports it, one size for each real SKU; a second figure is what the same card reports
with ECC on or under an older driver, and is the M that the proof may count on. Bandwidth (10^9 bytes a second), SM
count and boost clock are the vendor's figures from the source that the row names; the integer rate follows from them and
from the lanes of an SM that take integers (`INTEGER_LANES`). Prices are market rates for a card and hour in USD: Lium's
published base prices (subnet 51, 2026), or an estimate from memory and bandwidth.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

MIB = 1 << 20


class Architecture(StrEnum):
    """NVIDIA's generations that are supported."""

    TURING = "turing"
    AMPERE = "ampere"
    ADA = "ada"
    HOPPER = "hopper"
    BLACKWELL = "blackwell"


class PriceSource(StrEnum):
    """Where a model's market rate comes from."""

    LIUM = "lium"
    """The base price that subnet 51 publishes."""
    ESTIMATE = "estimate"
    """Ours; see `estimate_usd_per_hour`."""


@dataclass(frozen=True, slots=True)
class Sku:
    """One memory size that a model is really sold with."""

    nominal_mib: int
    """As nvidia-smi reports it with ECC off: the middle of the window."""
    memory_bytes: int
    """M of the proof: what the least favourable honest card reports."""
    bandwidth_gb_s: float


@dataclass(frozen=True, slots=True)
class Model:
    """A GPU model; `name` is ours and stable, `aliases` are the names exactly as nvidia-smi prints them."""

    name: str
    aliases: tuple[str, ...]
    architecture: Architecture
    skus: tuple[Sku, ...]
    """The most common first."""
    sm_count: int
    boost_mhz: int
    base_price_usd_per_hour: float
    price_source: PriceSource
    source: str
    """Of bandwidth, SM count and clock."""
    integer_lanes: int
    """32-bit integer operations of an SM in a clock; source: `INTEGER_SOURCE`."""

    @property
    def memory_bytes(self) -> int:
        """M of the smallest SKU; where the reported memory is known, `sku(...)` tells which one it is."""
        return min(sku.memory_bytes for sku in self.skus)

    @property
    def bandwidth_gb_s(self) -> float:
        """Of the most common SKU."""
        return self.skus[0].bandwidth_gb_s

    @property
    def int32_tera_ops(self) -> float:
        """32-bit integer additions, logic and shifts, 10^12 a second: SMs x integer lanes x boost clock.

        What a card that regenerates lines instead of keeping them is bound by.
        """
        return self.sm_count * self.integer_lanes * self.boost_mhz / 1e6

    @property
    def int8_tera_ops(self) -> float:
        """Dense int8 without tensor cores (dp4a), 10^12 operations a second: an estimate of the class.

        A lane does four multiply-adds in a clock, eight operations.
        """
        return self.int32_tera_ops * 8


def find(model_name: str) -> Model | None:
    """The model that nvidia-smi means by this name, whatever its case and spaces; None when it is unsupported."""
    return _BY_ALIAS.get(_normal(model_name))


def is_too_old(model_name: str) -> bool:
    """Whether the name is that of a card before Turing: Kepler, Maxwell, Pascal and Volta, which the kernels don't run on."""
    return _TOO_OLD.match(_normal(model_name)) is not None


def sku(model: Model, vram_mib: int, window: tuple[float, float]) -> Sku | None:
    """The SKU of which `vram_mib` is within the window (shares of nominal); the nearest, None when there is none."""
    low, high = window
    fitting = [s for s in model.skus if low * s.nominal_mib <= vram_mib <= high * s.nominal_mib]
    return min(fitting, key=lambda s: abs(s.nominal_mib - vram_mib), default=None)


def estimate_usd_per_hour(nominal_mib: int, bandwidth_gb_s: float) -> float:
    """0.003 USD a GiB and 0.0001 USD a GB/s, rounded to cents: within a third of the listed prices of GDDR cards."""
    return round(0.003 * nominal_mib / 1_024 + 0.0001 * bandwidth_gb_s, 2)


def _normal(name: str) -> str:
    """Lower case, single spaces, and without the vendor, which drivers before 465 leave out."""
    return " ".join(name.lower().split()).removeprefix("nvidia ")


_TOO_OLD = re.compile(
    r"tesla [kmpv]\d|quadro ([kmp]\d|gp100|gv100)|titan (v|x|xp|z|black)\b|geforce gtx? (titan|[4-9]\d\d|10\d\d)\b"
)

INTEGER_LANES: Mapping[Architecture, int] = MappingProxyType(
    {
        Architecture.TURING: 64,
        Architecture.AMPERE: 64,
        Architecture.ADA: 64,
        Architecture.HOPPER: 64,
        Architecture.BLACKWELL: 64,
    }
)
"""By architecture; the Blackwell chips of GeForce and RTX cards (GB20x) have `GB20X_INTEGER_LANES`."""
GB20X_INTEGER_LANES = 128
INTEGER_SOURCE = (
    "NVIDIA CUDA C++ Programming Guide, throughput of native arithmetic instructions, 32-bit integer add; "
    "for GB20x the NVIDIA RTX Blackwell GPU architecture whitepaper, unified INT32/FP32 cores"
)

_Memory = int | tuple[int, int] | tuple[int, int, float]
"""MiB; (MiB, MiB with ECC on); (MiB, MiB with ECC on, GB/s where it differs)."""


def _model(  # noqa: PLR0917  the columns of a table stand in order
    name: str,
    architecture: Architecture,
    size: tuple[int, int],
    bandwidth_gb_s: float,
    memory: _Memory | list[_Memory],
    source: str,
    price: float | None = None,
    price_source: PriceSource = PriceSource.LIUM,
    aliases: tuple[str, ...] = (),
) -> Model:
    """A row: size is (SM count, boost MHz); without a price it is estimated; the alias is the name unless given."""
    skus = tuple(_sku(m, bandwidth_gb_s) for m in (memory if isinstance(memory, list) else [memory]))
    estimate = estimate_usd_per_hour(skus[0].nominal_mib, bandwidth_gb_s)
    return Model(
        name=name,
        aliases=aliases or (f"NVIDIA {name}",),
        architecture=architecture,
        skus=skus,
        sm_count=size[0],
        boost_mhz=size[1],
        base_price_usd_per_hour=estimate if price is None else price,
        price_source=PriceSource.ESTIMATE if price is None else price_source,
        source=source,
        integer_lanes=_integer_lanes(architecture, name),
    )


def _integer_lanes(architecture: Architecture, name: str) -> int:
    is_gb20x = architecture is Architecture.BLACKWELL and "RTX" in name
    return GB20X_INTEGER_LANES if is_gb20x else INTEGER_LANES[architecture]


def _sku(memory: _Memory, bandwidth_gb_s: float) -> Sku:
    if isinstance(memory, int):
        return Sku(memory, memory * MIB, bandwidth_gb_s)
    return Sku(memory[0], memory[1] * MIB, memory[2] if len(memory) == 3 else bandwidth_gb_s)


_T, _A, _L, _H, _B = Architecture
_TURING = "NVIDIA Turing GPU architecture whitepaper; product page"
_GEFORCE = "NVIDIA GeForce product page, specifications"
_GA102 = "NVIDIA Ampere GA102 GPU architecture whitepaper; product page"
_ADA = "NVIDIA Ada GPU architecture whitepaper; product page"
_GB20X = "NVIDIA RTX Blackwell GPU architecture whitepaper; product page"
_RTX = "NVIDIA RTX professional datasheet of the card"
_DATA_CENTRE = "NVIDIA data centre datasheet of the card"
_UNPUBLISHED = "No datasheet of its own; figures of the model it is derived from"
_GUESS = PriceSource.ESTIMATE

MODELS: tuple[Model, ...] = (
    # --- Blackwell: data centre ---
    _model(
        "B300 SXM6",
        _B,
        (148, 2032),
        8_000,
        275_040,
        _DATA_CENTRE,
        5.10,
        aliases=("NVIDIA B300 SXM6 AC", "NVIDIA B300"),
    ),
    _model("B200", _B, (148, 1965), 8_000, (183_359, 182_642), _DATA_CENTRE, 4.25),
    _model("GB200", _B, (152, 2062), 8_000, (189_471, 188_416), _DATA_CENTRE, 4.25, _GUESS),
    # --- Blackwell: RTX PRO and GeForce ---
    _model(
        "RTX PRO 6000 Blackwell",
        _B,
        (188, 2617),
        1_792,
        97_887,
        _RTX,
        1.00,
        aliases=("NVIDIA RTX PRO 6000 Blackwell Workstation Edition",),
    ),
    _model("RTX PRO 6000 Blackwell Server Edition", _B, (188, 2430), 1_597, 97_887, _RTX, 1.00),
    _model("RTX PRO 6000 Blackwell Max-Q Workstation Edition", _B, (188, 2288), 1_792, 97_887, _RTX, 1.00),
    _model("RTX PRO 5000 Blackwell", _B, (110, 2617), 1_344, [48_935, 73_415], _RTX),
    _model("RTX PRO 4500 Blackwell", _B, (82, 2617), 896, 32_623, _RTX),
    _model("RTX PRO 4000 Blackwell", _B, (70, 2617), 672, 24_467, _RTX),
    _model("RTX PRO 2000 Blackwell", _B, (34, 2600), 288, 16_311, _RTX),
    _model("GeForce RTX 5090", _B, (170, 2407), 1_792, 32_607, _GB20X, 0.65),
    _model("GeForce RTX 5090 D", _B, (170, 2407), 1_792, 32_607, _GEFORCE),
    _model("GeForce RTX 5080", _B, (84, 2617), 960, 16_303, _GB20X),
    _model("GeForce RTX 5070 Ti", _B, (70, 2452), 896, 16_303, _GB20X),
    _model("GeForce RTX 5070", _B, (48, 2512), 672, 12_227, _GB20X),
    _model("GeForce RTX 5060 Ti", _B, (36, 2572), 448, [16_311, 8_151], _GEFORCE),
    _model("GeForce RTX 5060", _B, (30, 2497), 448, 8_151, _GEFORCE),
    _model("GeForce RTX 5050", _B, (20, 2572), 320, 8_151, _GEFORCE),
    # --- Hopper ---
    _model("H200", _H, (132, 1980), 4_800, 143_771, _DATA_CENTRE, 2.85),
    _model("H200 NVL", _H, (132, 1785), 4_800, 143_771, _DATA_CENTRE, 2.90),
    _model("H100 80GB HBM3", _H, (132, 1980), 3_350, 81_559, _DATA_CENTRE, 1.494),
    _model("H100 PCIe", _H, (114, 1755), 2_039, 81_559, _DATA_CENTRE, 1.1988),
    _model("H100 NVL", _H, (132, 1785), 3_938, 95_830, _DATA_CENTRE, 1.11),
    _model(
        "H800",
        _H,
        (132, 1980),
        3_350,
        81_559,
        _UNPUBLISHED,
        0.88,
        aliases=("NVIDIA H800", "NVIDIA H800 80GB HBM3"),
    ),
    _model("H800 NVL", _H, (132, 1785), 3_938, 95_830, _UNPUBLISHED, 0.80),
    _model("H800 PCIe", _H, (114, 1755), 2_039, 81_559, _UNPUBLISHED, 0.80),
    _model("H20", _H, (78, 1980), 4_000, [97_871, (143_771, 143_771, 4_800)], _UNPUBLISHED),
    _model("GH200 480GB", _H, (132, 1980), 4_000, (97_871, 96_256), _DATA_CENTRE, 1.50, _GUESS),
    _model("GH200 144G HBM3e", _H, (132, 1980), 4_900, (146_831, 143_771), _DATA_CENTRE, 2.40, _GUESS),
    # --- Ada: data centre and RTX ---
    _model("L40S", _L, (142, 2520), 864, (49_140, 45_634), _DATA_CENTRE, 0.35),
    _model("L40", _L, (142, 2490), 864, (49_140, 45_634), _DATA_CENTRE, 0.36),
    _model("L20", _L, (92, 2520), 864, (49_140, 45_634), _UNPUBLISHED),
    _model("L4", _L, (58, 2040), 300, (24_570, 22_731), _DATA_CENTRE, 0.11),
    _model("RTX 6000 Ada Generation", _L, (142, 2505), 960, (49_140, 46_068), _RTX, 0.69),
    _model("RTX 5880 Ada Generation", _L, (110, 2460), 960, (49_140, 46_068), _RTX),
    _model("RTX 5000 Ada Generation", _L, (100, 2550), 576, (32_760, 30_712), _RTX),
    _model("RTX 4500 Ada Generation", _L, (60, 2580), 432, (24_570, 23_034), _RTX),
    _model("RTX 4000 Ada Generation", _L, (48, 2175), 360, (20_475, 19_195), _RTX, 0.16),
    _model("RTX 4000 SFF Ada Generation", _L, (48, 1560), 280, (20_475, 19_195), _RTX),
    _model("RTX 2000 Ada Generation", _L, (22, 2130), 224, (16_380, 15_356), _RTX, 0.07),
    # --- Ada: GeForce ---
    _model("GeForce RTX 4090", _L, (128, 2520), 1_008, 24_564, _ADA, 0.30),
    _model("GeForce RTX 4090 D", _L, (114, 2520), 1_008, 24_564, _GEFORCE, 0.11),
    _model("GeForce RTX 4080 SUPER", _L, (80, 2550), 736, 16_376, _GEFORCE),
    _model("GeForce RTX 4080", _L, (76, 2505), 717, 16_376, _ADA),
    _model("GeForce RTX 4070 Ti SUPER", _L, (66, 2610), 672, 16_376, _GEFORCE),
    _model("GeForce RTX 4070 Ti", _L, (60, 2610), 504, 12_282, _ADA),
    _model("GeForce RTX 4070 SUPER", _L, (56, 2475), 504, 12_282, _GEFORCE),
    _model("GeForce RTX 4070", _L, (46, 2475), 504, 12_282, _GEFORCE),
    _model("GeForce RTX 4060 Ti", _L, (34, 2535), 288, [16_380, 8_188], _GEFORCE),
    _model("GeForce RTX 4060", _L, (24, 2460), 272, 8_188, _GEFORCE),
    # --- Ampere: data centre ---
    _model("A100-SXM4-80GB", _A, (108, 1410), 2_039, (81_920, 81_037), _DATA_CENTRE, 0.6923),
    _model("A100 80GB PCIe", _A, (108, 1410), 1_935, (81_920, 80_994), _DATA_CENTRE, 0.36),
    _model("A100-SXM4-40GB", _A, (108, 1410), 1_555, (40_960, 40_536), _DATA_CENTRE, 0.36, _GUESS),
    _model(
        "A100-PCIE-40GB",
        _A,
        (108, 1410),
        1_555,
        (40_960, 40_536),
        _DATA_CENTRE,
        0.28,
        _GUESS,
        aliases=("NVIDIA A100-PCIE-40GB", "NVIDIA A100-PCI-E-40GB"),
    ),
    _model("A800-SXM4-80GB", _A, (108, 1410), 2_039, (81_920, 81_037), _UNPUBLISHED),
    _model("A800 80GB PCIe", _A, (108, 1410), 1_935, (81_920, 80_994), _UNPUBLISHED),
    _model("A40", _A, (84, 1740), 696, (49_140, 45_634), _DATA_CENTRE, 0.12),
    _model("A30", _A, (56, 1440), 933, (24_576, 24_062), _DATA_CENTRE, 0.10),
    _model("A10", _A, (72, 1695), 600, (24_564, 22_731), _DATA_CENTRE),
    _model("A10G", _A, (80, 1710), 600, (24_564, 22_731), _UNPUBLISHED),
    _model("A16", _A, (10, 1755), 200, (16_380, 14_936), _DATA_CENTRE),
    _model("A2", _A, (10, 1770), 200, (16_380, 14_936), _DATA_CENTRE),
    # --- Ampere: RTX and GeForce ---
    _model("RTX A6000", _A, (84, 1800), 768, (49_140, 45_634), _RTX, 0.32),
    _model("RTX A5500", _A, (80, 1665), 768, (24_564, 22_731), _RTX),
    _model("RTX A5000", _A, (64, 1695), 768, (24_564, 22_731), _RTX, 0.16),
    _model("RTX A4500", _A, (56, 1650), 640, (20_470, 18_890), _RTX, 0.13),
    _model("RTX A4000", _A, (48, 1560), 448, (16_376, 15_033), _RTX, 0.12),
    _model("RTX A2000 12GB", _A, (26, 1200), 288, (12_282, 11_263), _RTX),
    _model("GeForce RTX 3090 Ti", _A, (84, 1860), 1_008, 24_564, _GEFORCE),
    _model("GeForce RTX 3090", _A, (82, 1695), 936, (24_576, 24_259), _GA102, 0.16),
    _model("GeForce RTX 3080 Ti", _A, (80, 1665), 912, (12_288, 12_045), _GEFORCE),
    _model("GeForce RTX 3080", _A, (68, 1710), 760, [(10_240, 10_009), (12_288, 12_045, 912)], _GA102),
    _model("GeForce RTX 3070 Ti", _A, (48, 1770), 608, (8_192, 7_973), _GEFORCE),
    _model("GeForce RTX 3070", _A, (46, 1725), 448, (8_192, 7_973), _GA102),
    # Sold under one name with GDDR6 (448 GB/s) and GDDR6X (608): the middle keeps both within 25 %.
    _model("GeForce RTX 3060 Ti", _A, (38, 1665), 528, (8_192, 7_973), _GEFORCE),
    _model("GeForce RTX 3060", _A, (28, 1777), 360, [(12_288, 12_045), (8_192, 7_973, 240)], _GEFORCE),
    _model("GeForce RTX 3050", _A, (20, 1777), 224, (8_192, 7_973), _GEFORCE),
    # --- Turing ---
    _model(
        "Tesla T4", _T, (40, 1590), 320, (16_384, 15_109), _DATA_CENTRE, aliases=("Tesla T4", "NVIDIA T4")
    ),
    _model("Quadro RTX 8000", _T, (72, 1770), 672, (49_152, 45_556), _TURING),
    _model("Quadro RTX 6000", _T, (72, 1770), 672, (24_576, 22_698), _TURING),
    _model("Quadro RTX 5000", _T, (48, 1815), 448, (16_384, 15_092), _TURING),
    _model("Quadro RTX 4000", _T, (36, 1545), 416, (8_192, 7_956), _TURING),
    _model("TITAN RTX", _T, (72, 1770), 672, (24_576, 24_217), _TURING),
    _model("GeForce RTX 2080 Ti", _T, (68, 1545), 616, (11_264, 11_016), _TURING),
    _model("GeForce RTX 2080 SUPER", _T, (48, 1815), 496, (8_192, 7_974), _GEFORCE),
    _model("GeForce RTX 2080", _T, (46, 1710), 448, (8_192, 7_951), _TURING),
    _model("GeForce RTX 2070 SUPER", _T, (40, 1770), 448, (8_192, 7_974), _GEFORCE),
    _model("GeForce RTX 2070", _T, (36, 1620), 448, (8_192, 7_949), _TURING),
    _model("GeForce RTX 2060 SUPER", _T, (34, 1650), 448, (8_192, 7_974), _GEFORCE),
    # The 2060 is listed for its edition of 12 GB; that of 6 GB is below what is rented.
    _model("GeForce RTX 2060", _T, (34, 1650), 336, (12_288, 12_045), _GEFORCE),
)

_BY_ALIAS: Mapping[str, Model] = MappingProxyType(
    {_normal(a): model for model in MODELS for a in model.aliases}
)
