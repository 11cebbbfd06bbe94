"""Where browsers find a site: scheme, host and port, written as browsers write them.

    https, Market.Example:443  ->  https://market.example

What readers of addresses could disagree about is no origin: users, paths, numbers that are no address, names with a dot at the end.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address

USUAL_PORTS = {"http": 80, "https": 443}
_AUTHORITY = re.compile(r"([a-z0-9.-]{1,253}|\[[0-9a-f:.]{2,45}\])(?::([0-9]{1,5}))?", re.ASCII)
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)


def origin_of(scheme: str, authority: str) -> str | None:
    """The origin of this scheme and this host, with a port or without; None where there is none."""
    usual = USUAL_PORTS.get(scheme)
    found = _AUTHORITY.fullmatch(authority.lower()) if usual and authority.isascii() else None
    host = _host(found[1]) if found else None
    port = int(found[2] or usual or 0) if found else 0
    if host is None or not 0 < port < 65_536:
        return None
    return f"{scheme}://{host}" + ("" if port == usual else f":{port}")


def is_loopback(origin: str) -> bool:
    """Whether it is on the computer of whoever looks."""
    host = origin.partition("://")[2]
    host = host.partition("]")[0].removeprefix("[") if host.startswith("[") else host.partition(":")[0]
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _host(text: str) -> str | None:
    try:
        if text.startswith("["):
            return f"[{IPv6Address(text[1:-1]).compressed}]"
        labels = text.split(".")
        if _NUMBER.fullmatch(labels[-1]):  # browsers read such a host as an address, whatever it looks like
            return str(IPv4Address(text))
    except ValueError:
        return None
    return text if all(_LABEL.fullmatch(label) for label in labels) else None
