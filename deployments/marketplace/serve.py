"""The marketplace as a process: the API on one address, the starter of flows and the webhooks beside it.

    python -m deployments.marketplace.serve --port 8051

Its settings come from the environment (.env.example), as those of the flows do; where SUBNET_NETWORK is `embedded` it serves
the local subnet in SUBNET_FOLDER. It binds to loopback unless --host says otherwise: put TLS before it (docs/market.md).
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

import deployments.signed_in  # noqa: F401  before Prefect

# isort: split
import uvicorn

from deployments.marketplace.app import build_app
from deployments.marketplace.chain_asking import ask_chain
from deployments.marketplace.delivering import delivering
from deployments.marketplace.drawn import charts_of
from deployments.marketplace.front import App
from deployments.marketplace.machines import MachineConsoles
from deployments.marketplace.market import DepositInfo, Market
from deployments.marketplace.prefect_asking import ask_prefect
from deployments.marketplace.starter import Starting, with_prefect
from deployments.sites import load_dotenv, local_substrate, site_settings
from flows.edges import load_wallet
from flows.market import open_market
from flows.policies import named_policy
from flows.settings import Settings
from storage.database import migrate, open_database
from storage.errors import StorageError
from storage.sealing import Sealer
from tasks.edges.signing import check_hotkey
from tasks.errors import NotAuthentic, SettingError, SubnetError
from tasks.renting.offering import Offering

HEADER_BYTES = 32 * 1024
KEEP_ALIVE_S, STOP_S = 15, 5


def app_of(settings: Settings, substrate: Callable[[], object] | None, own_hotkey: str) -> App:
    """The application over the outside worlds that the settings name; the validator's own hotkey is an operator's."""
    engine = open_database(settings.database_url)
    migrate(engine)
    policy, sealer = named_policy(settings.policy), Sealer.of(settings.secrets_key)
    offering = Offering(engine, policy)
    starting, consoles = Starting(), MachineConsoles(partial(open_market, settings, substrate))
    market = Market(
        engine=engine,
        sealer=sealer,
        digest_key=sealer.derived("digests of requests"),
        offers=lambda: offering.offers(datetime.now(UTC)),
        consoles=consoles,
        starter=starting,
        charts=partial(charts_of, settings.history),
        chain_rows=partial(ask_chain, settings, substrate),
        orchestration=ask_prefect,
        policy=policy,
        deposit=DepositInfo(settings.deposit_address, settings.network),
        backups=settings.backups,
        is_local=settings.is_embedded,
        origins=settings.market_origins,
        trusted_proxies=settings.trusted_proxies,
        is_sign_up_open=settings.is_sign_up_open,
        operators=frozenset({own_hotkey, *_operators(settings)}),
    )
    return build_app(market, (consoles.opened, lambda desk: with_prefect(desk, starting), delivering))


def _operators(settings: Settings) -> tuple[str, ...]:
    """Those of the settings; SettingError for an address that is none, which would let nobody in and say nothing."""
    for address in settings.operators:
        try:
            check_hotkey(address)
        except NotAuthentic as error:
            raise SettingError("SUBNET_OPERATORS", address, f"addresses of hotkeys ({error})") from None
    return settings.operators


def serve(settings: Settings, host: str, port: int) -> None:
    """Until SIGTERM or Ctrl-C; a wallet that is not there is told before anything is opened."""
    own_hotkey = load_wallet(settings).hotkey.ss58_address
    uvicorn.run(
        app_of(settings, local_substrate(settings), own_hotkey),
        host=host,
        port=port,
        log_level="warning",
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,  # `proxies.py` reads them, and whose they are
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=STOP_S,
        h11_max_incomplete_event_size=HEADER_BYTES,
    )


def parser_of() -> argparse.ArgumentParser:
    """The words of its command line."""
    parser = argparse.ArgumentParser(
        prog="python -m deployments.marketplace.serve",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen at (127.0.0.1)")
    parser.add_argument("--port", type=int, default=8051, help="the port (8051)")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Serve; the exit code."""
    asked = parser_of().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        load_dotenv()
        serve(site_settings(), asked.host, asked.port)
    except (SubnetError, StorageError) as error:
        sys.stderr.write(f"Error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
