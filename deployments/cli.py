"""The command line of all roles: `subnet COMMAND`.

Commands are imported only when they are called, so that `subnet --help` stays quick. Exit codes: 0 done, 1 our own
trouble or an epoch that could not do its work, 2 a user's mistake, 130 stopped by Ctrl-C. `subnet rent` has further
ones (docs/renting.md).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from types import MappingProxyType

import click

from deployments.lazy import lazy_group
from storage.errors import StorageError
from tasks.errors import SubnetError

COMMANDS: Mapping[str, str] = MappingProxyType(
    {
        "epoch": "Run one validation epoch and show what it found.",
        "up": "Keep the whole local system up, with an epoch every few minutes.",
        "down": "Stop what `subnet up` has started.",
        "show": "Show an archived epoch again: machines, reasons, weights.",
        "deploy": "Make pools, deployments and automations on a real network's Prefect server.",
        "automations": "Say who is told when something is wrong.",
        "ban": "Ban miners and cards, or end a ban.",
        "policy": "Show a policy's values.",
        "prices": "Show the market's prices with their sources and age, or ask anew.",
        "collateral": "Show machines' collateral; deposit, reclaim, deny, finalise, slash.",
        "history": "Read the archive: verify, replay, compare, query, fold.",
        "state": "Copy the state, put a copy back, change the key of its secrets.",
        "miner": "For miners: keys and registration, the agent, its visits, scores, swaps of cards, estimates of pay.",
        "rent": "Rent GPUs: find, rent, reach, stop and end machines; money and keys.",
        "market": "For operators: renters, their keys and credits, blocked images, the books.",
        "report": "Make a page with pictures of a day of the network.",
        "metrics": "Answer Prometheus: epochs, reasons, weights, leases, money.",
        "economics": "Show what each known cheat would earn against honest work.",
    }
)
"""Name and one line of help; each lives in `deployments/commands/<name>.py` as `command`."""


@click.group(
    cls=lazy_group("deployments.commands", COMMANDS), context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(package_name="compute-subnet", prog_name="subnet")
def subnet() -> None:
    """Validate a decentralised GPU rental market on Bittensor.

    Without any configuration every command works on the local subnet: a chain, miners and machines on this
    computer, cheats included. For a real network copy .env.example to .env.

    \b
    Examples:
      subnet epoch              one validation epoch, with a table of what it found
      subnet epoch --json       the same for programs
      subnet show --epoch 31    an earlier epoch from the archive
      subnet up                 keep everything running, with the Prefect UI
    """


def main() -> None:
    """Run the command line; every error of ours, and of a file or a disk, becomes one clear sentence and an exit code."""
    _keep_caches()
    try:
        _sign_in()
        code = subnet.main(standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if _is_interrupted(error):
            sys.exit(130)
        if not isinstance(error, SubnetError | StorageError | OSError):
            raise
        click.echo(f"Error: {error}", err=True)
        sys.exit(error.exit_code if isinstance(error, SubnetError) else 1)
    sys.exit(code if isinstance(code, int) else 0)


def _is_interrupted(error: BaseException) -> bool:
    """Whether it came up while a Ctrl-C was being cleaned up after."""
    before: BaseException | None = error
    while before is not None:
        if isinstance(before, KeyboardInterrupt):
            return True
        before = before.__cause__ or before.__context__
    return False


def _sign_in() -> None:
    """The credential of our Prefect server has to be in the environment before Prefect is imported."""
    if os.environ.get("PREFECT_API_URL"):
        import deployments.signed_in  # noqa: PLC0415, F401  not on the way to --help


def _keep_caches() -> None:
    """Numba and Prefect leave their files in our folder, not in the user's home."""
    repository = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    folder = os.path.abspath(os.environ.get("SUBNET_FOLDER") or f"{repository}/.local")
    os.environ.setdefault("NUMBA_CACHE_DIR", f"{folder}/numba")
    os.environ.setdefault("PREFECT_HOME", f"{folder}/prefect")
