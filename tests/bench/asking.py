"""One question, asked cold: `python -m tests.bench.asking (duckdb|sqlite) PLACE NUMBER` prints seconds and rows as JSON.

A fresh process and a fresh connection, and none of the files in the page cache. The seconds are those from the
connection to the last row; loading Python and its packages is not counted, for neither.
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from storage.query import Limits, query_arrow
from tests.bench.questions import QUESTIONS


def main(arguments: Sequence[str]) -> None:
    """Ask, and print what it took."""
    kind, place, number = arguments[0], Path(arguments[1]), int(arguments[2])
    question = QUESTIONS[number - 1]
    forget_pages(place)
    began_s = time.perf_counter()
    if kind == "duckdb":
        rows = [tuple(row.values()) for row in query_arrow(place, question.sql, Limits(300.0)).to_pylist()]
    else:
        rows = sqlite3.connect(f"file:{place}?mode=ro", uri=True).execute(question.sqlite).fetchall()
    print(json.dumps({"seconds": time.perf_counter() - began_s, "rows": rows}))


def forget_pages(place: Path) -> None:
    """Have the kernel drop what it holds of these files."""
    for path in [place] if place.is_file() else filter(Path.is_file, place.rglob("*")):
        descriptor = os.open(path, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


if __name__ == "__main__":
    main(sys.argv[1:])
