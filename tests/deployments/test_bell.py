"""The bell of a work pool: heard by the one who listens, harmless where nobody does."""

import asyncio
import secrets

from deployments.bell import bell_of, heard, ring


def hearing(*bells, times=1):
    """Whether who listens to the first of them hears the rings of all."""

    async def listen():
        rung = asyncio.Event()
        with heard(bells[0], rung):
            for bell in bells:
                for _ in range(times):
                    ring(bell)
            try:
                await asyncio.wait_for(rung.wait(), 0.5)
            except TimeoutError:
                return False
            return True

    return asyncio.run(listen())


def a_bell(pool="renting"):
    return bell_of(f"http://127.0.0.1:4200/{secrets.token_hex(8)}", pool)


def test_who_listens_hears_it():
    """And is not filled up by a thousand rings: there is one thing to do."""
    assert hearing(a_bell())
    assert hearing(a_bell(), times=1_000)


def test_another_pools_bell_is_not_heard():
    """Nor that of another server."""
    url = f"http://127.0.0.1:4200/{secrets.token_hex(8)}"
    quiet, other = bell_of(url, "renting"), bell_of(url, "validator")

    async def listen():
        rung = asyncio.Event()
        with heard(quiet, rung):
            ring(other)
            ring(a_bell())
            await asyncio.sleep(0.05)
            return rung.is_set()

    assert len({quiet, other, a_bell()}) == 3
    assert asyncio.run(listen()) is False


def test_ringing_where_nobody_listens_is_nothing():
    """A worker may be on another machine, or not there."""
    ring(a_bell())


def test_a_second_listener_is_no_error():
    """It looks by its clock; when the first one has gone, the bell is free again."""

    async def listen():
        bell, first, second, third = a_bell(), asyncio.Event(), asyncio.Event(), asyncio.Event()
        with heard(bell, first), heard(bell, second):
            ring(bell)
            await asyncio.wait_for(first.wait(), 5)
        with heard(bell, third):
            ring(bell)
            await asyncio.wait_for(third.wait(), 5)
        return second.is_set()

    assert asyncio.run(listen()) is False
