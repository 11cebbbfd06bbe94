"""A process that posts to a ledger from several threads until it is killed, and says of each posting that it is kept."""

import sys
import threading
from datetime import UTC, datetime

from storage.database import open_database
from storage.money import Money
from storage.rental import Entry, Transfer

AT = datetime(2026, 8, 1, tzinfo=UTC)


def event(number):
    """The transfer of an event: a dollar of one of three renters, with some rao beside it."""
    entries = (
        Entry(f"renter:{number % 3}", -1_000_000, -number),
        Entry("miner:a", 900_000, number),
        Entry("platform", 100_000),
    )
    return Transfer(f"t-{number}", AT, "METER", entries, lease_id=f"l-{number % 7}")


def main(url, first, threads):
    """Post events first, first + 1, ... for ever; a line for each that `post` came back from."""
    money, numbers = Money(open_database(url)), iter(range(first, 1 << 30))
    lock = threading.Lock()

    def work():
        while True:
            with lock:
                number = next(numbers)
            is_new = money.post(event(number))
            sys.stdout.write(f"{number} {is_new}\n")
            sys.stdout.flush()

    for _ in range(threads):
        threading.Thread(target=work).start()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
