"""From the fields of the form that rents to the body of POST /v1/leases, and what it would cost. Pure.

Fields that are numbers and lists are read here, with what does not fit at the field; everything else is checked by the API's own
models and rules.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from deployments.marketplace.fields import MAX_MICRO_USD
from deployments.marketplace.models import Offer
from deployments.marketplace.pages.forms import Faults, Form, lines_of
from storage.rental import Mode, Wish
from tasks.errors import SpecRefused, UserError
from tasks.policy import RentingPolicy
from tasks.renting.pricing import Demand, check_wish, quote

HOUR_S = 3_600
PLACES = {
    "wish.card_count": "count",
    "wish.mode": "mode",
    "wish.bid_micro_usd_per_hour": "bid",
    "wish.hours": "hours",
    "pod.template": "template",
    "pod.image": "image",
    "pod.ports": "ports",
    "pod.mounts": "volumes",
    "pod.environment": "environment",
    "pod.ssh_keys": "ssh_keys",
    "pod.public_keys": "public_keys",
    "terms.ttl_s": "ttl_h",
    "terms.cap_micro_usd": "cap",
}
"""Places of the API's body, and the fields that they come from."""
HINTS = {
    "image": "an image is expected as ubuntu:24.04 or registry.example/me/train:3, in small letters",
    "volumes": "a volume is expected as data:/data, its name of a-z, 0-9 and -, its place from / on",
    "environment": "a variable is expected as NAME=value, its name of letters, digits and _",
    "public_keys": "a public key is expected as it stands in the .pub file",
    "ssh_name": "a name of a-z, 0-9 and - is expected",
    "public_line": "a public key is expected as it stands in the .pub file",
    "add": "a public key is expected as it stands in the .pub file",
}
"""What to write, at the field."""
OF_CODES = {
    "NO_IMAGE": "image",
    "IMAGE_BLOCKED": "image",
    "NO_SUCH_TEMPLATE": "template",
    "TEMPLATE_OUTDATED": "template",
    "NO_SUCH_SSH_KEY": "ssh_keys",
    "TOO_MANY_SSH_KEYS": "public_keys",
    "VOLUME_BUSY": "volumes",
}
"""Refusals that are about one field."""
_OF_SPECS = (
    ("bid", "bid"),
    ("hours", "hours"),
    ("image", "image"),
    ("environment", "environment"),
    ("port", "ports"),
    ("volume", "volumes"),
    ("mount", "volumes"),
)
_NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{1,6})?\Z")
_PORT = re.compile(r"([0-9]{1,5})(/(tcp|udp))?\Z")


@dataclass(frozen=True, slots=True)
class Price:
    """What the chosen cards cost in the chosen mode."""

    micro_usd_per_hour: int
    total_micro_usd: int | None
    """Until the time limit, or for the committed hours; None: there is no limit."""
    why_not: str = ""
    """Empty: they can be had at it."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a form asks for."""

    count: int
    mode: Mode
    bid_micro_usd: int
    hours: int
    ttl_s: int
    cap_micro_usd: int
    faults: Faults

    @property
    def wish(self) -> Wish:
        """As the rules of prices take it."""
        return Wish(mode=self.mode, bid_micro_usd_per_hour=self.bid_micro_usd, hours=self.hours)


def order_of(form: Form) -> Order:
    """The numbers of a form, each that does not fit told at its field."""
    faults: Faults = {}

    def number(name: str, made: Callable[[float], int], most: float) -> int:
        text = form.text(name)
        if not text:
            return 0
        if not _NUMBER.match(text) or float(text) > most:
            faults[name] = f"a number from 0 to {most:,g} is expected, with a point before decimals"
            return 0
        return made(float(text))

    mode = form.text("mode") or Mode.ON_DEMAND.value
    if mode not in set(Mode):
        faults["mode"], mode = "one of the list is expected", Mode.ON_DEMAND.value
    return Order(
        count=number("count", int, 1_024),
        mode=Mode(mode),
        bid_micro_usd=number("bid", _micro, 1e6),
        hours=number("hours", int, 87_600),
        ttl_s=number("ttl_h", lambda hours: round(hours * HOUR_S), 87_600),
        cap_micro_usd=number("cap", _micro, MAX_MICRO_USD / 1e6),
        faults=faults,
    )


def price_of(order: Order, offer: Offer, policy: RentingPolicy, demand: Mapping[str, Demand]) -> Price:
    """By the market's own rule."""
    count = order.count or offer.card_count
    try:
        check_wish(order.wish, policy)
    except UserError as error:
        return Price(0, None, str(error))
    told = quote(
        order.wish,
        offer.micro_usd_per_card_hour,
        count,
        demand.get(offer.model, Demand()),
        policy,
        cap_micro_usd=order.cap_micro_usd,
    )
    price = told.micro_usd_per_hour
    hours_s = order.hours * HOUR_S if order.mode is Mode.RESERVED else order.ttl_s
    total = price * hours_s // HOUR_S if hours_s else None
    return Price(price, total, told.refusal or _not_free(count, offer))


def body_of(form: Form, order: Order, offer: Offer, ceiling_micro_usd: int) -> tuple[dict[str, Any], Faults]:
    """The API's body, and what can't be read of the lists. On demand and reserved it costs no more than was shown."""
    faults: Faults = {}
    ports = [_port(word, faults) for word in re.split(r"[\s,]+", form.text("ports")) if word]
    mounts = [_mount(line, faults) for line in lines_of(form.text("volumes"))]
    environment = dict(_variable(line, faults) for line in lines_of(form.text("environment")))
    pod: dict[str, Any] = {
        "template": form.text("template") or None,
        "image": form.text("image") or None,
        "ports": ports or None,
        "mounts": mounts or None,
        "environment": environment or None,
        "ssh_keys": form.all("ssh_keys"),
        "public_keys": tuple(lines_of(form.text("public_keys"))),
    }
    wish = {
        "executor_key": offer.executor_key,
        "card_count": order.count,
        "mode": order.mode,
        "bid_micro_usd_per_hour": order.bid_micro_usd,
        "hours": order.hours,
        "max_micro_usd_per_hour": 0 if order.mode is Mode.SPOT else ceiling_micro_usd,
    }
    terms = {"ttl_s": order.ttl_s, "cap_micro_usd": order.cap_micro_usd}
    given = {name: value for name, value in pod.items() if value is not None}
    return {"wish": wish, "pod": given, "terms": terms}, faults


def field_of(refused: SpecRefused) -> str:
    """The field that a container's or a price's rule is about; the image when it is none of them."""
    return next((field for begin, field in _OF_SPECS if refused.key.startswith(begin)), "image")


def _not_free(count: int, offer: Offer) -> str:
    if offer.free_card_count < count:
        return f"{offer.free_card_count} of its cards are free now"
    if count < offer.min_card_count:
        return f"its miner leases no fewer than {offer.min_card_count} cards"
    return ""


def _micro(usd: float) -> int:
    return round(usd * 1_000_000)


def _port(word: str, faults: Faults) -> dict[str, Any]:
    found = _PORT.match(word)
    if not found:
        faults["ports"] = "ports are expected as 8888 or 9000/udp, with commas between"
        return {}
    return {"inside": int(found[1]), "protocol": found[3] or "tcp"}


def _mount(line: str, faults: Faults) -> dict[str, Any]:
    name, colon, at = line.partition(":")
    if not colon:
        faults["volumes"] = "a volume is expected as name:/where/it/is/seen, one a line"
    return {"volume": name.strip(), "at": at.strip()}


def _variable(line: str, faults: Faults) -> tuple[str, str]:
    name, equals, value = line.partition("=")
    if not equals:
        faults["environment"] = "a variable is expected as NAME=value, one a line"
    return name.strip(), value
