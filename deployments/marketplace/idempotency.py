"""Idempotency-Key: a request that changes something can be sent again without changing it twice."""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import Annotated

from fastapi import Header, Request

from deployments.marketplace.fields import Model
from deployments.marketplace.guard import Caller
from deployments.marketplace.market import Desk
from deployments.marketplace.problems import Refused

IdempotencyKey = Annotated[
    str,
    Header(
        alias="Idempotency-Key",
        pattern=r"^[!-~]{1,200}$",
        description="Chosen by you, new for each wish: the same key again gets the answer to the first request.",
        examples=["5f0c6a52-8f0e-4d0c-9d5e-1f4b9a0d7c11"],
    ),
]


def check_same(desk: Desk, request: Request, caller: Caller, key: str, body: Model | None) -> None:
    """Refused when the key was used for another request before; the digest is keyed, as bodies may hold secrets."""
    asked = [
        request.method,
        request.url.path,
        body.model_dump(mode="json", exclude_unset=True) if body else None,
    ]
    text = json.dumps(asked, sort_keys=True).encode()
    digest = blake2b(text, digest_size=32, key=desk.market.digest_key).hexdigest()
    first = desk.stores.requests.first(caller.renter_id, key, digest, desk.market.now())
    if first != digest:
        raise Refused(
            409,
            "IDEMPOTENCY_KEY_REUSED",
            "this Idempotency-Key was used for another request before",
            "choose a new key for a new request; send the same body with an old one",
        )
