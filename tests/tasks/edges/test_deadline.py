"""The private loop of an edge: given up by several at once, it still ends in order."""

import asyncio
import threading

from tasks.edges.deadline import LoopThread


def test_a_loop_that_is_given_up_twice_says_farewell_once():
    """Whoever gives it up a second time, while it winds down, breaks neither its farewell nor its thread."""

    farewells, winding = [], threading.Event()

    async def farewell():
        winding.set()
        await asyncio.sleep(0.05)
        farewells.append("whole")

    loop = LoopThread("given up", farewell)
    loop.stop()
    assert winding.wait(5)
    loop.stop(5.0)

    assert farewells == ["whole"]
    assert not loop._thread.is_alive()
