"""How evenly something is shared, by arithmetic that a reader can do in the head."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.reporting.concentration import gini, lorenz, top_share

SHARES = st.lists(st.floats(0, 1e6), min_size=1, max_size=40).filter(lambda x: sum(x) > 1e-6)


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        ([5, 5, 5, 5], 0),
        ([1, 0, 0, 0], 3 / 4),
        ([7], 0),
        # 1/2 x the mean distance of all pairs over the mean: |1-3| x 2 of 4 pairs = 1, over 2, halved
        ([1, 3], 1 / 4),
        ([0, 0, 1, 1], 1 / 2),
    ],
)
def test_gini_of_simple_shares(shares, expected):
    """All alike is 0, one of n with everything is (n-1)/n."""

    assert gini(shares) == pytest.approx(expected)


def test_of_nothing_there_is_no_concentration():
    """Where nobody has anything, or nobody is there, no number is made up."""

    assert all(math.isnan(gini(none)) for none in ([], [0, 0]))
    assert math.isnan(top_share([0], 1))


@given(SHARES, st.floats(0.001, 1000))
def test_gini_is_twice_the_area_under_the_diagonal(shares, factor):
    """The number and the curve say the same, whatever the unit and the order."""
    x, y = lorenz(shares)
    below = float(np.trapezoid(x - y, x))

    assert gini(shares) == pytest.approx(2 * below, abs=1e-9)
    assert gini([factor * s for s in reversed(shares)]) == pytest.approx(gini(shares), abs=1e-9)


def test_a_lorenz_curve_goes_from_nothing_to_everything():
    """The poorest half of 1, 1, 2, 4 has 2 of 8."""
    x, y = lorenz([4, 1, 2, 1])

    assert x.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert y.tolist() == [0, 1 / 8, 2 / 8, 4 / 8, 1]


def test_the_share_of_the_largest():
    """Of 4, 3, 2, 1 the largest has 4 of 10, the largest three 9; more than there are have all."""

    assert [top_share([1, 2, 3, 4], n) for n in (1, 3, 9)] == [0.4, 0.9, 1.0]


def test_what_is_no_share_counts_as_nothing():
    """A damaged archive gives no error and no negative share."""

    assert gini([math.nan, -3, 5, 5]) == gini([0, 0, 5, 5])
