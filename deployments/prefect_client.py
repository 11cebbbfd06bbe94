"""Prefect's client for whoever a renter waits for.

Prefect's server answers 503 whenever another of its transactions has written to SQLite in the meantime, which happens
every few seconds beside a worker that asks for work. Its client then waits 2, 4 and 8 s, unless the answer says how long.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx
from prefect.client.orchestration import PrefectClient, SyncPrefectClient, get_client
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

from deployments.prefect_auth import SENT

AGAIN_S = 0.2
_HEADER = "Retry-After"


async def say_soon(response: httpx.Response) -> None:
    """Let a 503 that does not say when to come again say: in a moment."""
    if response.status_code == httpx.codes.SERVICE_UNAVAILABLE and _HEADER not in response.headers:
        response.headers[_HEADER] = str(AGAIN_S)


SOON: Mapping[str, Any] = {"event_hooks": {"response": [say_soon]}}
"""Settings of the client that Prefect's is made of."""


def quick_client() -> PrefectClient:
    """A client that asks a busy server again within moments, as often as PREFECT_CLIENT_MAX_RETRIES says."""
    return get_client(httpx_settings=dict(SOON))


@contextmanager
def client_of(environment: Mapping[str, str]) -> Iterator[SyncPrefectClient]:
    """A client of the server that this environment names, signed in; whatever the process's own settings are."""
    with (
        temporary_settings(
            {
                PREFECT_API_URL: environment["PREFECT_API_URL"],
                PREFECT_API_AUTH_STRING: environment.get(SENT) or None,
            }
        ),
        get_client(sync_client=True) as client,
    ):
        yield client
