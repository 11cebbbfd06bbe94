"""What a renter's command works with: the market's client, the clock, other programs, and how it answers.

Every verb takes `--api` and `--json`; with `--json` exactly one JSON document goes to standard output (streams: one a
line), and everything for people goes to standard error.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import wraps
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deployments.renting.account import Market, config_folder, find_market, read_key
from deployments.renting.wire import PREFIX, Document, Lease, meant, text
from tasks.errors import BadAnswer, MarketRefused, SettingError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

    from deployments.renting.client import Client
    from deployments.renting.streams import Event

_WHOLE = re.compile(rf"({PREFIX})?[0-9a-f]{{16}}\Z", re.ASCII)
"""A name that needs no looking for."""
GOOD_ENDS = frozenset({"", "LEASE_OVER", "NOT_RUNNING"})
"""Of feeds."""
NEWEST = 1_000
"""Leases among which a shortened name is looked for."""


def _local_now() -> datetime:
    return datetime.now(UTC).astimezone()


def _run(argv: Sequence[str]) -> int:
    """Run a program in our terminal and tell its exit code; SettingError when it is not installed."""
    try:
        return subprocess.run(list(argv), check=False).returncode  # noqa: S603  a vector, no shell
    except FileNotFoundError:
        raise SettingError(
            "PATH", os.environ.get("PATH", "")[:100], f"a folder with {argv[0]} in it"
        ) from None


def _become(argv: Sequence[str]) -> int:
    """Let a program take our place; it comes back only as an error."""
    try:
        os.execvp(argv[0], list(argv))  # noqa: S606  a vector, no shell
    except FileNotFoundError:
        raise SettingError(
            "PATH", os.environ.get("PATH", "")[:100], f"a folder with {argv[0]} in it"
        ) from None


@dataclass(frozen=True)
class Desk:
    """Everything outside of a verb; a test hands in its own."""

    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    transport: httpx.BaseTransport | None = None
    now: Callable[[], datetime] = _local_now
    """Aware, in the zone of this computer."""
    sleep: Callable[[float], None] = time.sleep
    monotonic: Callable[[], float] = time.monotonic
    run: Callable[[Sequence[str]], int] = _run
    become: Callable[[Sequence[str]], int] = _become
    api: str | None = None
    is_json: bool = False

    @property
    def market(self) -> Market:
        """The market that is meant."""
        return find_market(self.environment, self.api)

    @property
    def config(self) -> Path:
        """The folder of the renter's own files."""
        return config_folder(self.environment)

    @contextmanager
    def open(self, market: Market | None = None, key: str | None = None) -> Iterator[Client]:
        """A client of the market with the renter's key."""
        from deployments.renting.client import Client  # noqa: PLC0415  httpx is a fifth of a second

        place = market or self.market
        token = read_key(place) if key is None else key
        with Client(place, token, self.transport, sleep=self.sleep, monotonic=self.monotonic) as client:
            yield client

    def say(self, line: str) -> None:
        """A line for people."""
        click.echo(line, err=True)

    def answer(self, document: object, line: str = "") -> None:
        """The document for programs, or the line for people."""
        if self.is_json:
            show_json(document)
        elif line:
            click.echo(line)

    def is_sure(self, question: str, *, is_yes: bool) -> None:
        """Ask on a terminal; without one, SettingError unless `--yes` was given. Abort when the answer is no."""
        if is_yes:
            return
        if not sys.stdin.isatty():
            raise SettingError("--yes", "not given", "it where nobody can be asked")
        click.confirm(question, abort=True, err=True)


def show_json(document: object) -> None:
    """One JSON document on standard output; what is foreign in it is escaped, so that it moves no cursor."""
    click.echo(json.dumps(document, indent=2))


def show_json_line(document: object) -> None:
    """One of many, on a line of its own and at once."""
    click.echo(json.dumps(document))
    sys.stdout.flush()


def verb(function: Callable[..., Any]) -> Callable[..., Any]:
    """A renter's verb: it is called with its `Desk` first, and has `--api` and `--json`."""

    def called(context: click.Context, /, *, api: str | None, is_json: bool, **options: Any) -> Any:
        desk = context.find_object(Desk) or Desk()
        return function(replace(desk, api=api, is_json=is_json), **options)

    found = wraps(function)(click.pass_context(called))
    found = click.option("--json", "is_json", is_flag=True, help="Print JSON for programs.")(found)
    about = "Another market than the one you are logged in to."
    return click.option("--api", metavar="URL", help=about)(found)


def object_of(event: Event) -> Document:
    """The JSON object of an event; BadAnswer when it is none."""
    try:
        found = json.loads(event.data)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise BadAnswer("an event of the market is no JSON object")
    return found


def follow(desk: Desk, events: Iterable[Event], kind: str, tell: Callable[[Document], None]) -> None:
    """Tell every event of a kind as it comes, as JSON or as the verb does it, and in the end why it is the end."""
    for event in events:
        if event.kind == kind:
            document = object_of(event)
            if desk.is_json:
                show_json_line(document)
            else:
                tell(document)
        elif event.kind == "end":
            _end(desk, object_of(event))


def _end(desk: Desk, told: Document) -> None:
    """Why a feed has ended: as it should, or MarketRefused."""
    code, detail = text(told, "code"), text(told, "detail") or "the feed has ended"
    if code not in GOOD_ENDS:
        raise MarketRefused(502, code, detail)
    desk.say(detail)


def find_lease(client: Client, wanted: str) -> Lease:
    """The lease that a name, or the beginning of one, means; SettingError when it is none or several."""
    from deployments.renting.reach import known_lease  # noqa: PLC0415  only where a lease is named

    known_lease(wanted)
    if _WHOLE.match(wanted):
        return Lease.of(client.get(f"/v1/leases/{PREFIX}{wanted.removeprefix(PREFIX)}"))
    leases = map(Lease.of, islice(client.pages("/v1/leases", {"limit": 100}), NEWEST))
    found = meant(leases, wanted)
    if len(found) > 1:
        named = ", ".join(lease.lease_id for lease in found[:5])
        raise SettingError("LEASE", wanted, f"more of its name: it may be {named}")
    return found[0] if found else Lease.of(client.get(f"/v1/leases/{wanted}"))


def lease_argument(name: str = "lease") -> Callable[[Any], Any]:
    """A lease's name or its beginning, completed by the shell from the market's list."""
    return click.argument(name, metavar="LEASE", shell_complete=complete_leases)


def complete_leases(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """The names of open leases that begin so; none, and in silence, when the market can't be asked at once."""
    whole = _completed(context, "/v1/leases", "lease_id")
    short = [name.removeprefix(PREFIX) for name in whole]
    return [
        name
        for name in (*short, *(whole if incomplete.startswith(PREFIX[:1]) else ()))
        if name.startswith(incomplete)
    ]


def complete_templates(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """The names of templates that begin so."""
    return [name for name in _completed(context, "/v1/templates", "name") if name.startswith(incomplete)]


def complete_volumes(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """The names of volumes that begin so."""
    return [name for name in _completed(context, "/v1/volumes", "name") if name.startswith(incomplete)]


def _completed(context: click.Context, path: str, name: str) -> list[str]:
    """The names of what the market lists; whatever goes wrong here goes wrong silently: the user is typing."""
    from deployments.renting.client import Client, Patience  # noqa: PLC0415  only where a shell asks

    desk = context.find_object(Desk) or Desk()
    try:
        market = find_market(desk.environment, context.params.get("api"))
        hasty = Patience(attempts=1, whole_s=0.0)
        with Client(market, read_key(market), desk.transport, hasty, connect_s=1.0, read_s=1.5) as client:
            items = client.get(path).get("items")
    except Exception:  # noqa: BLE001  a traceback in the middle of a command line helps nobody
        return []
    found = [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []
    names = [str(item.get(name, "")) for item in found if item.get("state") not in {"ended", "failed"}]
    return sorted({name for name in names if name.isprintable() and " " not in name})
