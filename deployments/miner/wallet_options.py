"""Which wallet a miner's command means: that of the settings, or another one by options; and its secrets, never typed as arguments."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from deployments.histories import own_settings
from flows.settings import Settings
from tasks.errors import SettingError

MAX_SECRET_BYTES = 4_096


@dataclass(frozen=True, slots=True)
class WalletPlace:
    """A wallet's folder and the names in it."""

    settings: Settings
    path: Path
    name: str
    hotkey: str

    @property
    def chosen(self) -> Settings:
        """The settings with this wallet in the place of theirs."""
        return replace(self.settings, wallet_path=self.path, wallet_name=self.name, wallet_hotkey=self.hotkey)


def wallet_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--wallet-path`, `--wallet` and `--hotkey`; `wallet_place` takes them as they come."""
    for option, about in (
        ("--hotkey", "Name of the hotkey in it; SUBNET_WALLET_HOTKEY if not given."),
        ("--wallet", "Name of the wallet; SUBNET_WALLET_NAME if not given."),
    ):
        command = click.option(option, help=about)(command)
    folder = click.Path(path_type=Path, file_okay=False)
    return click.option("--wallet-path", type=folder, help="Folder of wallets; SUBNET_WALLET_PATH.")(command)


def wallet_place(wallet_path: Path | None, wallet: str | None, hotkey: str | None) -> WalletPlace:
    """The wallet that options and settings name together."""
    settings = own_settings()
    path = (wallet_path or settings.wallet_path).expanduser()
    return WalletPlace(settings, path, wallet or settings.wallet_name, hotkey or settings.wallet_hotkey)


def secret_of(file: Path | None, prompt: str, option: str) -> str:
    """A secret from a file, from a pipe, or typed without being shown; never an argument, never the environment."""
    if file is not None:
        try:
            with file.open("rb") as opened:
                data = opened.read(MAX_SECRET_BYTES + 1)
        except OSError as error:
            raise SettingError(option, str(file), f"a file that can be read ({error.strerror})") from None
    elif sys.stdin.isatty():
        return str(click.prompt(prompt, hide_input=True))
    else:
        data = sys.stdin.buffer.read(MAX_SECRET_BYTES + 1)
    try:
        text = data.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        text = ""
    if not text or len(data) > MAX_SECRET_BYTES:
        raise SettingError(
            option, "(not shown)", f"text of 1 to {MAX_SECRET_BYTES} bytes, in a file or by standard input"
        )
    return text
