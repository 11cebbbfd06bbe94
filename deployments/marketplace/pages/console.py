"""A command in a lease's container: typed in, run once, and what it printed shown."""

from __future__ import annotations

import shlex
from base64 import b64decode, b64encode
from dataclasses import dataclass

from fastapi import Request
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from deployments.marketplace.guard import OfDesk
from deployments.marketplace.market import Desk
from deployments.marketplace.models import ExecAnswer, ExecBody
from deployments.marketplace.pages.forms import (
    Faults,
    Form,
    Posted,
    check_token,
    faults_of,
    is_new,
    new_name,
    words_at,
)
from deployments.marketplace.pages.frame import page, page_router
from deployments.marketplace.pages.mending import reason_of
from deployments.marketplace.pages.visitors import Rents, Visitor
from deployments.marketplace.pages.words import printed
from deployments.marketplace.problems import problem_of
from deployments.marketplace.routes import console as api_console
from deployments.marketplace.routes.common import LeaseId, own_lease
from storage.rental import Rental, RentalState
from tasks.errors import SubnetError

router = page_router()
SHOWN_CHARACTERS = 96 << 10
"""Of each of the two streams."""
_PLACES = {"argv": "argv", "stdin": "stdin", "timeout_s": "timeout_s"}
_USUAL = Form({"timeout_s": ["60"]})


@dataclass(frozen=True, slots=True)
class Ran:
    """What came of a command, to be read."""

    line: str
    """The command as a shell would take it."""
    exit_code: int
    stdout: str
    stderr: str
    is_cut: bool
    """Whether it printed more than is here."""


@router.get("/leases/{lease_id}/console")
def show_console(lease_id: LeaseId, request: Request, desk: OfDesk, visitor: Rents) -> Response:
    """The form."""
    return _console(request, own_lease(desk, visitor.caller, lease_id), _USUAL)


@router.post("/leases/{lease_id}/console")
async def run_command(
    lease_id: LeaseId, request: Request, desk: OfDesk, visitor: Rents, form: Posted
) -> Response:
    """By the API's own route; the form again, with what was typed in and what came of it."""
    check_token(desk, request, form, visitor.secret)
    lease = await run_in_threadpool(own_lease, desk, visitor.caller, lease_id)
    argv, faults = await run_in_threadpool(_typed, desk, visitor, form)
    answer = None
    if not faults:
        try:
            stdin = b64encode(form.lines("stdin").encode("utf-8", "replace")).decode()
            body = ExecBody(argv=argv, stdin=stdin, timeout_s=int(form.text("timeout_s")))
            answer = await api_console.execute(lease_id, body, visitor.caller, desk)
        except ValidationError as error:
            faults = faults_of(error, _PLACES, "form")
        except SubnetError as error:
            refused = problem_of(error)
            told = f"{reason_of(refused)}; whether it ran is for you to see, it is not run again by itself"
            faults = {"form": told}
    return await run_in_threadpool(_console, request, lease, form, faults, argv, answer)


def _typed(desk: Desk, visitor: Visitor, form: Form) -> tuple[tuple[str, ...], Faults]:
    """The command's words, and what does not fit; what fits counts as sent from now on."""
    faults: Faults = {}
    argv = words_at(form, "argv", faults)
    if not argv and not faults:
        faults["argv"] = "a command is expected, e.g. nvidia-smi -L"
    seconds = form.text("timeout_s")
    if not (seconds.isascii() and seconds.isdecimal() and 1 <= int(seconds[:9]) <= 300):
        faults["timeout_s"] = "whole seconds from 1 to 300 are expected"
    if not faults and not is_new(desk, visitor.caller.renter_id, "run", form):
        faults["form"] = (
            "this form was sent before, and is not run again; press the button to run it once more"
        )
    return argv, faults


def _console(
    request: Request,
    lease: Rental,
    form: Form,
    faults: Faults | None = None,
    argv: tuple[str, ...] = (),
    answer: ExecAnswer | None = None,
) -> Response:
    return page(
        request,
        "console.html",
        status=422 if faults else 200,
        lease_id=lease.lease_id,
        is_running=lease.state is RentalState.ACTIVE and lease.end_asked_at is None,
        form=form,
        faults=faults or {},
        ran=_ran(argv, answer) if answer else None,
        idempotency_key=new_name(),
    )


def _ran(argv: tuple[str, ...], answer: ExecAnswer) -> Ran:
    stdout, stderr = _text(answer.stdout), _text(answer.stderr)
    is_cut = answer.truncated or max(len(stdout), len(stderr)) > SHOWN_CHARACTERS
    return Ran(
        shlex.join(argv), answer.exit_code, stdout[:SHOWN_CHARACTERS], stderr[:SHOWN_CHARACTERS], is_cut
    )


def _text(base64: str) -> str:
    return printed(b64decode(base64).decode("utf-8", "replace"))
