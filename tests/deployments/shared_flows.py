"""Flows for several Prefect servers: a burst of tasks, and one that says which process ran it.

python -m tests.deployments.shared_flows N      a burst, reported to PREFECT_API_URL
"""

import asyncio
import os
import sys

from prefect import flow, task


@task
async def nothing() -> None:
    """A task run, and no work."""


@flow
async def burst(tasks: int) -> None:
    """As many task runs at once as come from a network that refuses connections."""
    turns = asyncio.Semaphore(200)

    async def one() -> None:
        async with turns:
            await nothing()

    await asyncio.gather(*(one() for _ in range(tasks)))


@flow
async def whose(folder: str, number: int) -> None:
    """Add a line with the process that started it, long enough at work that another worker takes the next one."""
    with open(f"{folder}/{number}", "a") as file:  # noqa: ASYNC230, PTH123  a line
        file.write(f"{os.getppid()}\n")
    await asyncio.sleep(1)


if __name__ == "__main__":
    asyncio.run(burst(int(sys.argv[1])))
