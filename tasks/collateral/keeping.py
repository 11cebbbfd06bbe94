"""Carrying a wish out: read the account, decide, add the line by compare-and-set; asked again, nothing moves twice."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from types import MappingProxyType

from storage.collateral import Ledger
from storage.convert import row_of
from storage.records import CollateralMove, Event, MoveKind
from tasks.collateral.account import Account, account_of, tao
from tasks.errors import CollateralRefused, StoreAway

TRIES = 20
EVENTS: Mapping[MoveKind, str] = MappingProxyType(
    {
        MoveKind.DEPOSIT: "COLLATERAL_DEPOSITED",
        MoveKind.RECLAIM: "COLLATERAL_ASKED_BACK",
        MoveKind.DENY: "COLLATERAL_DENIED",
        MoveKind.FINALISE: "COLLATERAL_PAID_BACK",
        MoveKind.SLASH: "COLLATERAL_SLASHED",
    }
)


def carry_out(
    ledger: Ledger,
    executor_key: str,
    decide: Callable[[Account], CollateralMove],
    again: Callable[[Account], str] = lambda _: "",
    evidence: str = "",
) -> tuple[CollateralMove, bool]:
    """The line that stands in the ledger for this wish, and whether it was added now; CollateralRefused when it may not be.

    `again` names the request that would be refused because it was granted before: then that line is given back.
    """
    for _ in range(TRIES):
        account = account_of(executor_key, ledger.moves(executor_key))
        try:
            move = decide(account)
        except CollateralRefused:
            earlier = ledger.of_request(again(account))
            if earlier is None or earlier.executor_key != executor_key:
                raise
            return earlier, False
        if ledger.add(move, event_of(move, evidence)):
            return move, True
        earlier = ledger.of_request(move.request)
        if earlier is not None:
            return same_or_refused(earlier, move), False
    raise StoreAway(f"others keep moving the collateral of {executor_key}: try again")


def same_or_refused(earlier: CollateralMove, wished: CollateralMove) -> CollateralMove:
    """The earlier line, if it is what is wished for again."""

    def told(move: CollateralMove) -> str:
        return f"{tao(move.free_rao + move.held_rao)} TAO, {move.executor_key}"

    if (earlier.executor_key, earlier.free_rao + earlier.held_rao) != (
        wished.executor_key,
        wished.free_rao + wished.held_rao,
    ):
        raise CollateralRefused(
            f"{wished.request} stands in the ledger with something else: {told(earlier)}; wished was {told(wished)}"
        )
    return earlier


def event_of(move: CollateralMove, evidence: str) -> Event:
    """What the archive tells of a move; the evidence of a slash goes with it."""
    amount = tao(max(abs(move.free_rao), abs(move.held_rao), abs(move.free_rao + move.held_rao)))
    reason = f": {move.reason}" if move.reason else ""
    statement = {name: value for name, value in row_of(move).items() if value not in ("", None)}
    if evidence:
        statement["evidence"] = evidence
    return Event(
        at=move.at,
        kind=EVENTS[move.kind],
        subject=move.executor_key,
        message=f"{amount} TAO, by {move.decided_by}{reason}",
        statement=json.dumps(statement, sort_keys=True, default=str),
    )
