"""A real network and the Prefect server beside it, for commands that make nothing on the local subnet."""

from __future__ import annotations

import os

from deployments.prefect_server import is_healthy
from deployments.sites import load_dotenv
from flows.settings import Settings, read_settings
from tasks.errors import SettingError, UserError

PATIENCE_S = 20.0
"""A server that has just started has much to do."""


def remote_settings() -> Settings:
    """The settings of the environment and `.env`; UserError on the local subnet, SettingError when no Prefect server answers."""
    load_dotenv()
    settings = read_settings(os.environ)
    if settings.is_embedded:
        raise UserError("SUBNET_NETWORK is 'embedded': for the local subnet use `subnet up`")
    url = os.environ.get("PREFECT_API_URL", "")
    if not url or not is_healthy(url.removesuffix("/").removesuffix("/api"), PATIENCE_S):
        raise SettingError(
            "PREFECT_API_URL", url, "the address of a Prefect server that answers, ending in /api"
        )
    return settings
