"""`subnet collateral`: the validator's own ledger of what miners have left for their machines."""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from functools import partial
from itertools import groupby
from pathlib import Path

import click
import sqlalchemy as sa
from rich.box import SIMPLE_HEAD
from rich.table import Table

from deployments.localnet.layout import Layout
from deployments.sites import folder_of, load_dotenv, local_substrate
from deployments.view import cell, make_console
from flows.settings import Settings, read_settings
from storage.collateral import Ledger
from storage.convert import row_of
from storage.database import migrate, open_database
from storage.records import CollateralMove, ExecutorRecord
from storage.state import State
from tasks.collateral import account as rules
from tasks.collateral.account import RAO, Account, Decision, account_of, tao
from tasks.collateral.confirming import confirm
from tasks.collateral.cover import needed_rao
from tasks.collateral.keeping import carry_out
from tasks.errors import NotAuthentic, SettingError
from tasks.inspection.models import find
from tasks.policy import CollateralPolicy, preset

EXTRINSIC = re.compile(r"[0-9]{1,12}-[0-9]{1,6}")
EXECUTOR_ID = re.compile(r"[a-z0-9-]{1,64}")
MAX_EVIDENCE_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Desk:
    """What every command works on."""

    engine: sa.Engine
    settings: Settings
    policy: CollateralPolicy
    now: datetime

    def carry_out(
        self,
        executor: str,
        decide: Callable[[Account], CollateralMove],
        again: Callable[[Account], str] = lambda _: "",
        evidence: str = "",
    ) -> tuple[CollateralMove, bool, Account]:
        """The line, whether it was added now, and the account afterwards."""
        ledger = Ledger(self.engine)
        move, is_new = carry_out(ledger, executor, decide, again, evidence)
        return move, is_new, account_of(executor, ledger.moves(executor))


def _options(function: click.decorators.FC) -> click.decorators.FC:
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print one JSON object."),
        click.option("--by", help="Who decides it; the user's name if not given."),
        click.option("--executor", required=True, help="The machine: HOTKEY/NAME."),
    ):
        function = option(function)
    return function


@click.group()
def command() -> None:
    """Show and move machines' collateral in the validator's own ledger, exact to the rao.

    Deposits are free until they are asked back; then they are held through the policy's window, in which the request can
    be denied, and paid after it. A slash takes free and held. Every move is an event of the archive; asked for again, a
    move that was made is told and not made twice.

    \b
    Examples:
      subnet collateral show
      subnet collateral deposit --executor 5GnLMr.../basalt-1 --tao 5.768 --extrinsic 4821330-7
      subnet collateral reclaim --executor 5GnLMr.../basalt-1
      subnet collateral slash --executor 5GnLMr.../basalt-1 --tao 2 --reason "relayed" --evidence verdict.json
    """


@command.command()
@click.option("--executor", help="Only this machine: HOTKEY/NAME; with all of its moves.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def show(*, executor: str | None, as_json: bool) -> None:
    """Show what is free, what is asked back, and what each machine needs.

    \b
    Examples:
      subnet collateral show
      subnet collateral show --executor 5GnLMr.../basalt-1 --json
    """
    key = None if executor is None else _executor(executor)
    with _desk() as desk:
        records = State(desk.engine).load_records()
        moves = Ledger(desk.engine).moves(key)
        accounts = [account_of(k, list(own)) for k, own in groupby(moves, lambda m: m.executor_key)]
        needs = {a.executor_key: _needed(records.get(a.executor_key), desk.policy) for a in accounts}
    if as_json:
        machines = [_account(a) | {"needed_rao": needs[a.executor_key]} for a in accounts]
        shown = {"source": desk.policy.source, "machines": machines}
        if key is not None:
            shown["moves"] = [row_of(move) for move in moves]
        click.echo(json.dumps(shown, indent=2, default=str))
        return
    _show(accounts, needs, moves if key is not None else (), desk.policy)


@command.command()
@_options
@click.option("--tao", "amount", required=True, help="The amount in TAO, with up to nine decimals.")
@click.option(
    "--extrinsic", required=True, help="The transfer on the chain: BLOCK-INDEX. It is credited once."
)
@click.option("--vouch", is_flag=True, help="Take your word for it instead of the chain's.")
def deposit(
    *, executor: str, amount: str, extrinsic: str, vouch: bool, by: str | None, as_json: bool
) -> None:
    """Credit a transfer of the miner's to a machine, once the chain confirms it.

    It must be final, successful, of this amount, to the address that SUBNET_TRUSTEE names, and either carry a remark with
    the machine's HOTKEY/NAME or come from the miner's coldkey. --vouch records it without asking.

    \b
    Examples:
      subnet collateral deposit --executor 5GnLMr.../basalt-1 --tao 5.768 --extrinsic 4821330-7
      subnet collateral deposit --executor 5GnLMr.../basalt-1 --tao 5.768 --extrinsic 4821330-7 --vouch
    """
    key, rao, transfer = _executor(executor), _rao(amount), _extrinsic(extrinsic)
    with _desk() as desk:
        told = "on the operator's word" if vouch else _confirmed(desk.settings, key, rao, transfer)
        why = Decision(desk.now, _who(by), told, transfer)
        wish = partial(rules.deposit, amount_rao=rao, policy=desk.policy, why=why)
        _tell(*desk.carry_out(key, wish, lambda _: rules.deposit_request(transfer)), as_json=as_json)


@command.command()
@_options
@click.option("--tao", "amount", help="How much; all that is free if not given.")
def reclaim(*, executor: str, amount: str | None, by: str | None, as_json: bool) -> None:
    """Ask collateral back for the miner: it is held until the policy's window is over, and covers nothing meanwhile.

    \b
    Examples:
      subnet collateral reclaim --executor 5GnLMr.../basalt-1
    """
    key, rao = _executor(executor), None if amount is None else _rao(amount)
    with _desk() as desk:
        why = Decision(desk.now, _who(by))
        wish = partial(rules.reclaim, amount_rao=rao, policy=desk.policy, why=why)
        _tell(*desk.carry_out(key, wish), as_json=as_json)


@command.command()
@_options
@click.option("--reason", required=True, help="Shown to the miner.")
def deny(*, executor: str, reason: str, by: str | None, as_json: bool) -> None:
    """Deny what is asked back, within the window: it is free again, and can be slashed or asked back later.

    \b
    Examples:
      subnet collateral deny --executor 5GnLMr.../basalt-1 --reason "a renter's claim is open"
    """
    key, told = _executor(executor), _text("--reason", reason)
    with _desk() as desk:
        wish = partial(rules.deny, why=Decision(desk.now, _who(by), told))
        _tell(*desk.carry_out(key, wish, rules.deny_request), as_json=as_json)


@command.command()
@_options
@click.option(
    "--extrinsic", default="", help="The payment on the chain, where it was made already: BLOCK-INDEX."
)
def finalise(*, executor: str, extrinsic: str, by: str | None, as_json: bool) -> None:
    """Close a reclaim whose window is over: what is left of it leaves the ledger. The payment itself is yours to make.

    \b
    Examples:
      subnet collateral finalise --executor 5GnLMr.../basalt-1 --extrinsic 4842930-3
    """
    key, transfer = _executor(executor), _extrinsic(extrinsic) if extrinsic else ""
    with _desk() as desk:
        wish = partial(rules.finalise, why=Decision(desk.now, _who(by), extrinsic_id=transfer))
        _tell(*desk.carry_out(key, wish, rules.finalise_request), as_json=as_json)


@command.command()
@_options
@click.option("--tao", "amount", required=True, help="How much, at most what the machine has.")
@click.option("--reason", required=True, help="Shown to the miner.")
@click.option(
    "--evidence",
    required=True,
    type=click.Path(path_type=Path),
    help="A text file (JSON, a log) that goes into the archive whole; once for each machine.",
)
def slash(*, executor: str, amount: str, reason: str, evidence: Path, by: str | None, as_json: bool) -> None:
    """Take collateral for good, with evidence that anybody can read in the archive.

    \b
    Examples:
      subnet collateral slash --executor 5GnLMr.../basalt-1 --tao 2 --reason "relayed" --evidence verdict.json
    """
    key, rao, told = _executor(executor), _rao(amount), _text("--reason", reason)
    text = _evidence(evidence)
    digest = hashlib.blake2s(text.encode()).hexdigest()
    with _desk() as desk:
        why = Decision(desk.now, _who(by), told)
        wish = partial(rules.slash, amount_rao=rao, evidence_blake2s=digest, why=why)
        _tell(*desk.carry_out(key, wish, lambda _: rules.slash_request(key, digest), text), as_json=as_json)


def _confirmed(settings: Settings, executor: str, amount_rao: int, extrinsic: str) -> str:
    """How the chain confirms the transfer."""
    from tasks.edges.chain import Chain, ChainSettings  # noqa: PLC0415  the SDK takes a second to import

    if not settings.trustee:
        told = "the address that miners send collateral to; or give --vouch"
        raise SettingError("SUBNET_TRUSTEE", "", told)
    chain = Chain(
        ChainSettings(settings.network, settings.netuid, settings.chain_deadline_s, cache=settings.cache),
        substrate_factory=local_substrate(settings),
    )
    try:
        transfer = chain.transfer(extrinsic, settings.trustee)
        miner = None if transfer.remarks else chain.view().by_hotkey(executor.partition("/")[0])
    finally:
        chain.close()
    return confirm(transfer, executor, miner.coldkey if miner else "", amount_rao)


# --- what a user types -----------------------------------------------------------------------------


def _executor(key: str) -> str:
    from tasks.edges.signing import check_hotkey  # noqa: PLC0415  the SDK takes a second to import

    hotkey, _, name = key.partition("/")
    try:
        check_hotkey(hotkey)
    except NotAuthentic as error:
        raise SettingError("--executor", key[:120], f"HOTKEY/NAME: {error.detail}") from None
    if not EXECUTOR_ID.fullmatch(name):
        raise SettingError("--executor", key[:120], "HOTKEY/NAME, the name of a-z, 0-9 and '-'")
    return key


def _rao(amount: str) -> int:
    """TAO as typed to rao, exactly: more than nine decimals are a mistake, not rounded."""
    try:
        typed = Decimal(amount) if re.fullmatch(r"[0-9]{1,8}(\.[0-9]{1,9})?", amount) else None
    except InvalidOperation:
        typed = None
    if typed is None:
        raise SettingError("--tao", amount[:40], "an amount of TAO such as 5.768, with up to nine decimals")
    return int(typed * RAO)


def _extrinsic(text: str) -> str:
    if not EXTRINSIC.fullmatch(text):
        raise SettingError("--extrinsic", text[:40], "BLOCK-INDEX as explorers show it, such as 4821330-7")
    block, index = text.split("-")
    return f"{int(block)}-{int(index)}"


def _text(key: str, value: str) -> str:
    if not 1 <= len(value.strip()) <= 200 or not value.isprintable():
        raise SettingError(key, value[:60], "1 to 200 printable characters")
    return value.strip()


def _who(by: str | None) -> str:
    return _text("--by", by or getpass.getuser())


def _evidence(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            data = opened.read(MAX_EVIDENCE_BYTES + 1)
        text = data.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError("--evidence", str(file), f"a text file that can be read ({error})") from None
    if not text.strip() or len(data) > MAX_EVIDENCE_BYTES or "\0" in text:
        raise SettingError("--evidence", str(file), f"text of 1 to {MAX_EVIDENCE_BYTES} bytes")
    return text


@contextmanager
def _desk() -> Iterator[Desk]:
    load_dotenv()
    settings = read_settings(os.environ)
    if settings.is_embedded:
        settings = Layout(folder_of(os.environ)).settings(os.environ)
    engine = open_database(settings.database_url)
    try:
        migrate(engine)
        yield Desk(engine, settings, preset(settings.policy).collateral, datetime.now(UTC))
    finally:
        engine.dispose()


# --- what a user sees ------------------------------------------------------------------------------


def _needed(record: ExecutorRecord | None, policy: CollateralPolicy) -> int | None:
    """Rao for the machine as it was last listed; None when no epoch has seen it."""
    if record is None or record.model is None:
        return None
    model = find(record.model)
    return needed_rao(model.name if model else record.model, record.card_count or 0, policy)


def _tell(move: CollateralMove, is_new: bool, account: Account, *, as_json: bool) -> None:  # noqa: FBT001  as it comes
    if as_json:
        told = {"is_new": is_new, "move": row_of(move), "account": _account(account)}
        click.echo(json.dumps(told, indent=2, default=str))
        return
    amount = tao(max(abs(move.free_rao + move.held_rao), abs(move.free_rao), abs(move.held_rao)))
    done = f"{move.kind} of {amount} TAO" + (
        "" if is_new else f" stands in the ledger since {move.at:%Y-%m-%d %H:%M} UTC"
    )
    due = f", due {account.due_at:%Y-%m-%d %H:%M} UTC" if account.due_at else ""
    click.echo(
        f"{account.executor_key}: {done}; now {tao(account.free_rao)} TAO free, {tao(account.held_rao)} asked back{due}"
    )


def _account(account: Account) -> dict[str, object]:
    return {
        "executor": account.executor_key,
        "free_rao": account.free_rao,
        "held_rao": account.held_rao,
        "due_at": account.due_at,
        "moves": account.moves,
    }


def _show(
    accounts: list[Account],
    needs: dict[str, int | None],
    moves: tuple[CollateralMove, ...],
    policy: CollateralPolicy,
) -> None:
    console = make_console()
    if not accounts:
        click.echo("nothing is deposited")
    else:
        table = _table("executor", "free TAO", "asked back TAO", "due", "needed TAO")
        for one in accounts:
            need = needs[one.executor_key]
            due = f"{one.due_at:%Y-%m-%d %H:%M}" if one.due_at else ""
            known = "not seen yet" if need is None else tao(need)
            table.add_row(cell(one.executor_key), tao(one.free_rao), tao(one.held_rao), due, known)
        console.print(table)
    if moves:
        table = _table("#", "at", "move", "free", "asked back", "extrinsic", "by", "reason")
        for move in moves:
            changes = (tao(move.free_rao), tao(move.held_rao), move.extrinsic_id)
            words = (cell(move.decided_by), cell(move.reason))
            table.add_row(str(move.number), f"{move.at:%Y-%m-%d %H:%M}", move.kind.value, *changes, *words)
        console.print(table)
    click.echo(f"the policy's source is {policy.source!r}: {_SOURCES[policy.source]}")


_SOURCES = {
    "none": "no collateral is asked for",
    "chain": "a miner's native lock must cover all of its machines; this ledger is not looked at",
    "ledger": "what is free here must cover the machine",
}


def _table(*headings: str) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for heading in headings:
        is_number = heading.endswith("TAO") or heading in ("#", "free", "asked back")
        table.add_column(heading, justify="right" if is_number else "left", no_wrap=heading != "reason")
    return table
