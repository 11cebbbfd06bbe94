"""For which site passkeys are: browsers have them for names, by TLS or on one's own computer, and never for an address."""

from __future__ import annotations

from ipaddress import ip_address

from fastapi import Request

from deployments.marketplace.pages.visitors import has_tls
from tasks.edges.passkeys import Site


def site_of(request: Request) -> Site | None:
    """The site that passkeys are for, as the browser names it; None where browsers have none."""
    host = request.url.hostname or ""
    if not host or not (has_tls(request) or host == "localhost") or _is_address(host):
        return None
    return Site(host, f"{request.url.scheme}://{request.url.netloc}")


def better_place(request: Request, path: str) -> str:
    """Where a page of this path has passkeys: one's own computer has a name as well as an address; empty: nowhere else."""
    host, port = request.url.hostname or "", request.url.port
    if not _is_address(host) or not ip_address(host).is_loopback:
        return ""
    return f"{request.url.scheme}://localhost{f':{port}' if port else ''}{path}"


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
