"""The miner's pages: its machines with why they earn or don't, one machine's bill, and what another one would earn.

For a browser that was signed in by the hotkey's own signature; nobody sees another miner's machines.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Path, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.responses import Response

from deployments.marketplace.catalogue import Answer
from deployments.marketplace.estimates import Row, Wanted
from deployments.marketplace.guard import OfDesk, neighbourhood_of
from deployments.marketplace.market import Desk
from deployments.marketplace.miners import Mine
from deployments.marketplace.pages.bills import Line, bill_of, ordered
from deployments.marketplace.pages.forms import Faults, faults_of
from deployments.marketplace.pages.fragments import fragment, markup, sent
from deployments.marketplace.pages.frame import page, page_router
from deployments.marketplace.pages.glances import glance_of, notice_of, trended
from deployments.marketplace.pages.visitors import Mines
from deployments.marketplace.problems import Refused
from tasks.estimating import ALPHA_PER_DAY
from tasks.inspection.models import MODELS

router = page_router()
Name = Annotated[str, Path(pattern=r"^[a-z0-9-]{1,64}$")]
PRICE_DIGITS = 3
"""To so much of a USD a price is told apart."""
_MODELS = {one.name: one for one in sorted(MODELS, key=lambda one: one.name)}


class Asked(BaseModel):
    """A machine as the form of the estimate has it."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    model: str = ""
    cards: Annotated[int, Field(ge=1, le=14)] = 1
    price: Annotated[float, Field(ge=0, le=1_000, allow_inf_nan=False)] | None = None
    shared: bool = False
    bare: bool = False


@dataclass(frozen=True, slots=True)
class Case:
    """A row of the estimate."""

    case: Row
    loss: Line | None
    """The factor that costs most."""


@router.get("/miner")
def mine(request: Request, desk: OfDesk, miner: Mines) -> Response:
    """All machines, some to a page."""
    number = _number(request)
    made = _machines(desk.miners.look(miner.hotkey, number))
    return page(request, "mining.html", now=markup(made), etag=made.etag, number=number)


@router.get("/miner/now")
def mine_now(request: Request, desk: OfDesk, miner: Mines) -> Response:
    """What changes of it; nothing while nothing has changed."""
    return sent(request, _machines(desk.miners.look(miner.hotkey, _number(request))))


@router.get("/miner/machines/{name}")
def machine(name: Name, request: Request, desk: OfDesk, miner: Mines) -> Response:
    """One machine: reasons, bill, leases, record."""
    made = _machine(desk, miner.hotkey, name)
    return page(request, "mining_machine.html", name=name, now=markup(made), etag=made.etag)


@router.get("/miner/machines/{name}/now")
def machine_now(name: Name, request: Request, desk: OfDesk, miner: Mines) -> Response:
    """What changes of it."""
    return sent(request, _machine(desk, miner.hotkey, name))


@router.get("/miner/estimate")
async def estimated(request: Request, desk: OfDesk, miner: Mines) -> Response:
    """What a machine would earn, idle and leased, new and after a month."""
    asked, faults = _asked(request)
    epoch: int | None = None
    rows: tuple[Row, ...] = ()
    if asked.model and not faults:
        wanted = Wanted(
            model=_MODELS[asked.model],
            card_count=asked.cards,
            price_usd_per_hour=asked.price and round(asked.price, PRICE_DIGITS),
            is_isolating=not asked.shared,
            has_collateral=not asked.bare,
            hotkey=miner.hotkey,
        )
        epoch, rows = await desk.estimates.of(wanted, neighbourhood_of(request))
    return page(
        request,
        "mining_estimate.html",
        status=422 if faults else 200,
        asked=asked,
        faults=faults,
        models=tuple(_MODELS),
        epoch=epoch,
        rows=[Case(one, bill_of(one.estimate.score).largest_loss) for one in rows],
        alpha_per_day=ALPHA_PER_DAY,
    )


def _asked(request: Request) -> tuple[Asked, Faults]:
    """What does not fit is left out and told."""
    given = {name: value for name, value in request.query_params.items() if value != ""}
    faults: Faults = {}
    try:
        asked = Asked.model_validate(given)
    except ValidationError as error:
        faults = faults_of(error, {name: name for name in Asked.model_fields}, "model")
        asked = Asked.model_validate({name: value for name, value in given.items() if name not in faults})
    if asked.model and asked.model not in _MODELS:
        faults["model"] = "no supported model is called so"
        asked = asked.model_copy(update={"model": ""})
    return asked, faults


def _number(request: Request) -> int:
    """The page's number in the address; what is none is the first."""
    text = request.query_params.get("page", "0")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 5 else 0


def _machines(found: Mine) -> Answer:
    return fragment(
        "mining_now.html",
        ordered=ordered,
        trended=trended,
        mine=found,
        notice=notice_of(found),
        machines=[glance_of(one, found) for one in found.machines],
    )


def _machine(desk: Desk, hotkey: str, name: str) -> Answer:
    found = desk.miners.one(hotkey, name)
    if not found.machines:
        raise Refused(
            404,
            "NOT_FOUND",
            "you have no machine of this name that an epoch knows",
            "choose one of your list",
        )
    return fragment(
        "mining_machine_now.html",
        trended=trended,
        mine=found,
        one=glance_of(found.machines[0], found),
        alpha_per_day=ALPHA_PER_DAY,
    )
