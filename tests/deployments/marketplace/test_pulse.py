"""One look for all who wait: who is woken, by what, and what a database that is away does to them."""

import asyncio
from dataclasses import dataclass, field

from deployments.marketplace.pulse import News, Pulse
from storage.errors import StorageError


@dataclass
class Tables:
    """What a look reads."""

    last: int = 7
    news: list = field(default_factory=list)
    ended: dict = field(default_factory=dict)
    is_away: bool = False
    looks: int = 0

    def pulse(self):
        """One that looks all the time."""
        return Pulse(lambda: self.last, self.read, self.why, key_check_s=0.0, look_s=0.005)

    def read(self, after):
        """The next news; none when there are none left."""
        self.looks += 1
        if self.is_away:
            raise StorageError("the database is away")
        return self.news.pop(0) if self.news else News(after)

    def why(self, keys):
        """Of the keys that are listened for."""
        return {key: why for key, why in self.ended.items() if key in keys}


def test_an_event_wakes_its_renter_and_whoever_hears_everything():
    """Alice's event is not read for by Bob's feeds."""
    tables = Tables()
    pulse = tables.pulse()

    async def heard():
        async with pulse.listen("alice") as alice, pulse.listen("bob") as bob, pulse.listen() as everything:
            tables.news.append(News(8, frozenset({"alice"})))
            return [await ear.hears(0.2) for ear in (alice, everything, bob)]

    assert asyncio.run(heard()) == [True, True, False]


def test_an_ear_is_woken_once_for_what_was_told_before_it_read():
    """Two events, one reading; then silence."""
    tables = Tables(news=[News(8, frozenset({"alice"})), News(9, frozenset({"alice"}))])
    pulse = tables.pulse()

    async def heard():
        async with pulse.listen("alice") as ear:
            await asyncio.sleep(0.1)
            assert not tables.news
            return [await ear.hears(0.1), await ear.hears(0.1)]

    assert asyncio.run(heard()) == [True, False]


def test_a_key_that_ends_wakes_its_ears():
    """It says why."""
    tables = Tables()
    pulse = tables.pulse()

    async def heard():
        async with pulse.listen("alice", "k1") as ear, pulse.listen("alice", "k2") as other:
            tables.ended["k1"] = "it was revoked"
            return await ear.hears(1.0), ear.ended, other.ended

    assert asyncio.run(heard()) == (True, "it was revoked", "")


def test_a_database_that_is_away_is_looked_at_again():
    """What happened meanwhile is heard then."""
    tables = Tables(is_away=True)
    pulse = tables.pulse()

    async def heard():
        async with pulse.listen("alice") as ear:
            silent = await ear.hears(0.05)
            tables.news.append(News(8, frozenset({"alice"})))
            tables.is_away = False
            return silent, await ear.hears(1.0)

    assert asyncio.run(heard()) == (False, True)


def test_nobody_looks_when_nobody_waits():
    """The last ear takes the look with it, and the next one begins it again, in whatever loop."""
    tables = Tables()
    pulse = tables.pulse()

    async def heard():
        async with pulse.listen("alice") as ear:
            await ear.hears(0.02)
        await asyncio.sleep(0.02)
        before = tables.looks
        await asyncio.sleep(0.03)
        return tables.looks - before

    assert [asyncio.run(heard()), asyncio.run(heard())] == [0, 0]
    assert tables.looks > 1
