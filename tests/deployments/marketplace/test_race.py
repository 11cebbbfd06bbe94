"""More requests than machines, at once."""

from collections import Counter

import pytest

from tests.deployments.marketplace.racing import race


@pytest.mark.slow
def test_two_hundred_requests_for_fifty_machines_make_fifty_leases(tmp_path):
    """Every request is taken at once; fifty are handed over, each with a machine of its own, and the rest are told why not."""
    raced = race(tmp_path, requests=200, machines=50)

    active = [lease for lease in raced.leases if lease.state.value == "active"]
    refused = [lease for lease in raced.leases if lease.state.value != "active"]
    assert raced.statuses == {202: 200}
    assert raced.states == {"active": 50, "failed": 150}
    assert len({lease.executor_key for lease in active}) == 50
    assert Counter(raced.held.values()) == dict.fromkeys((lease.lease_id for lease in active), 2)
    assert {lease.reason for lease in refused} == {"reserve: no machine is free, of 50 that fit"}
    assert {lease.paid_s for lease in refused} == {0}
