"""A policy is foreign input of the flow: numbers that make no sense are refused before an epoch is opened."""

import math
from dataclasses import fields, is_dataclass, replace

import pytest

from tasks.errors import PolicyRefused
from tasks.limits import LIMITS, TABLES, numbers_of
from tasks.policy import DEFAULT, PRESETS, Policy, check_policy


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_presets_are_within_their_limits(name):
    """What we ship passes, on the embedded chain."""

    assert check_policy(PRESETS[name], is_embedded=True) == PRESETS[name]


def test_every_number_has_its_limits():
    """A new number of a policy comes with its row."""

    filled = replace(DEFAULT, weights=replace(DEFAULT.weights, burn_uids=(4,)))

    assert {key for key, _ in numbers_of(filled)} == set(LIMITS)


def test_every_table_has_its_limits():
    """A new table of a policy, rows of a name and numbers, comes with its row."""
    tables = {
        f"{section.name}.{field.name}"
        for section in fields(Policy)
        if is_dataclass(getattr(DEFAULT, section.name))
        for field in fields(getattr(DEFAULT, section.name))
        if str(field.type).startswith("tuple[tuple[")
    }

    assert tables == set(TABLES)


@pytest.mark.parametrize(
    ("section", "change", "told"),
    [
        ("proof", {"memory_share": 0.0}, "proof.memory_share is 0.0, expected 0.5 to 1"),
        ("proof", {"walkers": 0}, "proof.walkers is 0"),
        ("proof", {"rounds": 9}, "proof.rounds is 9"),
        ("proof", {"form": "opencl"}, "proof.form is 'opencl', expected cuda or cpu"),
        ("proof", {"round_s": math.nan}, "proof.round_s is nan"),
        ("inspection", {"min_mbit_s": -5.0}, "inspection.min_mbit_s is -5.0"),
        ("inspection", {"vram_window": (1.05, 0.9)}, "vram_window is 1.05 to 0.9, expected the least first"),
        ("scoring", {"uptime_full_s": 0.0}, "scoring.uptime_full_s is 0.0"),
        (
            "scoring",
            {"rates_usd_per_hour": (("L4", -1.0),)},
            "rates_usd_per_hour of 'L4' is -1.0, expected 0 to",
        ),
        ("scoring", {"caps": (("L4", 8, -64),)}, "scoring.caps of 'L4' is -64"),
        (
            "pricing",
            {"base_portions": (("H200", 0.6), ("L4", 0.5))},
            "base_portions sum to 1.1, expected shares",
        ),
        ("collateral", {"units_rao": (("L4", -8),)}, "collateral.units_rao of 'L4' is -8"),
        ("lium_2026", {"leased_pool": 0.1}, "lium_2026.pools sum to 1.01, expected shares of 1"),
        ("lium_2026", {"driver_since": "30 Jun"}, "driver_since is '30 Jun', expected a day, YYYY-MM-DD"),
        ("lium_2026", {"driver_min": "new"}, "driver_min is 'new', expected a version such as 580.65.06"),
        ("shadow", {"terms": ("score",)}, "shadow.terms has 'score', expected some of bandwidth, capacity"),
        (
            "collateral",
            {"source": "contract"},
            "collateral.source is 'contract', expected none, chain or ledger",
        ),
        ("collateral", {"units_rao": (("L4", -1),)}, "collateral.units_rao of 'L4' is -1, expected 0 to"),
        ("pricing", {"token_spread": -0.1}, "pricing.token_spread is -0.1"),
        ("pricing", {"base_portions": (("L4", math.nan),)}, "base_portions of 'L4' is nan"),
        ("weights", {"burn_share": 9.0}, "weights.burn_share is 9.0, expected 0 to 1"),
    ],
)
def test_a_number_that_makes_no_sense_is_refused(section, change, told):
    """Key, value and what was expected are told, and nothing was opened."""

    policy = replace(DEFAULT, **{section: replace(getattr(DEFAULT, section), **change)})

    with pytest.raises(PolicyRefused, match="policy 'default': ") as caught:
        check_policy(policy, is_embedded=False)

    assert told in str(caught.value)
