from __future__ import annotations

import pytest

from deployments.localnet.fleet.packets import GATEWAY, Held, Host, address_of, packed

OURS, NEAR, FAR = 3, 4, 5
HOSTS = {packed("198.51.100.2"): Host(NEAR, 0.01), packed("198.51.100.3"): Host(FAR, 0.15)}


def _packet(source, destination, content=b""):
    return bytes([0x45]) + bytes(11) + packed(source) + packed(destination) + content


@pytest.fixture
def held():
    return Held(HOSTS, OURS)


def test_a_packet_is_held_half_a_round_trip_each_way(held):
    """To the far host 150 ms, from the near one 10 ms; then they come out where they go."""
    there = _packet("198.51.100.1", "198.51.100.3")
    back = _packet("198.51.100.2", "198.51.100.1")
    held.put(there, now=1.0)
    held.put(back, now=1.1)

    assert list(held.due(1.109)) == []
    assert list(held.due(1.111)) == [(OURS, back)]
    assert held.wait_s(1.11) == pytest.approx(0.04)
    assert list(held.due(1.151)) == [(FAR, there)]
    assert held.wait_s(2.0) is None


def test_packets_of_a_host_keep_their_order(held):
    """Also those that came at the same instant."""
    sent = [_packet("198.51.100.1", "198.51.100.3", bytes([n])) for n in range(100)]
    for packet in sent:
        held.put(packet, now=1.0)

    assert [packet for _, packet in held.due(2.0)] == sent


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        bytes([0x45]) + bytes(10),
        bytes([0x60]) + bytes(60),
        _packet("198.51.100.1", "192.0.2.9"),
    ],
)
def test_what_belongs_to_no_host_is_dropped(held, packet):
    """Scraps, IPv6, strangers' addresses."""
    held.put(packet, now=1.0)

    assert held.wait_s(1.0) is None


def test_a_full_link_loses_packets():
    """As any queue does: memory is bounded."""
    held = Held(HOSTS, OURS, most=10)
    for _ in range(20):
        held.put(_packet("198.51.100.1", "198.51.100.3"), now=1.0)

    assert len(list(held.due(2.0))) == 10


def test_every_host_has_an_address_of_its_own():
    """Five hundred, none of which is ours."""
    addresses = {address_of(number) for number in range(500)}

    assert len(addresses) == 500
    assert GATEWAY not in addresses
