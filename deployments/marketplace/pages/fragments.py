"""The part of a page that is kept up to date: made of a template, marked by its content, sent when it has changed."""

from __future__ import annotations

import gzip
from hashlib import blake2b

from fastapi import Request
from markupsafe import Markup
from starlette.responses import Response

from deployments.marketplace.catalogue import GZIP_LEVEL, Answer
from deployments.marketplace.pages.frame import HEADERS, text_of
from deployments.marketplace.routes.offers import reply


def fragment(template: str, **values: object) -> Answer:
    """The template filled, with a mark of what it came to."""
    return fragment_of(text_of(template, **values))


def fragment_of(text: str) -> Answer:
    """The same of HTML that a template of ours has made."""
    body = text.encode("utf-8", "replace")
    etag = f'"{blake2b(body, digest_size=12).hexdigest()}"'
    return Answer(body, gzip.compress(body, GZIP_LEVEL, mtime=0), etag)


def markup(made: Answer) -> Markup:
    """For the page around it."""
    return Markup(made.body.decode())  # noqa: S704  a template of ours made it, and has escaped what is foreign


def sent(request: Request, made: Answer) -> Response:
    """For a page that is open already; nothing while nothing has changed."""
    answer = reply(made, request.headers.get("if-none-match"), request.headers.get("accept-encoding", ""))
    answer.headers.update({**HEADERS, "Content-Type": "text/html; charset=utf-8"})
    return answer
