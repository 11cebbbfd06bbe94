"""Opening the outside worlds of a validator from its settings; whoever starts a role may pass an embedded chain in."""

from __future__ import annotations

import asyncio
import os
import resource
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import ContextVar
from functools import partial
from typing import TypeVar, cast

from flows.settings import Settings
from storage.database import migrate, open_database
from tasks.crew.foreman import Roster
from tasks.crew.rosters import Processes, Threads
from tasks.edges.chain import Chain, ChainSettings, HotkeyWallet, load_hotkey
from tasks.edges.peers import Peers, PeerSettings
from tasks.edges.prices import HttpMarket, load_book
from tasks.edges.shell import Shell, ShellSettings
from tasks.epoch import Edges
from tasks.errors import SettingError
from tasks.pricing.sources import SOURCES
from tasks.renting.standing import running_leases

T = TypeVar("T")


class _Keeper:
    """Edges by their settings, opened when they are first asked for and closed together."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self._turn = asyncio.Lock()
        self._open: dict[Settings, Edges] = {}
        self._made: dict[Hashable, object] = {}

    async def get(self, settings: Settings, substrate: Callable[[], object] | None) -> Edges:
        async with self._turn:
            if settings not in self._open:
                opened = _opened(settings, substrate)
                self._open[settings] = await self._stack.enter_async_context(opened)
            return self._open[settings]

    def once(self, name: Hashable, make: Callable[[], T]) -> T:
        if name not in self._made:
            self._made[name] = make()
        return cast("T", self._made[name])


_KEEPER: ContextVar[_Keeper | None] = ContextVar("kept edges", default=None)


@asynccontextmanager
async def keep_edges() -> AsyncIterator[None]:
    """What opens edges inside of this block, and in the tasks that it starts, shares them until the block's end.

    For a process that runs many short flows: opening takes longer than most of them.
    """
    async with AsyncExitStack() as stack:
        token = _KEEPER.set(_Keeper(stack))
        try:
            yield
        finally:
            _KEEPER.reset(token)


def kept(name: Hashable, make: Callable[[], T]) -> T | None:
    """What is kept under this name beside the edges, made when it is first asked for; None where no edges are kept."""
    keeper = _KEEPER.get()
    return None if keeper is None else keeper.once(name, make)


@asynccontextmanager
async def open_edges(
    settings: Settings, substrate: Callable[[], object] | None = None
) -> AsyncIterator[Edges]:
    """All edges, closed at the end of the block unless they are kept; `substrate` makes the embedded chain's, once per process."""
    keeper = _KEEPER.get()
    if keeper is not None:
        yield await keeper.get(settings, substrate)
        return
    async with _opened(settings, substrate) as edges:
        yield edges


@asynccontextmanager
async def _opened(settings: Settings, substrate: Callable[[], object] | None) -> AsyncIterator[Edges]:
    _allow_sessions()
    wallet = load_wallet(settings)
    engine = open_database(settings.database_url)
    migrate(engine)
    chain_settings = ChainSettings(
        network=settings.network,
        netuid=settings.netuid,
        call_deadline_s=settings.chain_deadline_s,
        cache=settings.cache,
    )
    peer_settings = PeerSettings(deadline_s=settings.miner_deadline_s, allow_private=settings.is_embedded)
    chain = Chain(chain_settings, wallet=wallet, substrate_factory=substrate)
    try:
        async with Peers(wallet.hotkey, peer_settings) as peers:
            yield Edges(
                chain=chain,
                peers=peers,
                shell=Shell(ShellSettings(is_public_only=not settings.is_embedded)),
                engine=engine,
                history=settings.history,
                own_hotkey=wallet.hotkey.ss58_address,
                is_embedded=settings.is_embedded,
                deposit_address=settings.deposit_address,
                leases=partial(running_leases, engine),
                market=HttpMarket(SOURCES[name] for name in settings.price_sources),
                book=load_book(settings.price_file),
                executors_per_shard=settings.executors_per_shard,
                max_sessions=settings.max_sessions,
                max_open=settings.max_open,
                roster=roster_of(settings),
                most_hands=most_hands(settings),
            )
    finally:
        chain.close()
        engine.dispose()


def roster_of(settings: Settings) -> Callable[[], Roster]:
    """Where an epoch's hands come from."""
    if settings.crew == "threads":
        return Threads
    if settings.crew == "processes":
        return partial(Processes, settings.hand_mib << 20)
    from tasks.crew.clusters import Cluster, Hired  # noqa: PLC0415  Prefect's task machinery, for who has a cluster

    cluster = Cluster(settings.crew, settings.cluster, settings.crew_host)
    return partial(Hired, cluster, most_hands(settings))


def most_hands(settings: Settings) -> int:
    """How many of them at once; threads share one core, however many they are."""
    if settings.crew == "threads":
        return 1
    return settings.hands or len(os.sched_getaffinity(0))


def load_wallet(settings: Settings) -> HotkeyWallet:
    """The validator's keys that the settings name, opened with their password where they have one."""
    return load_hotkey(
        settings.wallet_path, settings.wallet_name, settings.wallet_hotkey, _password(settings)
    )


def _password(settings: Settings) -> str | None:
    if settings.wallet_password_file is None:
        return None
    try:
        return settings.wallet_password_file.read_text(encoding="utf-8").removesuffix("\n")
    except (OSError, UnicodeDecodeError) as error:
        key, file = "SUBNET_WALLET_PASSWORD_FILE", str(settings.wallet_password_file)
        raise SettingError(key, file, f"a file that can be read ({error})") from None


def _allow_sessions() -> None:
    """As many open files as the system lets us have: every machine of a wave holds a socket."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
