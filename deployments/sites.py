"""Where a command works: on the local subnet, which it starts if nobody has, or on the network that .env names."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deployments.prefect_auth import take_auth
from deployments.prefect_server import PrefectServer, client_environment, is_healthy, launch
from deployments.supervising import Supervised
from flows.settings import Settings, read_settings
from tasks.errors import ChainAway, SettingError

REPOSITORY = Path(__file__).parents[1]


@dataclass(frozen=True)
class Site:
    """Everything that running an epoch needs to know of its surroundings."""

    folder: Path
    settings: Settings
    server: PrefectServer
    environment: Mapping[str, str]
    """Of a process that works for the validator."""
    flow: str
    """`module:function`."""
    substrate: Callable[[], object] | None
    kept: tuple[Supervised, ...] = ()
    """What was started for it and is to stay up: `look` at them, and they are begun again when they die."""


def folder_of(environment: Mapping[str, str]) -> Path:
    """The folder of state, caches and the local subnet; SettingError when a file stands there."""
    asked = environment.get("SUBNET_FOLDER") or str(REPOSITORY / ".local")
    try:
        folder = Path(asked).expanduser().absolute()
    except RuntimeError:
        raise SettingError("SUBNET_FOLDER", asked, "a path of this machine") from None
    if not folder.is_dir() and any(place.is_file() for place in (folder, *folder.parents)):
        raise SettingError("SUBNET_FOLDER", asked, "a folder, or a path where one can be made")
    return folder


def load_dotenv() -> None:
    """Take the settings of `.env` in the current folder, and the credential of our Prefect server; what the environment has stays."""
    if Path(".env").is_file():
        _load(Path(".env"))
    take_auth(os.environ)


def _load(file: Path) -> None:
    from dotenv import dotenv_values  # noqa: PLC0415  only where there is such a file

    try:
        values = dotenv_values(file)
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(".env", "this file", f"UTF-8 text that can be read ({error})") from None
    for key, value in values.items():
        if value is not None:
            os.environ.setdefault(key, value)


def site_settings() -> Settings:
    """Those of the environment; of the local subnet, everything under its folder."""
    settings = read_settings(os.environ)
    if not settings.is_embedded:
        return settings
    from deployments.localnet.layout import Layout  # noqa: PLC0415  only a local site pays for it

    return Layout(folder_of(os.environ)).settings(os.environ)


def local_substrate(settings: Settings) -> Callable[[], object] | None:
    """What opens the local subnet's chain, None for any other network; ChainAway when it is not made yet."""
    if not settings.is_embedded:
        return None
    from deployments.localnet.chain.substrate import LocalSubstrate  # noqa: PLC0415  only a local site pays for it

    file = local_chain()
    return lambda: LocalSubstrate(file)


def local_chain() -> Path:
    """The local subnet's chain; ChainAway when it is not made yet."""
    from deployments.localnet.layout import Layout  # noqa: PLC0415  only a local site pays for it

    file = Layout(folder_of(os.environ)).chain
    if not file.is_file():
        raise ChainAway("there is no local chain yet; `subnet epoch` makes one")
    return file


@contextmanager
def open_site(say: Callable[[str], None], *, is_kept: bool = False) -> Iterator[Site]:
    """The site that the environment and `.env` ask for; what was started for it ends with the block.

    `is_kept`: other commands may use the local system that is started here.
    """
    load_dotenv()
    settings = read_settings(os.environ)
    folder = folder_of(os.environ)
    (folder / "prefect").mkdir(
        parents=True, exist_ok=True
    )  # Prefect makes no more than the last part of its path
    if settings.is_embedded:
        with _local(folder, say, is_kept=is_kept) as site:
            yield site
    else:
        with _remote(folder, settings, say) as site:
            yield site


@contextmanager
def _local(folder: Path, say: Callable[[str], None], *, is_kept: bool) -> Iterator[Site]:
    from deployments.localnet.chain.substrate import LocalSubstrate  # noqa: PLC0415  only a local site pays for it
    from deployments.localnet.stack import local_stack  # noqa: PLC0415  the same

    with local_stack(folder, say, is_kept=is_kept) as stack:
        yield Site(
            folder=folder,
            settings=stack.layout.settings(os.environ),
            server=stack.server,
            environment=stack.environment,
            flow="deployments.localnet.flows:validate",
            substrate=lambda: LocalSubstrate(stack.layout.chain),
            kept=stack.kept,
        )


@contextmanager
def _remote(folder: Path, settings: Settings, say: Callable[[str], None]) -> Iterator[Site]:
    server = _server(folder)
    try:
        server.wait()
        say(f"Prefect server: {server.url}")
        environment = dict(os.environ) | {"NUMBA_CACHE_DIR": str(folder / "numba")}
        if server.child is not None:
            environment |= client_environment(folder, server)
        yield Site(folder, settings, server, environment, "flows.validate:validate", None)
    finally:
        server.stop()


def _server(folder: Path) -> PrefectServer:
    url = os.environ.get("PREFECT_API_URL", "")
    if not url:
        return launch(folder, REPOSITORY)
    base = url.removesuffix("/").removesuffix("/api")
    if not is_healthy(base):
        raise SettingError(
            "PREFECT_API_URL", url, "the address of a Prefect server that answers, ending in /api"
        )
    return PrefectServer(base, None)
