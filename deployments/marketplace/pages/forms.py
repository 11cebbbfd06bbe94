"""Forms that pages send: bounded, from our own pages only, each with a token that only the browser's own page can have.

    token of a form = keyed digest of (what the browser's cookie holds, where the form goes)

Beside it a form is taken only when the browser says that it comes from a page of ours.
"""

from __future__ import annotations

import hmac
import re
import secrets
import shlex
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from types import MappingProxyType
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request
from pydantic import ValidationError

from deployments.marketplace.market import Desk
from deployments.marketplace.problems import Refused, printable

MAX_BYTES = 256 << 10
STRANGERS_BYTES = 32 << 10
"""Of who is not signed in: a passkey's answer is the longest."""
MAX_FIELDS = 500
MAX_COMMAND_CHARACTERS = 16_384
TOKEN = "form_token"  # noqa: S105  the field's name
_MEDIA_TYPE = "application/x-www-form-urlencoded"
_NAME = re.compile(r"[!-~]{1,100}")
NO_HINTS: Mapping[str, str] = MappingProxyType({})
Faults = dict[str, str]
"""What does not fit, by the field's name."""


@dataclass(frozen=True, slots=True)
class Form:
    """What was sent."""

    fields: Mapping[str, list[str]]

    def text(self, name: str) -> str:
        """A field's value without spaces around it; empty when there is none."""
        return self.fields.get(name, [""])[0].strip()

    def lines(self, name: str) -> str:
        """A text of several lines as it was typed in, without what browsers put before each end of a line."""
        return self.fields.get(name, [""])[0].replace("\r\n", "\n")

    def all(self, name: str) -> tuple[str, ...]:
        """All values of a field that can be chosen several times."""
        return tuple(self.fields.get(name, ()))


def posted(most_bytes: int) -> Callable[[Request], Awaitable[Form]]:
    """The dependency of a route that takes a form of a page of ours, of so many bytes at most."""

    async def read(request: Request) -> Form:
        _check_origin(request)
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _MEDIA_TYPE:
            raise Refused(415, "NO_FORM", "this takes a form", "go back and send the form again")
        body = await _body(request, most_bytes)
        try:
            return Form(fields_of(body))
        except ValueError:
            raise Refused(400, "BAD_FORM", "this form can't be read", "go back and send it again") from None

    return read


async def _body(request: Request, most_bytes: int) -> bytes:
    """All of it; refused unread when it is said to be too long, else when it turns out to be."""
    length, body = request.headers.get("content-length", "0"), bytearray()
    is_too_long = int(length) > most_bytes  # digits: the app's front looks at that
    if not is_too_long:
        async for piece in request.stream():
            body += piece
            if is_too_long := len(body) > most_bytes:
                break
    if is_too_long:
        detail = f"this form has at most {most_bytes} bytes"
        raise Refused(413, "TOO_LARGE", detail, "go back and send less", headers={"Connection": "close"})
    return bytes(body)


def fields_of(body: bytes) -> dict[str, list[str]]:
    """The fields of a form as browsers write it; ValueError when there are too many, or it is no text."""
    if body.count(b"&") >= MAX_FIELDS or not body.isascii():
        raise ValueError("too many fields, or bytes that no browser sends")
    fields: dict[str, list[str]] = {}
    for pair in filter(None, body.split(b"&")):
        name, _, value = pair.partition(b"=")
        fields.setdefault(_plain(name), []).append(_plain(value))
    return fields


def _plain(text: bytes) -> str:
    # everybody's forms are read by the one thread that takes all requests: the library's way takes ten times as long
    escaped = text.replace(b"\\", b"\\\\").replace(b"%", b"\\x").replace(b"+", b" ")
    return escaped.decode("unicode_escape").encode("latin-1").decode()


def token_of(desk: Desk, secret: str, path: str) -> str:
    """The token of a form that goes to this path, for the browser whose cookie holds the secret."""
    key = blake2b(desk.market.digest_key, digest_size=32, person=b"forms of pages").digest()
    return blake2b(f"{path}\n{secret}".encode(), digest_size=24, key=key).hexdigest()


def check_token(desk: Desk, request: Request, form: Form, secret: str) -> None:
    """Refused when the form was not made for this browser."""
    expected = token_of(desk, secret, request.url.path)
    if not secret or not hmac.compare_digest(form.text(TOKEN).encode(), expected.encode()):
        raise Refused(
            403,
            "NOT_YOUR_FORM",
            "this form is not of a page that you have open",
            "load the page again, then send it",
        )


def name_of(form: Form) -> str:
    """The name that its page gave it, which is one wish however often it is sent; refused when it has none."""
    name = form.text("idempotency_key")
    if not _NAME.fullmatch(name):
        raise Refused(422, "BAD_KEY", "this form has lost its name", "load the page again")
    return name


def is_new(desk: Desk, renter_id: str, what: str, form: Form) -> bool:
    """Whether this form is sent for the first time: a page that is loaded again sends it again."""
    key, mine = f"page-{what}-{name_of(form)}", secrets.token_hex(32)
    return desk.stores.requests.first(renter_id, key, mine, desk.market.now()) == mine


def new_name() -> str:
    """A name for the forms of a page."""
    return secrets.token_hex(12)


def faults_of(
    error: ValidationError, names: Mapping[str, str], otherwise: str, hints: Mapping[str, str] = NO_HINTS
) -> Faults:
    """What does not fit, at the fields that the places of a body stand for; the values themselves are not repeated.

    Of what is written otherwise than it has to be, a hint is more use than the rule's own words.
    """
    found: Faults = {}
    for one in error.errors(include_url=False, include_input=False)[:20]:
        place = ".".join(str(part) for part in one["loc"] if not isinstance(part, int))
        name = next((names[known] for known in names if place.startswith(known)), otherwise)
        is_misspelt = one["type"] == "string_pattern_mismatch"
        own = "it is not written as it has to be" if is_misspelt else one["msg"].removeprefix("Value error, ")
        found.setdefault(name, printable(hints.get(name, own) if is_misspelt else own))
    return found


def words_at(form: Form, name: str, faults: Faults) -> tuple[str, ...]:
    """The words of a command, split as a shell would; no shell reads them. What can't be split is told at the field."""
    text = form.text(name)
    if len(text) > MAX_COMMAND_CHARACTERS:
        faults[name] = f"at most {MAX_COMMAND_CHARACTERS:,} characters are taken"
        return ()
    try:
        return tuple(shlex.split(text))
    except ValueError:
        faults[name] = "a quotation mark or a backslash at its end lacks what belongs to it"
        return ()


def lines_of(text: str) -> Iterable[str]:
    """The lines of a text field that are not empty."""
    return (line.strip() for line in text.splitlines() if line.strip())


def _check_origin(request: Request) -> None:
    """Refused when a page of another site sends it: browsers say where a form comes from."""
    site, origin = request.headers.get("sec-fetch-site", ""), request.headers.get("origin", "")
    is_ours = _place_of(origin) == request.headers.get("host", "") if origin else site == "same-origin"
    if not is_ours or site not in ("", "same-origin"):
        raise Refused(403, "OTHER_SITE", "this form comes from another site", "use the form of our own page")


def _place_of(origin: str) -> str | None:
    """Host and port; None when it is no address at all."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None


Posted = Annotated[Form, Depends(posted(MAX_BYTES))]
PostedByAnybody = Annotated[Form, Depends(posted(STRANGERS_BYTES))]
