"""Where everything of a local system lies: one folder, `.local` in the repository unless SUBNET_FOLDER says otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from flows.policies import SUFFIX
from flows.settings import Settings, read_settings

DEPOSIT_ADDRESS = "5DCqtu6ZXFG4JmpqH83UabQWVmipQBeNcNoo1HNHGWXddPH3"
"""Where renters of the local subnet send TAO to: the coldkey of `dev_wallet("platform")`."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths under one folder."""

    folder: Path

    @property
    def subnet(self) -> Path:
        """Chain, wallets, homes and cards of the local subnet."""
        return self.folder / "localnet"

    @property
    def chain(self) -> Path:
        """The embedded chain's file."""
        return self.subnet / "chain.sqlite"

    @property
    def run(self) -> Path:
        """What tells of running processes: locks, addresses, results."""
        return self.folder / "run"

    @property
    def logs(self) -> Path:
        """One file a process."""
        return self.folder / "logs"

    def settings(self, environment: Mapping[str, str]) -> Settings:
        """The validator's settings on the local subnet: everything under this folder, but a PostgreSQL or S3 that was asked for."""
        given = read_settings(environment)
        database_url = given.database_url
        if database_url.startswith("sqlite"):
            database_url = f"sqlite:///{self.folder / 'validator.sqlite'}"
        return replace(
            given,
            network="embedded",
            wallet_path=self.subnet / "wallets",
            wallet_name="validator",
            wallet_hotkey="default",
            # A file of one's own may change what is in shadow; presets for real cards mean nothing here.
            policy=given.policy if given.policy.endswith(SUFFIX) else "localnet",
            database_url=database_url,
            history=self.folder / "history"
            if isinstance(given.history, Path)
            else given.history.locked_by(database_url),
            cache=self.folder / "cache",
            secrets_key=self.folder / "secrets.key",
            backups=self.folder / "backups",
            price_sources=(),
            deposit_address=DEPOSIT_ADDRESS,
        )
