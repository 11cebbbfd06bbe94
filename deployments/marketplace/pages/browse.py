"""The first page: machines that can be rented, for everybody who comes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import Depends, Path, Request
from markupsafe import Markup
from pydantic import ValidationError
from starlette.responses import Response

from deployments.marketplace.catalogue import Answer, Snapshot
from deployments.marketplace.guard import OfDesk
from deployments.marketplace.market import Desk
from deployments.marketplace.models import Fault
from deployments.marketplace.pages import plot
from deployments.marketplace.pages.assets import BY_ADDRESS
from deployments.marketplace.pages.choosing import Question, card_price, choose
from deployments.marketplace.pages.frame import HEADERS, page, page_router, text_of
from deployments.marketplace.pages.visitors import visitor_of
from deployments.marketplace.problems import Refused, printable
from deployments.marketplace.routes.offers import reply
from storage.rental import Mode

router = page_router()
KEPT_S = 31_536_000


Seen = Depends(visitor_of)


@router.get("/", dependencies=[Seen])
def browse(request: Request, desk: OfDesk) -> Response:
    """The form, the picture and the list."""
    question, faults = asked_of(request.query_params)
    snapshot = desk.catalogue.snapshot()
    machines = snapshot.by_key.values()
    made = _fragment(desk, snapshot, question)
    return page(
        request,
        "browse.html",
        status=422 if faults else 200,
        question=question,
        faults={fault.where: fault.what for fault in faults},
        models=sorted({one.model for one in machines}),
        regions=sorted({one.region for one in machines if one.region}),
        query=query_of(question),
        etag=made.etag,
        offers=Markup(made.body.decode()),  # noqa: S704  a template of ours made it, and has escaped what is foreign
    )


@router.get("/offers", dependencies=[Seen])
def offers(request: Request, desk: OfDesk) -> Response:
    """The picture and the list alone, for a page that is open already; nothing while nothing has changed."""
    return _sent(request, _fragment(desk, desk.catalogue.snapshot(), _fitting(request)))


@router.get("/offers/points", dependencies=[Seen])
def points(request: Request, desk: OfDesk) -> Response:
    """The links of a picture that has come with dots."""
    question, snapshot = _fitting(request), desk.catalogue.snapshot()

    def made() -> bytes:
        picture = plot.plot_of(choose(snapshot, question, desk.market.policy.renting).choices)
        return text_of("points.html", points=picture.others if picture else ()).encode("utf-8", "replace")

    return _sent(request, snapshot.made(("points", query_of(question)), made))


@router.get("/machines/{executor_key:path}", dependencies=[Seen])
def machine(
    request: Request, executor_key: Annotated[str, Path(pattern=r"^[!-~]{1,200}$")], desk: OfDesk
) -> Response:
    """One machine: what was proved of it, and what it costs in each mode."""
    snapshot = desk.catalogue.snapshot()
    found = snapshot.by_key.get(executor_key)
    if found is None:
        raise Refused(404, "NOT_FOUND", "this machine is not on offer now", "choose another one in the list")
    price = partial(card_price, found, hours=0, policy=desk.market.policy.renting, demand=snapshot.demand)
    return page(request, "machine.html", offer=found, prices={mode: price(mode) for mode in Mode})


@router.get("/static/{name}")
def static(request: Request, name: str) -> Response:
    """A file that pages load; its name changes when it does."""
    found = BY_ADDRESS.get(f"/static/{name}")
    if found is None:
        raise Refused(404, "NO_SUCH_PATH", "there is no such file", "load the page again")
    is_small = "gzip" in request.headers.get("accept-encoding", "")
    headers = {
        "Cache-Control": f"public, max-age={KEPT_S}, immutable",
        "Vary": "Accept-Encoding",
        **({"Content-Encoding": "gzip"} if is_small else {}),
    }
    return Response(found.compressed if is_small else found.body, 200, headers, found.media_type)


def asked_of(params: Mapping[str, str]) -> tuple[Question, tuple[Fault, ...]]:
    """The question of a form, fields that were left empty not given; those that do not fit are left out and told."""
    given: dict[str, Any] = {name: value for name, value in params.items() if value != ""}
    try:
        return Question.model_validate(given), ()
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        faults = {str(one["loc"][0]): one["msg"] for one in found}
        fitting = {name: value for name, value in given.items() if name not in faults}
        told = (Fault(where=printable(name), what=printable(what)) for name, what in faults.items())
        return Question.model_validate(fitting), tuple(told)[:20]


def query_of(question: Question, **changes: object) -> str:
    """The question as an address has it; what is the default is left out."""
    told = question.model_copy(update=changes).model_dump(mode="json", exclude_defaults=True)
    return urlencode(told)


def _fitting(request: Request) -> Question:
    """The question of a page that is open already: one that does not fit is refused."""
    question, faults = asked_of(request.query_params)
    if faults:
        raise Refused(422, "DOES_NOT_FIT", f"{faults[0].where}: {faults[0].what}", "change it in the form")
    return question


def _sent(request: Request, answer: Answer) -> Response:
    """A piece of a page, unless the browser has it already."""
    sent = reply(answer, request.headers.get("if-none-match"), request.headers.get("accept-encoding", ""))
    sent.headers.update({**HEADERS, "Content-Type": "text/html; charset=utf-8"})
    return sent


def _fragment(desk: Desk, snapshot: Snapshot, question: Question) -> Answer:
    """The picture and the list, made once for each question while nothing changes."""
    return snapshot.made(("page", query_of(question)), lambda: _made(desk, snapshot, question))


def _made(desk: Desk, snapshot: Snapshot, question: Question) -> bytes:
    chosen = choose(snapshot, question, desk.market.policy.renting)
    text = text_of(
        "offers.html",
        chosen=chosen,
        question=question,
        plot=plot.plot_of(chosen.choices),
        size=plot,
        epoch=snapshot.epoch,
        linked=partial(query_of, question),
    )
    return text.encode("utf-8", "replace")
