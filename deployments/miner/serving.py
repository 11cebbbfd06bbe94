"""The agent as a process: the door open, the chain followed, the endpoint announced, until SIGTERM or Ctrl-C.

    settings (.env.example) + the miner's file -> hotkey, chain -> door -> a view each minute -> admission

Without a chain it goes on: what was known of the subnet counts for half an hour, and then nobody may enter.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol, cast

from deployments.miner.admission import Admission
from deployments.miner.agent import Door, build_app
from deployments.miner.following import Followed
from deployments.miner.listening import serve
from deployments.miner.tls import Commits, DoorTls, Pinning
from deployments.miner.visits import FILE
from deployments.sites import local_substrate
from flows.edges import load_wallet
from flows.settings import Settings
from storage.records import SubnetView
from tasks.edges.chain import Chain, ChainSettings, Wallet
from tasks.edges.nonces import NonceStore
from tasks.edges.signing import Signer
from tasks.errors import BadAnswer, ChainRefused, SettingError, TransportError
from tasks.offering.config import load_config

VIEW_EVERY_S = 60.0
VIEW_LIVES_S = 1_800.0
"""After which nobody may enter by what was last known of the subnet."""
_log = logging.getLogger("miner.agent")


class SeesChain(Commits, Protocol):
    """`tasks.edges.chain.Chain`, as far as it is needed here."""

    def view(self) -> SubnetView:
        """The subnet at one block."""

    def serve(self, address: str, port: int) -> None:
        """Publish our endpoint unless the chain has it already."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the door is: here, and for validators."""

    host: str
    port: int
    announced: tuple[str, int] | None = None
    """What the chain is to say; None: that is left alone."""
    is_pinned: bool = True
    """Whether it speaks TLS by keys that the hotkey commits."""
    may_replace: bool = False
    """What else the hotkey has committed on the chain."""


def run_agent(path: Path, settings: Settings, place: Place, wallet: Wallet) -> None:
    """Serve until told to stop. SettingError: a user's mistake in file, wallet or address."""
    config = load_config(path)
    admission = Admission(config.min_validator_stake_rao, config.allowed_validators, max_age_s=VIEW_LIVES_S)
    followed = Followed(path, on_change=admission.follow)
    asyncio.run(_run(followed, admission, settings, wallet, place))


def miner_wallet(settings: Settings, config: Path) -> Wallet:
    """The wallet that the settings name; of a local subnet's miner, whose key is on no disk, the one of its file's name."""
    if not settings.is_embedded:
        return load_wallet(settings)
    from deployments.localnet.chain.actors import dev_wallet  # noqa: PLC0415  only a local site pays for it

    return dev_wallet(config.stem)


def named_wallet(
    settings: Settings, wallet_path: Path | None, wallet: str | None, hotkey: str | None
) -> Wallet | None:
    """The wallet on disk that options name, the settings' names beside them; None when they name nothing."""
    if wallet_path is None and wallet is None and hotkey is None:
        return None
    found = replace(
        settings,
        wallet_path=(wallet_path or settings.wallet_path).expanduser(),
        wallet_name=wallet or settings.wallet_name,
        wallet_hotkey=hotkey or settings.wallet_hotkey,
    )
    return load_wallet(found)


async def _run(
    followed: Followed, admission: Admission, settings: Settings, wallet: Wallet, place: Place
) -> None:
    config = followed()
    if config.folder is None:
        raise SettingError("folder", "not set in the agent's file", 'a folder, e.g. "/var/lib/subnet-miner"')
    config.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    chain_settings = ChainSettings(
        settings.network, settings.netuid, settings.chain_deadline_s, cache=settings.cache
    )
    hotkey = cast("Signer", wallet.hotkey)
    with (
        closing(NonceStore(config.folder / FILE)) as nonces,
        closing(Chain(chain_settings, wallet=wallet, substrate_factory=local_substrate(settings))) as chain,
    ):
        door = build_app(followed, hotkey, admission, nonces)
        keys = DoorTls(config.folder / "tls") if place.is_pinned else None
        pinning = Pinning(keys, may_replace=place.may_replace)
        async with serve(door, place.host, place.port, keys.context if keys else None) as port:
            _log.info(
                "%s listens on %s port %d with %d machines",
                hotkey.ss58_address, place.host, port, len(config.executors),
            )  # fmt: skip
            look = partial(look_at_chain, chain, admission, hotkey.ss58_address, place.announced, pinning)
            await _until_told(asyncio.create_task(_follow(look, door)))
            # Before the door's last seconds: a call that waits for the chain would hold the process's end up.
            chain.close()
        _log.info("stopped")


async def _until_told(following: asyncio.Task[None]) -> None:
    """Wait for SIGTERM or Ctrl-C; what following the chain can't survive is raised."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    told = asyncio.create_task(stop.wait())
    done, _ = await asyncio.wait({told, following}, return_when=asyncio.FIRST_COMPLETED)
    for task in (told, following):
        task.cancel()
    if following in done:
        following.result()


async def _follow(look: partial[bool], door: Door) -> None:
    while True:
        await asyncio.to_thread(look)
        await door.flush()
        await asyncio.sleep(VIEW_EVERY_S)


def look_at_chain(
    chain: SeesChain,
    admission: Admission,
    hotkey: str,
    announced: tuple[str, int] | None,
    pinning: Pinning | None = None,
) -> bool:
    """Learn who may enter, see our endpoint published and the door's keys committed; whether all came about. It blocks."""
    try:
        view = chain.view()
        admission.learn(view)
        me = view.by_hotkey(hotkey)
        if me is None:
            _log.warning("%s is not registered on subnet %d: validators don't know it", hotkey, view.netuid)
            return True
        if pinning is not None:
            pinning.follow(chain, hotkey, me.tls_commitment)
        if announced is not None:
            chain.serve(*announced)
    except (TransportError, ChainRefused, BadAnswer) as error:
        _log.warning("the chain: %s", error)
        return False
    except OSError as error:
        _log.warning("the agent's folder: %s", error)
        return False
    return True
