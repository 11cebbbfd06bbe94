"""The app: routes, problems, limits and the OpenAPI put together; everything that it works with is passed in.

app = build_app(market)          and what runs beside it while the app does (`beside`): starter, deliverer
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from deployments.marketplace.front import App, Front
from deployments.marketplace.market import Desk, Market
from deployments.marketplace.models import Problem
from deployments.marketplace.pages import PAGES
from deployments.marketplace.pages.frame import for_browsers
from deployments.marketplace.problems import add_handlers, on_http
from deployments.marketplace.routes import ROUTERS

VERSION = "1.0.0"
_ABOUT = """
Find machines whose cards were proved, rent them by the second, and use them.

* **Keys**: `Authorization: Bearer sn_<id>_<secret>`, with the scopes `read`, `rent`, `money`, `admin`.
* **Retries**: every request that begins something takes an `Idempotency-Key`; the same key again gets the same answer.
* **Errors** are `application/problem+json`: `code` is stable, `mend` says what to do.
* **Money** is integers of micro-USD, and the same as a decimal in text. **Times** are in UTC.
* **Pages** end with `next_cursor`; send it as `cursor`.
* **Feeds** (`follow=true`) are server-sent events; reconnect with `Last-Event-ID`.
"""
_TAGS = [
    {"name": "offers", "description": "Machines that can be rented."},
    {"name": "leases", "description": "What you rent, from the request to its end."},
    {"name": "operations", "description": "What is asked of a lease that stands."},
    {"name": "volumes", "description": "Data that outlive a lease, and copies of them."},
    {"name": "templates", "description": "Pods that are started often."},
    {"name": "keys", "description": "Who may ask, and who may log in."},
    {"name": "webhooks", "description": "Addresses that are told what happens."},
    {"name": "money", "description": "Balance, bills and deposits."},
    {"name": "health", "description": "Whether the marketplace can do its work."},
]
Beside = Callable[[Desk], AbstractAsyncContextManager[None]]


def build_app(market: Market, beside: Sequence[Beside] = ()) -> App:
    """The whole application; what runs beside it begins and ends with it."""
    desk = Desk(market)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        del app
        async with AsyncExitStack() as stack:
            stack.callback(desk.close)
            for begin in beside:
                await stack.enter_async_context(begin(desk))
            await stack.enter_async_context(desk.samplers.opened())
            yield

    app = FastAPI(
        title="Compute subnet marketplace",
        version=VERSION,
        summary="Proved GPUs by the second",
        description=_ABOUT,
        openapi_url="/v1/openapi.json",
        openapi_tags=_TAGS,
        docs_url=None,  # their pages load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        separate_input_output_schemas=False,
        lifespan=lifespan,
    )
    app.state.desk = desk
    add_handlers(app)
    app.add_exception_handler(HTTPException, for_browsers(on_http))
    for router in (*ROUTERS, *PAGES):
        app.include_router(router)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    if market.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(market.cors_origins),
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "Idempotency-Key", "Last-Event-ID"],
            expose_headers=[
                "Location",
                "Retry-After",
                "RateLimit-Limit",
                "RateLimit-Remaining",
                "RateLimit-Reset",
            ],
        )
    return Front(app, desk)


def _openapi(app: FastAPI) -> dict[str, Any]:
    """The description, made once, with the one form of all problems in it."""
    if app.openapi_schema is None:
        schema = get_openapi(
            title=app.title,
            version=app.version,
            summary=app.summary,
            description=app.description,
            tags=app.openapi_tags,
            routes=app.routes,
            separate_input_output_schemas=False,
        )
        made = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        parts = schema["components"]["schemas"]
        parts.update(made.pop("$defs", {}))
        parts["Problem"] = made
        for unused in ("HTTPValidationError", "ValidationError"):
            parts.pop(unused, None)
        app.openapi_schema = schema
    return app.openapi_schema
