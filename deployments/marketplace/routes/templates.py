"""Templates: those that come with the marketplace, and a renter's own."""

from __future__ import annotations

from fastapi import APIRouter

from deployments.marketplace import views
from deployments.marketplace.builtin import builtin, builtins
from deployments.marketplace.guard import Caller, OfDesk, Reads, Rents
from deployments.marketplace.market import Desk
from deployments.marketplace.models import NewTemplateBody, Page, PodBody, Template, TemplateBody
from deployments.marketplace.pods import SECRET_FIELDS, check_image, opened, subject_of
from deployments.marketplace.problems import Refused, no_such, responses
from deployments.marketplace.routes.common import NamePath
from storage import renter as kept

router = APIRouter(tags=["templates"])


@router.get("/v1/templates", summary="List templates", responses=responses())
def list_templates(caller: Reads, desk: OfDesk) -> Page[Template]:
    """Your own first; one of yours stands before one of ours with its name."""
    own = desk.stores.templates.all(caller.renter_id)
    ours = builtins(is_local=desk.market.is_local)
    return Page(
        items=(
            *(views.own_template(one, opened(desk, one)) for one in own),
            *(views.builtin_template(one) for one in ours),
        )
    )


@router.get("/v1/templates/{name}", summary="Look at a template", responses=responses(404))
def get_template(name: NamePath, caller: Reads, desk: OfDesk) -> Template:
    """Values of its environment are not answered, names are."""
    own = desk.stores.templates.get(caller.renter_id, name)
    if own is not None:
        return views.own_template(own, opened(desk, own))
    ours = builtin(name, is_local=desk.market.is_local)
    if ours is None:
        raise no_such("template", name, "/v1/templates")
    return views.builtin_template(ours)


@router.post("/v1/templates", status_code=201, summary="Keep a template", responses=responses(409))
def add_template(body: NewTemplateBody, caller: Rents, desk: OfDesk) -> Template:
    """Values of its environment and the registry's login are sealed."""
    made = _made(desk, caller, body.name, body)
    if not desk.stores.templates.add(made):
        detail = f"you have a template {body.name!r}"
        raise Refused(409, "NAME_TAKEN", detail, f"replace it: PUT /v1/templates/{body.name}")
    return views.own_template(made, body.pod)


@router.put("/v1/templates/{name}", summary="Replace a template", responses=responses(404))
def replace_template(name: NamePath, body: TemplateBody, caller: Rents, desk: OfDesk) -> Template:
    """All of it: what is not given is not in it any more. Leases that stand keep what they have."""
    found = desk.stores.templates.replace(_made(desk, caller, name, body))
    if found is None:
        raise no_such("template of your own", name, "/v1/templates")
    return views.own_template(found, body.pod)


@router.delete("/v1/templates/{name}", status_code=204, summary="Forget a template", responses=responses(404))
def drop_template(name: NamePath, caller: Rents, desk: OfDesk) -> None:
    """Leases that were made from it stay."""
    if not desk.stores.templates.drop(caller.renter_id, name):
        raise no_such("template of your own", name, "/v1/templates")


def _made(desk: Desk, caller: Caller, name: str, body: TemplateBody) -> kept.Template:
    pod = body.pod
    if pod.template is not None:
        raise Refused(
            422, "TEMPLATE_OF_TEMPLATE", "body.pod.template: a template has none", "name the image instead"
        )
    if pod.image is None:
        raise Refused(422, "NO_IMAGE", "body.pod.image is missing", "name the image")
    check_image(desk, pod.image)
    registry = {"registry": pod.registry.model_dump()} if pod.registry else {}
    values = {**({"environment": pod.environment} if pod.environment else {}), **registry}
    sealed = desk.market.sealer.seal(subject_of(caller.renter_id, name), values)
    now = desk.market.now()
    text = _without_secrets(pod)
    return kept.Template(caller.renter_id, name, body.about, text, sealed, now, now)


def _without_secrets(pod: PodBody) -> str:
    return pod.model_dump_json(exclude=set(SECRET_FIELDS), exclude_unset=True)
