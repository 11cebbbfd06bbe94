"""Whose address counts behind proxies: what one of ours has seen itself, and nothing that was sent along."""

from ipaddress import ip_network

import pytest

from deployments.marketplace.buckets import Rate
from deployments.marketplace.market import Limits
from deployments.marketplace.proxies import client_of
from tests.deployments.marketplace.world import world

OURS = (ip_network("10.0.0.0/24"), ip_network("192.0.2.1"), ip_network("2001:db8::/64"))
RENTER = "203.0.113.7"


def told(*values, peer="10.0.0.1", trusted=OURS):
    """Whose it is with these headers."""
    return client_of(peer, [(b"host", b"market"), *((b"x-forwarded-for", v) for v in values)], trusted)


@pytest.mark.parametrize(
    ("values", "client"),
    [
        ([], "10.0.0.1"),
        ([b"203.0.113.7"], RENTER),
        ([b"198.51.100.9, 203.0.113.7, 10.0.0.2"], RENTER),
        ([b"198.51.100.9", b"203.0.113.7,10.0.0.2"], RENTER),
        ([b"10.0.0.9, 203.0.113.7"], RENTER),
        ([b"203.0.113.7:50123"], RENTER),
        ([b"::ffff:203.0.113.7"], RENTER),
        ([b"2001:db8:1::7, 2001:db8::5"], "2001:db8:1::7"),
        ([b"[2001:db8:1::7]:443"], "2001:db8:1::7"),
        ([b"10.0.0.3, 10.0.0.2"], "10.0.0.3"),
    ],
)
def test_the_last_address_that_is_none_of_ours(values, client):
    """Read from the end, over our own proxies; what stands before it was sent by anybody."""
    assert told(*values) == client


@pytest.mark.parametrize("peer", ["198.51.100.9", "unknown", ""])
def test_who_is_no_proxy_of_ours_is_not_believed(peer):
    """Its own address counts, whatever it sends; and nobody is believed where no proxy is named."""
    assert told(b"203.0.113.7", peer=peer) == peer
    assert told(b"203.0.113.7", peer="10.0.0.1", trusted=()) == "10.0.0.1"


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b",,,",
        b"unknown",
        b"203.0.113.7, _hidden",
        b"203.0.113.7, 1.2.3.4.5",
        b"203.0.113.7, fe80::1%eth0",
        b"203.0.113.7, \xff\x00\n",
        b"203.0.113.7, [",
        b"203.0.113.7," + b"1" * 65_536,
    ],
)
def test_nonsense_ends_the_way_back(value):
    """The nearest address that is known stands: nobody gets a fresh one by what can't be read."""
    assert told(value) == "10.0.0.1"


def test_of_a_great_many_entries_the_last_ones_are_read():
    """Of one header of 64 KiB or of ten thousand headers."""
    found = [
        told(b"203.0.113.7," + b"," * 65_536),
        told(b"203.0.113.7," + b"10.0.0.2," * 7_000 + b"10.0.0.3"),
        told(*[b"203.0.113.7"] + [b"10.0.0.2"] * 10_000),
        told(b"198.51.100.9," * 5_000 + b"203.0.113.7"),
    ]

    assert found == ["10.0.0.1", "10.0.0.2", "10.0.0.2", RENTER]


def test_behind_a_proxy_each_renter_has_a_rate_of_its_own(tmp_path):
    """One who asks too often keeps no other from asking, and gets no further by what it writes before its address."""
    limits = Limits(per_address=Rate(per_s=1, burst=2))
    with world(tmp_path, limits=limits, trusted_proxies=OURS) as market:

        def ask(*addresses):
            headers = {"X-Forwarded-For": ", ".join(addresses)}
            return market.stranger().get("/v1/health", headers=headers).status_code

        assert [ask(f"198.51.100.{n}", RENTER) for n in range(3)] == [200, 200, 429]
        assert ask("203.0.113.8") == 200
