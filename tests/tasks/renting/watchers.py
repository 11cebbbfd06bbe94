"""A process that watches a world of leases, round after round, until it is killed; it says which round is over."""

import asyncio
import sys

from storage.database import open_database
from tasks.policy import RentingPolicy
from tasks.renting import watching
from tasks.renting.looking import Found
from tests.tasks.renting.leases import after

POLICY = RentingPolicy(meter_every_s=15, goodwill_s=30)
EVERY_S = 60


async def look_at(_key, leases):
    """Containers of leases whose names end in 7 are gone after ten minutes."""
    return {
        lease.lease_id: Found(dead="gone" if lease.lease_id.endswith("7") and look_at.at > 600 else "")
        for lease in leases
    }


def main(url, first):
    """Rounds from this one on, each a minute of the leases' time after the other."""
    engine, number = open_database(url), first

    async def one():
        run = watching.begin(engine, POLICY, lambda: after(EVERY_S * number), look_at)
        await watching.attend_all(run)
        watching.settle_open_ends(run)
        watching.finish(run)

    while True:
        look_at.at = EVERY_S * number
        asyncio.run(one())
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()
        number += 1


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
