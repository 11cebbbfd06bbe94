"""Opening the outside worlds of a validator from its settings; whoever starts a role may pass an embedded chain in."""

from __future__ import annotations

import resource
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from flows.settings import Settings
from storage.database import migrate, open_database
from tasks.edges.chain import Chain, ChainSettings, HotkeyWallet, load_hotkey
from tasks.edges.peers import Peers, PeerSettings
from tasks.edges.prices import HttpMarket, load_book
from tasks.edges.shell import Shell, ShellSettings
from tasks.epoch import Edges
from tasks.errors import SettingError
from tasks.pricing.sources import SOURCES


@asynccontextmanager
async def open_edges(
    settings: Settings, substrate: Callable[[], object] | None = None
) -> AsyncIterator[Edges]:
    """All edges, closed at the end of the block; `substrate` makes the embedded chain's, once per process."""
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
                market=HttpMarket(SOURCES[name] for name in settings.price_sources),
                book=load_book(settings.price_file),
                executors_per_shard=settings.executors_per_shard,
                max_sessions=settings.max_sessions,
            )
    finally:
        chain.close()
        engine.dispose()


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
