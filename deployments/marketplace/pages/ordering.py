"""From the fields of the form that rents to the body of POST /v1/leases, and what it would cost. Pure.

Fields that are numbers, times and lists are read here, with what does not fit at the field; everything else is checked by the API's
own models and rules. The form is about one machine, or about any that fits.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from deployments.marketplace.catalogue import Snapshot
from deployments.marketplace.fields import MAX_MICRO_USD
from deployments.marketplace.models import Offer, Pod
from deployments.marketplace.pages.forms import Faults, Form, lines_of, words_at
from storage import rental as kept
from storage.rental import Mode, Rental, RentalState, Terms, Wish
from tasks.errors import SpecRefused, UserError
from tasks.policy import RentingPolicy
from tasks.renting.matching import Candidate, candidates
from tasks.renting.pricing import Demand, check_wish, quote

HOUR_S = 3_600
GIB = 1 << 30
FALLBACKS = 3
"""Of any machine that fits: so many that are tried first decide how much it may cost, where no price was named."""
WHICH = ("model", "min_vram_gib", "max_usd_per_hour", "min_performance", "min_reliability", "region")
"""Fields that say which machine, named as those of the list of machines."""
PRICED = ("machine", *WHICH, "count", "mode", "bid", "hours", "ttl_h", "until", "cap")
"""Fields that the price depends on: nothing of them is secret."""
ADDRESSED = (*PRICED, "template")
"""Fields that a link may fill in: none by which its maker could run something, or log in."""
MORE = ("entrypoint", "words", "shm_gib", "memory_gib", "cpus", "runtime")
REGISTRY = ("registry_user", "registry_password", "registry_server")
PLACES = {
    "wish.model": "model",
    "wish.card_count": "count",
    "wish.min_vram_gib": "min_vram_gib",
    "wish.max_micro_usd_per_hour": "max_usd_per_hour",
    "wish.min_performance": "min_performance",
    "wish.min_reliability": "min_reliability",
    "wish.region": "region",
    "wish.mode": "mode",
    "wish.bid_micro_usd_per_hour": "bid",
    "wish.hours": "hours",
    "pod.template": "template",
    "pod.image": "image",
    "pod.entrypoint": "entrypoint",
    "pod.words": "words",
    "pod.ports": "ports",
    "pod.mounts": "volumes",
    "pod.shm_bytes": "shm_gib",
    "pod.memory_bytes": "memory_gib",
    "pod.cpus": "cpus",
    "pod.runtime": "runtime",
    "pod.environment": "environment",
    "pod.registry.user": "registry_user",
    "pod.registry.password": "registry_password",
    "pod.registry.server": "registry_server",
    "pod.ssh_keys": "ssh_keys",
    "pod.public_keys": "public_keys",
    "terms.ttl_s": "ttl_h",
    "terms.cap_micro_usd": "cap",
    "terms.idle_below_percent": "idle_percent",
    "terms.idle_for_s": "idle_min",
    "ends_by": "until",
}
"""Places of the API's body, and the fields that they come from."""
HINTS = {
    "image": "an image is expected as ubuntu:24.04 or registry.example/me/train:3, in small letters",
    "volumes": "a volume is expected as data:/data, its name of a-z, 0-9 and -, its place from / on",
    "environment": "a variable is expected as NAME=value, its name of letters, digits and _",
    "registry_user": "a name of the registry is expected, without a colon",
    "registry_server": "a server is expected as registry.example:5000",
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
    "IN_THE_PAST": "until",
}
"""Refusals that are about one field."""
_OF_SPECS = (
    ("bid", "bid"),
    ("hours", "hours"),
    ("image", "image"),
    ("entrypoint", "entrypoint"),
    ("command", "words"),
    ("environment", "environment"),
    ("port", "ports"),
    ("volume", "volumes"),
    ("mount", "volumes"),
    ("shm", "shm_gib"),
    ("memory", "memory_gib"),
    ("cpus", "cpus"),
    ("runtime", "runtime"),
)
_NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{1,6})?\Z")
_PORT = re.compile(r"([0-9]{1,5})(/(tcp|udp))?\Z")
_UNTIL = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2})?\Z")
_WIPED = ":wiped"
_NEVER = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True)
class Price:
    """What the chosen cards cost in the chosen mode."""

    micro_usd_per_hour: int
    """Of any machine that fits: at most, whichever it gets to be."""
    total_micro_usd: int | None
    """Until the time limit, or for the committed hours; None: there is no limit."""
    why_not: str = ""
    """Empty: they can be had at it."""
    fits: tuple[Candidate, ...] = ()
    """Of any machine that fits: those that do, in the order in which they are tried."""

    @property
    def first_micro_usd_per_hour(self) -> int:
        """Of the machine that is tried first."""
        return self.fits[0].micro_usd_per_hour if self.fits else self.micro_usd_per_hour


@dataclass(frozen=True, slots=True)
class Order:
    """What a form asks for."""

    which: Wish
    """Of it only what says which machine, where none is named."""
    count: int
    mode: Mode
    bid_micro_usd: int
    hours: int
    ttl_s: int
    cap_micro_usd: int
    idle_percent: float
    idle_s: int
    ends_by: datetime | None
    faults: Faults

    @property
    def wish(self) -> Wish:
        """As the rules of prices and of matching take it."""
        return replace(
            self.which,
            card_count=self.count,
            mode=self.mode,
            bid_micro_usd_per_hour=self.bid_micro_usd,
            hours=self.hours,
        )

    def lasts_s(self, now: datetime) -> int | None:
        """How long it is paid at most, if it is handed over now; None: without a limit."""
        if self.mode is Mode.RESERVED:
            return self.hours * HOUR_S or None
        until = (round((self.ends_by - now).total_seconds()),) if self.ends_by else ()
        return max(0, min((*((self.ttl_s,) if self.ttl_s else ()), *until), default=0)) or None


def order_of(form: Form) -> Order:
    """The numbers and times of a form, each that does not fit told at its field."""
    faults: Faults = {}

    def number(name: str, made: Callable[[float], int], most: float) -> int:
        return made(_number(form, name, most, faults))

    mode = form.text("mode") or Mode.ON_DEMAND.value
    if mode not in set(Mode):
        faults["mode"], mode = "one of the list is expected", Mode.ON_DEMAND.value
    idle_percent, idle_s = _number(form, "idle_percent", 100, faults), number("idle_min", _minutes, 5_270_400)
    if bool(idle_percent) != bool(idle_s):
        faults.setdefault(
            "idle_min" if idle_percent else "idle_percent", "this goes with the field beside it"
        )
    which = Wish(
        model=form.text("model"),
        min_vram_gib=_number(form, "min_vram_gib", 10_000, faults),
        max_micro_usd_per_hour=number("max_usd_per_hour", _micro, 1e9),
        min_performance=_number(form, "min_performance", 10, faults),
        min_reliability=_number(form, "min_reliability", 1, faults),
        region=form.text("region"),
    )
    return Order(
        which=Wish() if form.text("machine") else which,
        count=number("count", int, 1_024),
        mode=Mode(mode),
        bid_micro_usd=number("bid", _micro, 1e6),
        hours=number("hours", int, 87_600),
        ttl_s=number("ttl_h", lambda hours: round(hours * HOUR_S), 87_600),
        cap_micro_usd=number("cap", _micro, MAX_MICRO_USD / 1e6),
        idle_percent=idle_percent,
        idle_s=idle_s,
        ends_by=_until(form, faults),
        faults=faults,
    )


def price_of(
    order: Order, offer: Offer | None, snapshot: Snapshot, policy: RentingPolicy, now: datetime
) -> Price:
    """By the market's own rules: of this machine, or of any that fits."""
    try:
        check_wish(order.wish, policy)
    except UserError as error:
        return Price(0, None, str(error))
    if offer is None:
        return _price_of_any(order, snapshot, policy, now)
    count = order.count or offer.card_count
    told = quote(
        order.wish,
        offer.micro_usd_per_card_hour,
        count,
        snapshot.demand.get(offer.model, Demand()),
        policy,
        cap_micro_usd=order.cap_micro_usd,
    )
    price = told.micro_usd_per_hour
    return Price(price, total_of(order, price, now), told.refusal or _not_free(count, offer))


def total_of(order: Order, micro_usd_per_hour: int, now: datetime) -> int | None:
    """What it costs until its limit; None: there is none."""
    lasts_s = order.lasts_s(now)
    return None if lasts_s is None else micro_usd_per_hour * lasts_s // HOUR_S


def body_of(
    form: Form, order: Order, offer: Offer | None, ceiling_micro_usd: int
) -> tuple[dict[str, Any], Faults]:
    """The API's body, and what can't be read of the lists. On demand and reserved it costs no more than was shown."""
    faults: Faults = {}
    pod = {
        **({"template": form.text("template")} if form.text("template") else {}),
        **pod_of(form, faults),
        "ssh_keys": form.all("ssh_keys"),
        "public_keys": tuple(lines_of(form.text("public_keys"))),
    }
    which = order.which
    wish = {
        "executor_key": offer.executor_key if offer else None,
        "model": which.model,
        "card_count": order.count,
        "min_vram_gib": which.min_vram_gib,
        "min_performance": which.min_performance,
        "min_reliability": which.min_reliability,
        "region": which.region,
        "mode": order.mode,
        "bid_micro_usd_per_hour": order.bid_micro_usd,
        "hours": order.hours,
        "max_micro_usd_per_hour": which.max_micro_usd_per_hour
        if order.mode is Mode.SPOT
        else ceiling_micro_usd,
    }
    terms = {
        "ttl_s": order.ttl_s,
        "cap_micro_usd": order.cap_micro_usd,
        "idle_below_percent": order.idle_percent,
        "idle_for_s": order.idle_s,
    }
    return {"wish": wish, "pod": pod, "terms": terms, "ends_by": order.ends_by}, faults


def pod_of(form: Form, faults: Faults) -> dict[str, Any]:
    """What runs, as the API's body has it; nothing of a field that is empty."""
    ports = [_port(word, faults) for word in re.split(r"[\s,]+", form.text("ports")) if word]
    mounts = [_mount(line, faults) for line in lines_of(form.text("volumes"))]
    environment = dict(_variable(line, faults) for line in lines_of(form.text("environment")))
    pod: dict[str, Any] = {
        "image": form.text("image"),
        "entrypoint": form.text("entrypoint"),
        "words": words_at(form, "words", faults),
        "ports": ports,
        "mounts": mounts,
        "shm_bytes": _gib(form, "shm_gib", faults),
        "memory_bytes": _gib(form, "memory_gib", faults),
        "cpus": _number(form, "cpus", 4_096, faults),
        "runtime": form.text("runtime"),
        "environment": environment,
        "registry": _registry(form, faults),
    }
    return {name: value for name, value in pod.items() if value}


def fields_of(pod: Pod) -> Form:
    """The fields that this pod would have come from; values of its environment are not known, and left out."""
    volumes = (f"{one.volume}:{one.at}{'' if one.is_kept else _WIPED}" for one in pod.mounts)
    ports = (f"{one.inside}{'' if one.protocol == 'tcp' else f'/{one.protocol}'}" for one in pod.ports)
    fields = {
        "image": pod.image,
        "entrypoint": pod.entrypoint,
        "words": shlex.join(pod.words),
        "ports": ", ".join(ports),
        "volumes": "\n".join(volumes),
        "shm_gib": "" if pod.shm_bytes == kept.Pod().shm_bytes else _plain(pod.shm_bytes / GIB),
        "memory_gib": _plain(pod.memory_bytes / GIB),
        "cpus": _plain(pod.cpus),
        "runtime": pod.runtime,
    }
    return Form({name: [value] for name, value in fields.items()})


def replacement_of(form: Form) -> tuple[dict[str, Any], Faults]:
    """The API's body for another image in a lease, and what can't be read of it; what is empty stays as it is."""
    faults: Faults = {}
    given: dict[str, Any] = {
        "template": form.text("template"),
        "image": form.text("image"),
        "entrypoint": form.text("entrypoint"),
        "words": words_at(form, "words", faults),
        "environment": dict(_variable(line, faults) for line in lines_of(form.text("environment"))),
        "registry": _registry(form, faults),
    }
    return {name: value for name, value in given.items() if value}, faults


def field_of(refused: SpecRefused) -> str:
    """The field that a container's or a price's rule is about; the image when it is none of them."""
    return next((field for begin, field in _OF_SPECS if refused.key.startswith(begin)), "image")


def _price_of_any(order: Order, snapshot: Snapshot, policy: RentingPolicy, now: datetime) -> Price:
    fits = _fits(order.wish, order.cap_micro_usd, snapshot, policy)
    if not fits:
        return Price(0, None, _why_none(order, snapshot, policy))
    tried_first = max(one.micro_usd_per_hour for one in fits[:FALLBACKS])
    most = order.which.max_micro_usd_per_hour or tried_first
    return Price(most, total_of(order, most, now), fits=fits)


def _fits(
    wish: Wish, cap_micro_usd: int, snapshot: Snapshot, policy: RentingPolicy, *, are_all_free: bool = False
) -> tuple[Candidate, ...]:
    terms = Terms(cap_micro_usd=cap_micro_usd)
    asked = Rental("", "", "", wish, RentalState.REQUESTED, 0, _NEVER, _NEVER, terms=terms)
    held = {} if are_all_free else snapshot.held
    return candidates(asked, snapshot.offers, held, policy, snapshot.demand)


def _why_none(order: Order, snapshot: Snapshot, policy: RentingPolicy) -> str:
    """What stands in the way of all machines: others who have the cards, the price, or what was asked for."""
    if count := len(_fits(order.wish, order.cap_micro_usd, snapshot, policy, are_all_free=True)):
        return f"{_that_fit(count)}, but too few cards are free now"
    most_of_all = MAX_MICRO_USD if order.mode is Mode.SPOT else 0
    free = replace(order.wish, max_micro_usd_per_hour=0, bid_micro_usd_per_hour=most_of_all)
    if dear := _fits(free, 0, snapshot, policy):
        least = min(one.micro_usd_per_hour for one in dear)
        return f"{_that_fit(len(dear))}, but the cheapest costs {least / 1e6:.2f} USD an hour"
    return f"none of the {len(snapshot.offers)} machines on offer is like that"


def _that_fit(count: int) -> str:
    return "1 machine fits" if count == 1 else f"{count} machines fit"


def _not_free(count: int, offer: Offer) -> str:
    if offer.free_card_count < count:
        return f"{offer.free_card_count} of its cards are free now"
    if count < offer.min_card_count:
        return f"its miner leases no fewer than {offer.min_card_count} cards"
    return ""


def _micro(usd: float) -> int:
    return round(usd * 1_000_000)


def _minutes(minutes: float) -> int:
    return round(minutes * 60)


def _number(form: Form, name: str, most: float, faults: Faults) -> float:
    text = form.text(name)
    if not text:
        return 0.0
    if not _NUMBER.match(text) or float(text) > most:
        faults[name] = f"a number from 0 to {most:,.0f} is expected, with a point before decimals"
        return 0.0
    return float(text)


def _plain(number: float) -> str:
    """A number as the form takes it; empty: none."""
    return f"{number:.6f}".rstrip("0").rstrip(".") if number else ""


def _gib(form: Form, name: str, faults: Faults) -> int:
    return round(_number(form, name, 1_024, faults) * GIB)


def _until(form: Form, faults: Faults) -> datetime | None:
    text = form.text("until")
    if not text:
        return None
    try:
        if _UNTIL.match(text):
            return datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError:
        pass
    faults["until"] = "a time in UTC is expected as 2026-08-01T18:30"
    return None


def _registry(form: Form, faults: Faults) -> dict[str, str] | None:
    user, password = form.text("registry_user"), form.lines("registry_password")
    if not user and not password and not form.text("registry_server"):
        return None
    if not user:
        faults["registry_user"] = "a name of the registry is expected"
    if not password:
        faults["registry_password"] = "the password or token is expected"  # noqa: S105  what is told
    return {"user": user, "password": password, "server": form.text("registry_server")}


def _port(word: str, faults: Faults) -> dict[str, Any]:
    found = _PORT.match(word)
    if not found:
        faults["ports"] = "ports are expected as 8888 or 9000/udp, with commas between"
        return {}
    return {"inside": int(found[1]), "protocol": found[3] or "tcp"}


def _mount(line: str, faults: Faults) -> dict[str, Any]:
    name, colon, at = line.removesuffix(_WIPED).partition(":")
    if not colon:
        faults["volumes"] = "a volume is expected as name:/where/it/is/seen, one a line"
    return {"volume": name.strip(), "at": at.strip(), "is_kept": not line.endswith(_WIPED)}


def _variable(line: str, faults: Faults) -> tuple[str, str]:
    name, equals, value = line.partition("=")
    if not equals:
        faults["environment"] = "a variable is expected as NAME=value, one a line"
    return name.strip(), value


def models_of(snapshot: Snapshot) -> Iterable[str]:
    """Models of machines on offer, by name."""
    return sorted({one.model for one in snapshot.offers})


def regions_of(snapshot: Snapshot) -> Iterable[str]:
    """Regions of machines on offer, by name."""
    return sorted({one.region for one in snapshot.offers if one.region})
