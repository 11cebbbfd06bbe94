"""What `subnet miner onboard` and `offboard` have in common: their options, and opening what they name."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deployments.histories import own_settings
from deployments.sites import folder_of, local_substrate
from deployments.view import make_console

if TYPE_CHECKING:
    from tasks.onboarding.work import Onboarding

FILE = click.Path(path_type=Path, dir_okay=False)
INTERRUPTED = 130
_OPTIONS = (
    click.option("--user", default="root", show_default=True, help="Who logs in, where HOST names nobody."),
    click.option("--key", type=FILE, help="Your SSH key (ed25519) for the machines; ~/.ssh/id_ed25519."),
    click.option(
        "--known-hosts", type=FILE, help="Where host keys are pinned; miner/known_hosts of our folder."
    ),
    click.option("--accept-new", "accepts_new", is_flag=True, help="Pin the keys of machines that are new."),
    click.option(
        "--config", type=FILE, help="The agent's file; /etc/subnet/miner.toml, locally our folder's."
    ),
    click.option(
        "--wallet-path", type=click.Path(path_type=Path, file_okay=False), help="Folder of wallets."
    ),
    click.option("--wallet", default="", help="Name of the wallet; SUBNET_WALLET_NAME, locally `miner`."),
    click.option("--hotkey", default="", help="Name of the hotkey in it; SUBNET_WALLET_HOTKEY."),
    click.option("--yes", is_flag=True, help="Ask nothing: what is needed must be said by options."),
    click.option(
        "--json", "as_json", is_flag=True, help="Print one JSON object; without --yes it only tells."
    ),
)


def onboard_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of both, in this order."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@dataclass(frozen=True, slots=True)
class Run:
    """One of the two, on its way to the flow."""

    name: str
    hosts: tuple[str, ...]
    given: dict[str, Any]
    """Fields of `flows.miner.Starting`; what is None was not given."""
    is_agreed: bool
    as_json: bool
    is_dry: bool
    """Whether nothing but the plan is wanted."""
    password_file: Path | None = None


def carry_out(run: Run, do: Callable[[Onboarding], Awaitable[object]]) -> int:
    """Open what it names, do it, show what came of it; the exit code."""
    from deployments.miner.onboarding import (  # noqa: PLC0415  as above
        Lines,
        Typed,
        document,
        seen,
        show_failures,
        show_outcomes,
        show_plan,
    )
    from flows.miner import Starting, open_onboarding  # noqa: PLC0415  SSH and the SDK are seconds of import
    from tasks.onboarding.login import load_ssh_key, needs_passphrase  # noqa: PLC0415  as above
    from tasks.onboarding.work import first_failure  # noqa: PLC0415  as above

    settings, console = own_settings(), make_console(stderr=run.as_json)
    own = folder_of(os.environ) / "miner"
    given: dict[str, Any] = {"known_hosts": own / "known_hosts"}
    if settings.is_embedded:
        given |= {"config": own / "miner.toml", "wallet": "miner"}
    how = Starting(**given | {name: value for name, value in run.given.items() if value not in (None, "")})
    path = how.key.expanduser()
    phrase = (
        click.prompt(f"Passphrase of {path} (not shown)", hide_input=True) if needs_passphrase(path) else None
    )
    human = Typed(
        console, is_agreed=run.is_agreed, accepts_new=how.accepts_new, password_file=run.password_file
    )

    async def work() -> int:
        opened = open_onboarding(
            list(run.hosts),
            how,
            settings,
            local_substrate(settings),
            human=human,
            key=load_ssh_key(path, phrase),
            tell=Lines(console),
        )
        async with opened as onboarding:

            async def doing() -> object:
                return await do(onboarding)

            await (seen(run.name, doing) if os.environ.get("PREFECT_API_URL") else doing)()
            if run.as_json:
                click.echo(json.dumps(document(onboarding), indent=2))
            elif run.is_dry:
                show_plan(console, onboarding.plan)
                show_failures(console, onboarding)
            else:
                show_outcomes(console, onboarding)
            return 1 if first_failure(onboarding) is not None else 0

    try:
        return asyncio.run(work())
    except KeyboardInterrupt:
        click.echo("stopped; the same command goes on where it was", err=True)
        # At once: a thread that waits for a machine would be waited for, and a kill at any line is what it is made for.
        os._exit(INTERRUPTED)
