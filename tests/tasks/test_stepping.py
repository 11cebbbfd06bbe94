import asyncio

import pytest

from tasks.errors import HostAway
from tasks.stepping import is_in_flow_run, step


def test_outside_of_a_flow_run_a_step_is_the_plain_function():
    """Where no flow runs, a step gives its function's own result, under its own name, without any server."""

    @step("double", deadline_s=1.0, retries=2)
    async def double(number: int) -> int:
        """Twice as much."""
        assert not is_in_flow_run()
        return 2 * number

    assert asyncio.run(double(21)) == 42
    assert (double.__name__, double.__doc__) == ("double", "Twice as much.")


def test_outside_of_a_flow_run_nothing_is_tried_again():
    """Retries are Prefect's: without it the first transport error is the caller's."""
    calls = []

    @step("fail", deadline_s=1.0, retries=2)
    async def fail() -> None:
        calls.append(1)
        raise HostAway("connect", "nobody there")

    with pytest.raises(HostAway):
        asyncio.run(fail())
    assert len(calls) == 1
