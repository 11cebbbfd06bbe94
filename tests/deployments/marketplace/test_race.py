"""More requests than machines, at once."""

from collections import Counter

import pytest

from tests.deployments.marketplace.racing import race


@pytest.mark.parametrize(
    ("requests", "machines"),
    [
        pytest.param(40, 10, marks=pytest.mark.slow),
        pytest.param(200, 50, marks=pytest.mark.long),
    ],
)
def test_more_requests_than_machines_make_as_many_leases_as_machines(tmp_path, requests, machines):
    """Every request is taken at once; each machine is handed over to one, and the rest are told why not."""
    raced = race(tmp_path, requests, machines)

    active = [lease for lease in raced.leases if lease.state.value == "active"]
    refused = [lease for lease in raced.leases if lease.state.value != "active"]
    assert raced.statuses == {202: requests}
    assert raced.states == {"active": machines, "failed": requests - machines}
    assert len({lease.executor_key for lease in active}) == machines
    assert Counter(raced.held.values()) == dict.fromkeys((lease.lease_id for lease in active), 2)
    assert {lease.reason for lease in refused} == {f"reserve: no machine is free, of {machines} that fit"}
    assert {lease.paid_s for lease in refused} == {0}
