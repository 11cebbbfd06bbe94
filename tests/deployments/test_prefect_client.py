"""Prefect's client for whoever a renter waits for, over a server that is busy at times."""

import asyncio

import httpx
import pytest
from prefect.client.orchestration import PrefectClient

from deployments.prefect_client import SOON

IN_TIME_S = 1.5
"""Less than Prefect's client waits by itself for the first time."""


def answering(*statuses):
    """A server that answers with these, one after the other; what it was asked for, and the settings to reach it."""
    left, asked = list(statuses), []

    async def answer(request):
        asked.append(request.url.path)
        return httpx.Response(left.pop(0), headers={"X": "1"})

    return asked, {**SOON, "transport": httpx.MockTransport(answer)}


async def hello(settings):
    async with PrefectClient("http://prefect.test/api", httpx_settings=settings) as client:
        async with asyncio.timeout(IN_TIME_S):
            return (await client.hello()).status_code


def test_a_busy_server_is_asked_again_within_moments():
    """Its database was written to by another: 503, and the third time it answers."""
    asked, settings = answering(503, 503, 200)

    assert asyncio.run(hello(settings)) == 200
    assert len(asked) == 3


def test_a_server_that_says_how_long_is_heard():
    """One that is not busy for a moment knows better."""
    response = httpx.Response(503, headers={"Retry-After": "30"})
    (hook,) = SOON["event_hooks"]["response"]
    asyncio.run(hook(response))

    assert response.headers["Retry-After"] == "30"


@pytest.mark.parametrize("status", [200, 404, 500])
def test_other_answers_are_as_they_are(status):
    """There is nothing to come again for."""
    response = httpx.Response(status)
    (hook,) = SOON["event_hooks"]["response"]
    asyncio.run(hook(response))

    assert "Retry-After" not in response.headers
