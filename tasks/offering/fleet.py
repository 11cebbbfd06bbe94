"""Changes to the machines in a miner's file: one table of it is edited as text, everything else stays byte for byte.

    text -> edit of the lines of one [[executor]] -> read back: exactly the change that was meant, and a file that fits
         -> written whole in the old one's place, with its owner and mode

The reading back is what makes it safe: whatever TOML the file is written in, an edit that would mean anything else, or
that can't be made, is refused with the lines to write by hand. The same change made twice is made once.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tasks.errors import SettingError
from tasks.offering.config import MAX_CONFIG_BYTES, parse_config
from tasks.offering.files import locked, replace_whole

Entry = Mapping[str, str | int | float]
"""One [[executor]] table."""
Edit = Callable[[str], str]

_HEADER = re.compile(r"[ \t]*\[\[[ \t]*executor[ \t]*\]\][ \t]*(#.*)?")
_ANY_HEADER = re.compile(r"[ \t]*\[")
_NUMBER_LINE = r"(?P<before>[ \t]*{key}[ \t]*=[ \t]*)(?P<value>[^#\s]+)(?P<after>[ \t]*(#.*)?)"


def change(path: Path, edit: Edit, *, begin: str | None = None) -> bool:
    """Edit the file under its lock; False when it is as wanted already. SettingError with what to do about it.

    `begin`: what stands in a file that is not there yet, before it is edited; without it there has to be one.
    """
    place = path.resolve()  # a link stays one
    with _at(place):
        old = begin if begin is not None and not place.exists() else _read(place)
        new = edit(old)
        if new != old:
            parse_config(new)
            replace_whole(place, new.encode("utf-8"))
    return new != old


def add(entry: Entry) -> Edit:
    """The table at the end of the file; as it is when the machine stands there with the same values already."""

    def edit(text: str) -> str:
        known = {one.get("id"): one for one in _machines(text)}
        if (found := known.get(entry["id"])) is not None:
            if {**found, **entry} == found:
                return text
            named = ", ".join(key for key in entry if found.get(key) != entry[key])
            mend = f"an id of its own; {entry['id']} is there with another {named}: edit the file, or remove it first"
            raise SettingError("--id", str(entry["id"]), mend)
        end = _newline(text)
        lines = ["[[executor]]", *(f"{key} = {_literal(value)}" for key, value in entry.items())]
        gap = "" if not text else end if text.endswith("\n") else end * 2
        wanted = [*_machines(text), dict(entry)]
        return _proved(text, text + gap + end.join(lines) + end, wanted, end.join(lines))

    return edit


def remove(executor: str) -> Edit:
    """Without the machine's table; as it is when there is none. Comments above its header stay."""

    def edit(text: str) -> str:
        machines = _machines(text)
        if executor not in [one.get("id") for one in machines]:
            return text
        if len(machines) == 1:
            mend = "another machine beside it: an agent offers at least one. Stop the agent, or pause the machine"
            raise SettingError("EXECUTOR", executor, mend)
        lines, at = text.splitlines(keepends=True), _index(machines, executor)
        begin, end = _block(lines, at, len(machines))
        while begin and end < len(lines) and not lines[begin - 1].strip() and not lines[end].strip():
            end += 1  # of the blank lines around it those below go with it
        left = [one for number, one in enumerate(machines) if number != at]
        return _proved(text, "".join(lines[:begin] + lines[end:]), left, f"(nothing of {executor})")

    return edit


def put(executor: str, key: str, value: float | None) -> Edit:
    """One number of a machine's table replaced, added, or taken out (None); a comment on its line stays with it."""

    def edit(text: str) -> str:
        machines = _machines(text)
        at = _index(machines, executor)
        if machines[at].get(key) == value:
            return text
        wanted = [dict(one) for one in machines]
        wanted[at] = {**wanted[at], key: value} if value is not None else _without(wanted[at], key)
        lines = text.splitlines(keepends=True)
        begin, end = _block(lines, at, len(machines))
        lines[begin:end] = _with_number(lines[begin:end], key, value, _newline(text))
        told = f"{key} = {_literal(value)}" if value is not None else f"no {key}"
        return _proved(text, "".join(lines), wanted, f"{told} in the table of {executor}")

    return edit


def machine(text: str, executor: str) -> Entry:
    """The machine's table; SettingError when there is none."""
    known = _machines(text)
    return known[_index(known, executor)]


# --- lines -----------------------------------------------------------------------------------------


def _with_number(block: list[str], key: str, value: float | None, newline: str) -> list[str]:
    pattern = re.compile(_NUMBER_LINE.format(key=re.escape(key)))
    for number, line in enumerate(block):
        if match := pattern.fullmatch(line.rstrip("\r\n")):
            if value is None:
                return block[:number] + block[number + 1 :]
            ending = line[len(line.rstrip("\r\n")) :]
            changed = f"{match['before']}{_literal(value)}{match['after']}{ending}"
            return [*block[:number], changed, *block[number + 1 :]]
    if value is None:
        return block
    last = block[-1] if block[-1].endswith("\n") else block[-1] + newline
    return [*block[:-1], last, f"{key} = {_literal(value)}{newline}"]


def _block(lines: list[str], at: int, count: int) -> tuple[int, int]:
    """Where the table's lines begin and end; what stands above the next header belongs to that one."""
    headers = [n for n, line in enumerate(lines) if _HEADER.fullmatch(line.rstrip("\r\n"))]
    if len(headers) != count:
        raise SettingError("miner config", f"{len(headers)} [[executor]] lines", _by_hand(f"{count} of them"))
    begin = headers[at]
    end = next((n for n in range(begin + 1, len(lines)) if _ANY_HEADER.match(lines[n])), len(lines))
    while end > begin + 1 and (not lines[end - 1].strip() or lines[end - 1].lstrip().startswith("#")):
        end -= 1
    return begin, end


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _literal(value: str | float) -> str:
    """As TOML writes it: JSON's texts and numbers are TOML's."""
    return json.dumps(value)


# --- reading back ----------------------------------------------------------------------------------


def _proved(old: str, new: str, machines: list[dict[str, Any]], by_hand: str) -> str:
    """The new text, if it is the old file with exactly these machines; SettingError with what to write by hand."""
    meant = {**_parsed(old), "executor": machines}
    try:
        is_meant = tomllib.loads(new) == meant
    except tomllib.TOMLDecodeError:
        is_meant = False
    if not is_meant:
        raise SettingError(
            "miner config", "written in another form than one table a machine", _by_hand(by_hand)
        )
    return new


def _by_hand(what: str) -> str:
    return f"[[executor]] tables, a key a line; or edit it by hand: {what}"


def _parsed(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingError("miner config", "TOML", f"valid TOML: {error}") from None


def _machines(text: str) -> list[dict[str, Any]]:
    found = _parsed(text).get("executor", [])
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise SettingError("executor", "another form", "[[executor]] tables")
    return found


def _index(machines: list[dict[str, Any]], executor: str) -> int:
    known = [str(one.get("id")) for one in machines]
    if executor not in known:
        raise SettingError(
            "EXECUTOR", executor[:80], "one of " + (", ".join(known[:20]) or "none: add it first")
        )
    return known.index(executor)


def _without(entry: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in entry.items() if name != key}


@contextmanager
def _at(path: Path) -> Iterator[None]:
    try:
        with locked(path):
            yield
    except OSError as error:
        wanted = f"a file that you may read and replace, in its folder too ({error.strerror})"
        raise SettingError("miner config", str(path), wanted) from None


def _read(path: Path) -> str:
    with path.open("rb") as file:
        data = file.read(MAX_CONFIG_BYTES + 1)
    if len(data) > MAX_CONFIG_BYTES:
        raise SettingError("miner config", str(path), f"at most {MAX_CONFIG_BYTES} bytes")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise SettingError("miner config", str(path), "UTF-8 text") from None
