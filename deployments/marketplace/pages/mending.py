"""Refusals of the API in the words of pages: what to do is said of pages, for whoever has no program. Pure."""

from __future__ import annotations

import re

from deployments.marketplace.problems import Refused

SENT_BEFORE = "this form was sent before with something else in it"
_PLACES = {
    "api-keys": "your account's page",
    "backups": "the page of your volumes",
    "deposit": "your account's page",
    "leases": "the page of your leases",
    "offers": "the list of machines",
    "ssh-keys": "your account's page",
    "templates": "the page of your templates",
    "volumes": "the page of your volumes",
    "webhooks": "the page of your webhooks",
}
"""Where pages have what the API has under these names."""
_ASKED = re.compile(r"GET (?:/v1)?/([a-z-]+)(?:/[^\s,;:]*)?")
_CHANGED = re.compile(r":? (?:POST|PUT|PATCH|DELETE) /v1/([a-z-]+)(?:/[^\s,;:]*)?")
_BY_CODE = {
    "IDEMPOTENCY_KEY_REUSED": "look what came of that; the button sends this one anew",
    "TOO_MANY_SSH_KEYS": "tick only those that you need",
}


def mend_of(refused: Refused) -> str:
    """What to do about it, on pages: `look at GET /v1/leases` is `look at the page of your leases`."""
    if refused.code in _BY_CODE:
        return _BY_CODE[refused.code]
    told = _CHANGED.sub(lambda found: f" on {_place(found)}", refused.mend)
    told = _ASKED.sub(_place, told)
    return told.replace("as long as Retry-After says", "a moment")


def reason_of(refused: Refused) -> str:
    """Why not and what to do, in one line for a field."""
    detail = SENT_BEFORE if refused.code == "IDEMPOTENCY_KEY_REUSED" else refused.detail
    return f"{detail}; {mend_of(refused)}"


def _place(found: re.Match[str]) -> str:
    return _PLACES.get(found[1], f"the page of your {found[1]}")
