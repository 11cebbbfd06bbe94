from itertools import pairwise

import pytest

from tasks.inspection.models import (
    MIB,
    MODELS,
    Architecture,
    PriceSource,
    Sku,
    estimate_usd_per_hour,
    find,
    is_too_old,
    sku,
)
from tasks.policy import DEFAULT
from tasks.proof.bounds import bandwidth_bounds

WINDOW = DEFAULT.inspection.vram_window

LISTED_PRICES = {
    "NVIDIA B300 SXM6 AC": 5.10,
    "NVIDIA B200": 4.25,
    "NVIDIA H200 NVL": 2.90,
    "NVIDIA H200": 2.85,
    "NVIDIA H100 80GB HBM3": 1.494,
    "NVIDIA H100 PCIe": 1.1988,
    "NVIDIA H100 NVL": 1.11,
    "NVIDIA RTX PRO 6000 Blackwell Server Edition": 1.00,
    "NVIDIA H800": 0.88,
    "NVIDIA H800 NVL": 0.80,
    "NVIDIA H800 PCIe": 0.80,
    "NVIDIA A100-SXM4-80GB": 0.6923,
    "NVIDIA RTX 6000 Ada Generation": 0.69,
    "NVIDIA GeForce RTX 5090": 0.65,
    "NVIDIA L40": 0.36,
    "NVIDIA A100 80GB PCIe": 0.36,
    "NVIDIA L40S": 0.35,
    "NVIDIA RTX A6000": 0.32,
    "NVIDIA GeForce RTX 4090": 0.30,
    "NVIDIA GeForce RTX 3090": 0.16,
    "NVIDIA RTX A5000": 0.16,
    "NVIDIA RTX 4000 Ada Generation": 0.16,
    "NVIDIA RTX A4500": 0.13,
    "NVIDIA RTX A4000": 0.12,
    "NVIDIA A40": 0.12,
    "NVIDIA GeForce RTX 4090 D": 0.11,
    "NVIDIA L4": 0.11,
    "NVIDIA A30": 0.10,
    "NVIDIA RTX 2000 Ada Generation": 0.07,
}


def test_table_spans_turing_to_blackwell():
    """At least fifty models from 8 to 288 GB, of every architecture since Turing, each with its source."""

    sizes = [s.nominal_mib for model in MODELS for s in model.skus]

    assert len(MODELS) >= 50
    assert all(model.source for model in MODELS)
    assert {model.architecture for model in MODELS} == set(Architecture)
    assert min(sizes) == pytest.approx(8_192, rel=0.01)
    assert max(sizes) == 275_040  # 288 GB


def test_names_are_unambiguous():
    """No two models share a name or an alias, in whatever case or spacing it is written."""

    names = [model.name for model in MODELS]
    aliases = [alias for model in MODELS for alias in model.aliases]

    assert len(set(names)) == len(names)
    assert all(find(alias) is model for model in MODELS for alias in model.aliases)
    assert len({" ".join(a.lower().split()) for a in aliases}) == len(aliases)


@pytest.mark.parametrize(
    ("printed", "name"),
    [
        ("NVIDIA GeForce RTX 4090", "GeForce RTX 4090"),
        ("GeForce RTX 4090", "GeForce RTX 4090"),
        ("  nvidia  GEFORCE rtx\t4090 ", "GeForce RTX 4090"),
        ("Tesla T4", "Tesla T4"),
        ("NVIDIA H100 80GB HBM3", "H100 80GB HBM3"),
        ("NVIDIA B300 SXM6 AC", "B300 SXM6"),
        ("NVIDIA RTX PRO 6000 Blackwell Workstation Edition", "RTX PRO 6000 Blackwell"),
    ],
)
def test_model_is_found_by_what_nvidia_smi_prints(printed, name):
    """Old drivers leave the vendor out; case and spaces don't matter."""

    model = find(printed)

    assert model is not None
    assert model.name == name


@pytest.mark.parametrize(
    "printed",
    [
        "",
        "NVIDIA",
        "RTX",
        "NVIDIA GeForce RTX 4090 Laptop GPU",
        "Tesla V100-SXM2-16GB",
        "NVIDIA GeForce RTX 40900",
        "4090",
    ],
)
def test_other_names_are_unsupported(printed):
    """Part of a name, a laptop's card, an older generation: none of them is a model."""

    assert find(printed) is None


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_row_holds_together(model):
    """Every figure is plausible, windows of one model don't overlap, and the proof's memory lies in its window."""

    low, high = WINDOW
    windows = sorted((low * s.nominal_mib, high * s.nominal_mib) for s in model.skus)

    assert all(a[1] < b[0] for a, b in pairwise(windows))
    for s in model.skus:
        assert low * s.nominal_mib <= s.memory_bytes / MIB <= s.nominal_mib
        assert 200 <= s.bandwidth_gb_s <= 8_000
        assert sku(model, s.nominal_mib, WINDOW) is s
        assert sku(model, s.memory_bytes // MIB, WINDOW) is s
    assert 10 <= model.sm_count <= 200
    assert 1_200 <= model.boost_mhz <= 2_700
    assert 8 < model.int8_tera_ops < 550
    assert 0.05 <= model.base_price_usd_per_hour <= 6
    assert model.source
    assert model.memory_bytes == min(s.memory_bytes for s in model.skus)
    assert model.bandwidth_gb_s == model.skus[0].bandwidth_gb_s


def test_listed_prices_are_taken_over():
    """Every model of the published list has its price, and no other claims to be listed."""

    named = {alias: model for model in MODELS for alias in model.aliases}
    listed = {model.name for model in MODELS if model.price_source is PriceSource.LIUM}

    assert {alias: named[alias].base_price_usd_per_hour for alias in LISTED_PRICES} == LISTED_PRICES
    assert listed - {named[alias].name for alias in LISTED_PRICES} == {
        "RTX PRO 6000 Blackwell",
        "RTX PRO 6000 Blackwell Max-Q Workstation Edition",
    }


def test_estimate_of_a_price():
    """An RTX 3090's 24 GiB and 936 GB/s give 0.003 x 24 + 0.0001 x 936 = 0.1656, listed at 0.16."""

    assert estimate_usd_per_hour(24_576, 936) == 0.17


@pytest.mark.parametrize(
    ("printed", "vram_mib", "nominal"),
    [
        ("NVIDIA GeForce RTX 4090", 22_118, 24_564),
        ("NVIDIA GeForce RTX 4090", 25_792, 24_564),
        ("NVIDIA GeForce RTX 4090", 22_107, None),
        ("NVIDIA GeForce RTX 4090", 25_793, None),
        ("NVIDIA GeForce RTX 4060 Ti", 8_188, 8_188),
        ("NVIDIA GeForce RTX 4060 Ti", 16_380, 16_380),
        ("NVIDIA GeForce RTX 4060 Ti", 12_282, None),
        ("NVIDIA A40", 46_068, 49_140),  # ECC on, the factory's setting
        ("NVIDIA A40", 49_140, 49_140),  # ECC off
        ("Tesla T4", 15_360, 16_384),
        ("NVIDIA L4", 23_034, 24_570),
    ],
)
def test_memory_is_matched_to_a_size_that_is_sold(printed, vram_mib, nominal):
    """The window is that of one real size; ECC on or off is the same card."""

    model = find(printed)
    found = sku(model, vram_mib, WINDOW)

    assert (found and found.nominal_mib) == nominal


def test_size_with_another_bandwidth():
    """An RTX 3080 of 12 GB has 912 GB/s instead of 760, so the proof is held to its own size's."""

    assert sku(find("NVIDIA GeForce RTX 3080"), 12_288, WINDOW) == Sku(12_288, 12_045 * MIB, 912)


@pytest.mark.parametrize(
    "printed",
    [
        "Tesla P100-PCIE-16GB",
        "Tesla P40",
        "Tesla V100-SXM2-32GB",
        "Tesla V100S-PCIE-32GB",
        "Tesla M60",
        "Tesla K80",
        "NVIDIA GeForce GTX 1080 Ti",
        "GeForce GTX 1070",
        "NVIDIA GeForce GTX 980 Ti",
        "NVIDIA TITAN V",
        "NVIDIA TITAN Xp",
        "NVIDIA GeForce GTX TITAN X",
        "Quadro P6000",
        "Quadro GV100",
        "Quadro M4000",
    ],
)
def test_cards_before_turing_are_known_as_too_old(printed):
    """Kepler to Volta are told apart from names that nobody knows: they will never be in the table."""

    assert find(printed) is None
    assert is_too_old(printed)


def test_no_supported_card_is_too_old():
    """No alias of the table is taken for an older card, and nor is a name that is only unknown."""

    assert not [alias for model in MODELS for alias in model.aliases if is_too_old(alias)]
    assert not any(
        map(is_too_old, ("", "NVIDIA GeForce GTX 1660 Ti", "NVIDIA B900", "Tesla T40", "Quadro RTX 9000"))
    )


def test_integer_rate_is_of_the_chip():
    """An RTX 4090 has 128 SMs x 64 lanes x 2,520 MHz = 20.6 tera-operations a second; an RTX 5090's SMs have twice the lanes."""

    assert find("NVIDIA GeForce RTX 4090").int32_tera_ops == pytest.approx(20.64, abs=0.01)
    assert find("NVIDIA GeForce RTX 5090").int32_tera_ops == pytest.approx(52.38, abs=0.01)
    assert {m.integer_lanes for m in MODELS if m.architecture is not Architecture.BLACKWELL} == {64}
    assert {
        m.integer_lanes for m in MODELS if "RTX" in m.name and m.architecture is Architecture.BLACKWELL
    } == {128}
    assert {find(f"NVIDIA {name}").integer_lanes for name in ("B300", "B200", "GB200")} == {64}


@pytest.mark.parametrize(
    "names",
    [
        ("B200", "H200", "H100 80GB HBM3", "A100-SXM4-80GB"),
        (
            "GeForce RTX 5090",
            "GeForce RTX 5080",
            "GeForce RTX 5070 Ti",
            "GeForce RTX 5070",
            "GeForce RTX 5060",
        ),
        ("GeForce RTX 4090", "GeForce RTX 4080", "GeForce RTX 4070", "GeForce RTX 4060"),
        ("GeForce RTX 3090", "GeForce RTX 3080", "GeForce RTX 3070", "GeForce RTX 3050"),
        ("L40S", "L4"),
        ("RTX A6000", "RTX A4500", "RTX A4000", "RTX A2000 12GB"),
    ],
)
def test_dearer_cards_of_a_family_have_more_of_everything(names):
    """Down a family, floors and ceilings of bandwidth fall, and so does the integer rate."""

    family = [find(f"NVIDIA {name}") for name in names]
    ceilings = [bandwidth_bounds(model, DEFAULT.proof).max_gb_s for model in family]
    floors = [bandwidth_bounds(model, DEFAULT.proof).min_gb_s for model in family]

    assert ceilings == sorted(set(ceilings), reverse=True)
    assert floors == sorted(set(floors), reverse=True)
    assert [m.int32_tera_ops for m in family[-2:]] == sorted(
        (m.int32_tera_ops for m in family[-2:]), reverse=True
    )


def test_recomputing_memory_is_slower_than_reading_it():
    """On every card a line of 4 x 32 compressions of 1,100 operations takes at least 25 times as long as reading its 128 bytes."""

    for model in MODELS:
        for size in model.skus:
            regenerated_s = 4 * DEFAULT.proof.chain_w * 1_100 / (model.int32_tera_ops * 1e12)
            read_s = 128 / (size.bandwidth_gb_s * 1e9)
            assert regenerated_s / read_s > 25, model.name


@pytest.mark.parametrize(
    ("claimed", "real"),
    [
        ("H100 80GB HBM3", "A100-SXM4-80GB"),
        ("H100 80GB HBM3", "H100 PCIe"),
        ("B200", "H200"),
        ("GeForce RTX 5090", "GeForce RTX 4090"),
        ("GeForce RTX 4080", "GeForce RTX 5060 Ti"),
    ],
)
def test_the_static_floor_tells_neighbours_apart(claimed, real):
    """A lesser card at its own vendor's full bandwidth, with a full credit for the way, misses the floor of a dearer one."""

    claim, policy = find(f"NVIDIA {claimed}"), DEFAULT.proof
    share = find(f"NVIDIA {real}").bandwidth_gb_s / claim.bandwidth_gb_s
    credited = share / (1 - policy.latency_credit_s * share / policy.round_s)

    assert credited < policy.floor_bandwidth_share
    assert bandwidth_bounds(claim, policy).min_gb_s == pytest.approx(0.70 * claim.bandwidth_gb_s)


def test_int8_estimate():
    """An RTX 4090: 128 SMs x 64 lanes x 8 operations x 2,520 MHz = 165 tera-operations a second."""

    assert find("NVIDIA GeForce RTX 4090").int8_tera_ops == pytest.approx(165.15, abs=0.01)
