"""Yuma against vectors measured on a real runtime (spec 143), and against its own laws."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.localnet.chain.yuma import ONE, Consensus, Subnet, run_epoch

STAKE = (5000, 3000, 2000, 0, 0, 0)
FIRST = ({3: 65535, 4: 32768}, {3: 65535, 5: 65535}, {4: 65535, 5: 6553}, {}, {}, {})
LATER = ({3: 20000, 5: 65535}, *FIRST[1:])


def subnet(**changes) -> Subnet:
    """Three validators and three miners, all permitted and active, bonds empty."""
    plain = Subnet(
        stake=STAKE,
        has_permit=(True,) * 6,
        is_active=(True,) * 6,
        last_update=(10,) * 6,
        registered_at=(1,) * 6,
        weights=FIRST,
        bonds=({},) * 6,
        last_epoch_block=9,
    )
    return replace(plain, **changes)


def four_epochs(version: int) -> list[Consensus]:
    """The hand case: two epochs with the first weights, two with v0's later ones."""
    results, bonds = [], ({},) * 6
    for weights in (FIRST, FIRST, LATER, LATER):
        results.append(run_epoch(subnet(weights=weights, bonds=bonds), version))
        bonds = results[-1].bonds
    return results


VECTORS = {
    "consensus": [(43689, 21845, 5957), (43689, 21845, 5957), (15323, 0, 50211), (15323, 0, 50211)],
    "incentive": [(41561, 20064, 3908), (41561, 20064, 3908), (16603, 0, 48931), (16603, 0, 48931)],
    "trust": [(65535, 43880, 17711), (65535, 43880, 17711), (45928, 0, 65535), (45928, 0, 65535)],
    "dividends": [(42995, 15243, 7296), (42995, 15243, 7295), (14743, 33014, 17776), (17707, 31667, 16160)],
    "validator_trust": [(65534, 38724, 27802)] * 2 + [(65534, 48091, 5957)] * 2,
}
BONDS = [
    ({3: 65535, 4: 65535}, {3: 29490, 5: 65535}, {4: 26213, 5: 43689}),
    ({3: 65535, 4: 65535}, {3: 29490, 5: 65535}, {4: 26213, 5: 43689}),
    ({3: 65535, 4: 65535, 5: 8028}, {3: 30389, 5: 65535}, {4: 26212, 5: 41974}),
    ({3: 65535, 4: 65535, 5: 16091}, {3: 31213, 5: 65535}, {4: 26211, 5: 40251}),
]


@pytest.mark.parametrize("column", ["consensus", "incentive", "trust"])
def test_version_2_gives_miners_what_a_real_runtime_gave_them(column):
    """Version 2 is bit-exact for miners over four epochs."""
    assert [getattr(result, column)[3:] for result in four_epochs(2)] == VECTORS[column]


@pytest.mark.parametrize("column", ["dividends", "validator_trust"])
def test_version_2_gives_validators_what_a_real_runtime_gave_them(column):
    """Version 2 is bit-exact for validators over four epochs."""
    assert [getattr(result, column)[:3] for result in four_epochs(2)] == VECTORS[column]


def test_version_2_stores_the_bonds_that_a_real_runtime_stored():
    """Bonds of version 2 are bit-exact over four epochs, each built on the one before."""
    assert [result.bonds[:3] for result in four_epochs(2)] == BONDS


def test_version_3_shares_consensus_and_incentive_with_version_2():
    """The versions differ in bonds and dividends only."""
    for two, three in zip(four_epochs(2), four_epochs(3), strict=True):
        assert (two.consensus, two.incentive, two.trust, two.validator_trust) == (
            three.consensus,
            three.incentive,
            three.trust,
            three.validator_trust,
        )


def test_version_3_bonds_are_a_moving_average_of_the_clipped_weights():
    """From empty bonds, one epoch stores a tenth of the clipped weight, as a share of 65535."""
    first = run_epoch(subnet(), 3)

    # v0 gives uid 3 two thirds, consensus is two thirds: a tenth of it is 0.0667 x 65535 = 4368
    assert first.bonds[0] == {3: 4368, 4: 2184}
    # v1 gives uid 5 one half, clipped to 0.0909: 0.00909 x 65535 = 595
    assert first.bonds[1] == {3: 3276, 5: 595}


def test_version_3_pays_dividends_by_stake_times_bond_share():
    """Two validators with the same row are paid by their stake alone: 3 to 1."""
    row = {2: 65535}
    result = run_epoch(
        subnet(
            stake=(3000, 1000, 0),
            has_permit=(True,) * 3,
            is_active=(True,) * 3,
            last_update=(10,) * 3,
            registered_at=(1,) * 3,
            weights=(row, row, {}),
            bonds=({},) * 3,
        ),
        3,
    )

    assert result.dividends == (49151, 16383, 0)
    assert result.incentive == (0, 0, 65535)


def test_a_minority_alone_moves_nothing():
    """A validator with less than half the stake can't raise a miner that others give nothing."""
    result = run_epoch(subnet(weights=({3: 1}, {3: 1}, {5: 1}, {}, {}, {})), 3)

    assert result.consensus[3:] == (65535, 0, 0)
    assert result.incentive[3:] == (65535, 0, 0)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"has_permit": (False, *(True,) * 5)}, "v0 has no permit"),
        ({"is_active": (False, *(True,) * 5)}, "v0 was silent too long"),
    ],
)
def test_a_validator_that_does_not_count_has_no_say(change, why):
    """Without permit or activity half of the stake falls silent, and uid 4 loses its consensus."""
    assert run_epoch(subnet(**change), 2).consensus[4] == 0, why


def test_weights_older_than_a_targets_registration_are_dropped():
    """A uid that changed hands after the weights were set gets none of them."""
    result = run_epoch(subnet(registered_at=(1, 1, 1, 10, 1, 1)), 2)

    assert result.incentive[3] == 0


def test_bonds_to_neurons_registered_since_the_last_epoch_are_dropped():
    """Old bonds to a fresh neuron don't pay: the result is that of empty bonds."""
    old = ({5: 65535}, {}, {}, {}, {}, {})
    fresh = (1, 1, 1, 1, 1, 9)

    dropped = run_epoch(subnet(bonds=old, registered_at=fresh), 3)

    assert dropped.bonds == run_epoch(subnet(registered_at=fresh), 3).bonds
    assert run_epoch(subnet(bonds=old), 3).bonds != dropped.bonds


def test_self_weight_counts_for_the_owner_only():
    """The diagonal is masked, but for the subnet's owner."""
    rows = ({0: 65535}, {}, {}, {}, {}, {})

    assert run_epoch(subnet(weights=rows), 3).incentive[0] == 0
    assert (
        run_epoch(subnet(weights=rows, owner_uid=0, stake=(6000, 2000, 2000, 0, 0, 0)), 3).incentive[0]
        == 65535
    )


def test_permits_go_to_the_greatest_stakes_and_to_the_owner():
    """With two seats the two greatest stakes get a permit; the owner has one without stake."""
    result = run_epoch(subnet(max_validators=2, owner_uid=5), 3)

    assert result.has_permit == (True, True, False, False, False, True)
    assert result.bonds[2] == {}, "without a permit no bonds are kept"


def test_a_subnet_without_stake_decides_nothing():
    """No stake gives zeros everywhere and no permits."""
    result = run_epoch(subnet(stake=(0,) * 6), 3)

    assert result.incentive == result.dividends == (0,) * 6
    assert not any(result.has_permit)


def test_only_versions_2_and_3_exist():
    """Any other version is refused."""
    with pytest.raises(ValueError, match="versions 2 and 3, not 1"):
        run_epoch(subnet(), 1)


rows = st.dictionaries(st.integers(0, 5), st.integers(0, 65535), max_size=6)


@settings(max_examples=60, deadline=None)
@given(
    stake=st.lists(st.integers(0, 2**60), min_size=6, max_size=6),
    weights=st.lists(rows, min_size=6, max_size=6),
    bonds=st.lists(rows, min_size=6, max_size=6),
    version=st.sampled_from([2, 3]),
)
def test_shares_never_exceed_one(stake, weights, bonds, version):
    """Whatever is set, incentive and dividends are shares of one and every stored value is a u16."""
    result = run_epoch(subnet(stake=tuple(stake), weights=weights, bonds=bonds), version)

    assert sum(result.incentive_share) <= ONE
    assert sum(result.dividend_share) <= ONE
    stored = [*result.consensus, *result.trust, *(v for row in result.bonds for v in row.values())]
    assert all(0 <= value <= 65535 for value in stored)
