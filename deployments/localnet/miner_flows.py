"""Bringing machines into the local subnet and taking them out, as the Prefect UI starts it."""

from __future__ import annotations

import os
from pathlib import Path

from prefect import flow

from deployments.localnet.chain.substrate import LocalSubstrate
from deployments.localnet.layout import Layout
from flows.miner import Starting
from flows.offboard import offboard_by
from flows.onboard import onboard_by


@flow(name="onboard", flow_run_name="onboard", persist_result=False)
async def onboard(hosts: list[str], how: Starting) -> None:
    """Bring machines into the local subnet in the folder that SUBNET_FOLDER names."""
    layout = _layout()
    await onboard_by(hosts, how, layout.settings(os.environ), lambda: LocalSubstrate(layout.chain))


@flow(name="offboard", flow_run_name="offboard", persist_result=False)
async def offboard(hosts: list[str], how: Starting, is_forced: bool = False) -> None:  # noqa: FBT001, FBT002  a tick in the UI
    """Take machines out of it."""
    layout = _layout()
    settings = layout.settings(os.environ)
    await offboard_by(hosts, how, settings, lambda: LocalSubstrate(layout.chain), is_forced=is_forced)


def _layout() -> Layout:
    return Layout(Path(os.environ.get("SUBNET_FOLDER", ".local")).absolute())
