"""The reference part of docs/history.md, written from the schemas: `python -m storage.describe` renews it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from storage.schemas import SCHEMAS
from storage.tables import metadata

PAGE = Path(__file__).parents[1] / "docs" / "history.md"
MARK = "<!-- written by `python -m storage.describe`; do not edit below -->"
_HEAD = ("| column | type | meaning |", "|---|---|---|")


def reference() -> str:
    """Every table of the history and of the state, every column with its type, unit and meaning, as Markdown."""
    return "\n".join([*_history(), *_state()]) + "\n"


def _history() -> Iterator[str]:
    yield "## Columns of the history"
    for name, schema in SCHEMAS.items():
        yield from ("", f"### history: {name}", "", *_HEAD)
        for field in schema:
            yield _row(
                field.name, _type(field.type), field.metadata[b"about"].decode(), is_nullable=field.nullable
            )
        yield _row("day", "text", "YYYY-MM-DD, UTC, from the folder's name", is_nullable=False)


def _state() -> Iterator[str]:
    yield from ("", "## Columns of the state")
    for name, table in metadata.tables.items():
        yield from ("", f"### state: {name}", "", *_HEAD)
        for column in table.columns:
            kind = str(column.type).lower() + (", key" if column.primary_key else "")
            yield _row(column.name, kind, column.info["about"], is_nullable=bool(column.nullable))


def _row(name: str, kind: str, about: str, *, is_nullable: bool) -> str:
    return f"| `{name}` | {kind}{' or null' if is_nullable else ''} | {about} |"


def _type(kind: pa.DataType) -> str:
    if pa.types.is_list(kind):
        return f"list of {_type(kind.value_type)}"
    if pa.types.is_struct(kind):
        return "{" + ", ".join(field.name for field in kind) + "}"
    plain = {"string": "text", "double": "float64", "timestamp[us, tz=UTC]": "time"}
    return plain.get(str(kind), str(kind))


def renew() -> None:
    """Write the reference below the mark in docs/history.md."""
    above = PAGE.read_text(encoding="utf-8").partition(MARK)[0]
    PAGE.write_text(f"{above}{MARK}\n\n{reference()}", encoding="utf-8")


if __name__ == "__main__":
    renew()
