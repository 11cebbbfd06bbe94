"""Where a request comes from, when proxies of the operator's own stand before the marketplace.

    10.0.0.1 (ours) says `X-Forwarded-For: 198.51.100.9, 203.0.113.7, 10.0.0.2`   ->   203.0.113.7

Each proxy adds whom it was asked by at the end: read from there, the first address that is none of ours is the last one that
a proxy of ours has seen itself. Whatever stands before it was sent by anybody, and is not read. Of whoever is no proxy of ours
the header is not read at all.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from typing import TypeAlias

from flows.settings import Network

MOST_PROXIES = 32
"""So many entries are read, from the end."""
_LONGEST_ENTRY = 64
HEADER = b"x-forwarded-for"
SCHEME_HEADER = b"x-forwarded-proto"
_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address


def client_of(peer: str, headers: Iterable[tuple[bytes, bytes]], trusted: tuple[Network, ...]) -> str:
    """The address of whoever asks: the peer's own, unless the peer is a proxy of ours that says another.

    What can't be read ends the way back: the nearest address that is known stands, so that nonsense gives nobody a new one.
    """
    nearest = _address(peer)
    if nearest is None or not _is_in(nearest, trusted):
        return peer
    for entry in _from_the_end([value for name, value in headers if name == HEADER]):
        found = _address(entry)
        if found is None:
            break
        nearest = found
        if not _is_in(found, trusted):
            break
    return str(nearest)


def scheme_of(
    peer: str, headers: Iterable[tuple[bytes, bytes]], trusted: tuple[Network, ...], own: str
) -> str:
    """How whoever asks has asked: as a proxy of ours says, which speaks TLS in our place; else as it came to us."""
    nearest = _address(peer)
    if nearest is None or not _is_in(nearest, trusted):
        return own
    told = [value.strip().lower() for name, value in headers if name == SCHEME_HEADER]
    return told[-1].decode() if told and told[-1] in (b"http", b"https") else own


def _from_the_end(values: list[bytes]) -> Iterator[str]:
    """The last entries, the last first; no more of the headers is taken apart than these."""
    left = MOST_PROXIES
    for value in reversed(values):
        rest: bytes | None = value
        while rest is not None and left:
            head, comma, last = rest.rpartition(b",")
            yield last.decode("latin-1") if len(last) <= _LONGEST_ENTRY else ""
            rest, left = (head if comma else None), left - 1


def _address(text: str) -> _Address | None:
    """An address as proxies write them: with a port or without, IPv6 in brackets or not; IPv4 in IPv6 is itself."""
    word = text.strip()
    if word.startswith("["):
        word = word[1:].partition("]")[0]
    elif word.count(":") == 1:
        word = word.partition(":")[0]
    try:
        found = ipaddress.ip_address(word)
    except ValueError:
        return None
    if isinstance(found, ipaddress.IPv6Address):
        return found.ipv4_mapped or (None if found.scope_id else found)
    return found


def _is_in(address: _Address, trusted: Iterable[Network]) -> bool:
    return any(address in network for network in trusted)
