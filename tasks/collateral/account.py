"""A machine's collateral and what may happen to it. Pure: an account and a wish become a move, or a refusal.

wallet --deposit--> free --reclaim--> held --finalise (after the window)--> wallet
                     ^                 |
                     +------deny-------+            slash: free first, then held, to nobody
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from storage.records import CollateralMove, MoveKind
from tasks.errors import CollateralRefused
from tasks.policy import CollateralPolicy

RAO = 1_000_000_000
MAX_RAO = 21_000_000 * RAO
"""All TAO that there will ever be."""


@dataclass(frozen=True, slots=True)
class Account:
    """Where a machine's collateral stands after so many moves."""

    executor_key: str
    moves: int = 0
    free_rao: int = 0
    held_rao: int = 0
    """Asked back; 0 when nothing is."""
    due_at: datetime | None = None
    """When the window of what is held ends."""
    reclaim: str = ""
    """The last request that asked some back, whatever became of it."""

    @property
    def total_rao(self) -> int:
        """What can be slashed."""
        return self.free_rao + self.held_rao


@dataclass(frozen=True, slots=True)
class Decision:
    """Who wants a move, when and why."""

    at: datetime
    decided_by: str
    reason: str = ""
    extrinsic_id: str = ""


def account_of(executor_key: str, moves: Iterable[CollateralMove]) -> Account:
    """The machine's account: the sums of its moves, in their order."""
    account = Account(executor_key)
    for move in moves:
        account = _after(account, move)
    return account


def _after(account: Account, move: CollateralMove) -> Account:
    held_rao = account.held_rao + move.held_rao
    is_new = move.kind is MoveKind.RECLAIM
    return Account(
        executor_key=account.executor_key,
        moves=move.number,
        free_rao=account.free_rao + move.free_rao,
        held_rao=held_rao,
        due_at=(move.due_at if is_new else account.due_at) if held_rao else None,
        reclaim=move.request if is_new else account.reclaim,
    )


def deposit(account: Account, amount_rao: int, policy: CollateralPolicy, why: Decision) -> CollateralMove:
    """A transfer on the chain, once each: the extrinsic is the request."""
    if not policy.min_deposit_rao <= amount_rao <= MAX_RAO:
        least = tao(policy.min_deposit_rao)
        raise CollateralRefused(f"a deposit of {tao(amount_rao)} TAO: expected {least} to 21000000")
    if account.total_rao + amount_rao > MAX_RAO:
        raise CollateralRefused(f"{account.executor_key} would have more than all TAO that there is")
    return _move(account, deposit_request(why.extrinsic_id), MoveKind.DEPOSIT, why, free_rao=amount_rao)


def reclaim(
    account: Account, amount_rao: int | None, policy: CollateralPolicy, why: Decision
) -> CollateralMove:
    """Ask some of what is free back, or all: it no longer covers the machine, and the window begins."""
    amount_rao = account.free_rao if amount_rao is None else amount_rao
    if account.held_rao:
        raise CollateralRefused(
            f"{tao(account.held_rao)} TAO of {account.executor_key} are asked back already, due {account.due_at:%Y-%m-%d %H:%M} UTC"
        )
    if not 0 < amount_rao <= account.free_rao:
        raise CollateralRefused(
            f"{tao(amount_rao)} TAO asked back of {account.executor_key}: {tao(account.free_rao)} are free"
        )
    request = f"reclaim:{account.executor_key}#{account.moves + 1}"
    due_at = why.at + timedelta(seconds=policy.reclaim_window_s)
    return _move(
        account, request, MoveKind.RECLAIM, why, free_rao=-amount_rao, held_rao=amount_rao, due_at=due_at
    )


def deny(account: Account, why: Decision) -> CollateralMove:
    """Put what is held back to free, while its window is open."""
    _check_held(account)
    if account.due_at is not None and why.at >= account.due_at:
        raise CollateralRefused(
            f"the window of {account.executor_key} ended {account.due_at:%Y-%m-%d %H:%M} UTC: it can't be denied any more"
        )
    held = account.held_rao
    return _move(account, deny_request(account), MoveKind.DENY, why, free_rao=held, held_rao=-held)


def finalise(account: Account, why: Decision) -> CollateralMove:
    """What is left of what was held leaves the ledger, once its window is over."""
    _check_held(account)
    if account.due_at is not None and why.at < account.due_at:
        raise CollateralRefused(
            f"the window of {account.executor_key} ends {account.due_at:%Y-%m-%d %H:%M} UTC: until then it can be denied"
        )
    return _move(account, finalise_request(account), MoveKind.FINALISE, why, held_rao=-account.held_rao)


def slash(account: Account, amount_rao: int, evidence_blake2s: str, why: Decision) -> CollateralMove:
    """Take it, from what is free first: a machine is slashed once for the same evidence."""
    if not 0 < amount_rao <= account.total_rao:
        raise CollateralRefused(
            f"{tao(amount_rao)} TAO to be slashed of {account.executor_key}: it has {tao(account.total_rao)}"
        )
    from_free = min(amount_rao, account.free_rao)
    return _move(
        account,
        slash_request(account.executor_key, evidence_blake2s),
        MoveKind.SLASH,
        why,
        free_rao=-from_free,
        held_rao=from_free - amount_rao,
        evidence_blake2s=evidence_blake2s,
    )


def deposit_request(extrinsic_id: str) -> str:
    """The name of a deposit: a transfer is credited once, to one machine."""
    return f"deposit:{extrinsic_id}"


def deny_request(account: Account) -> str:
    """The name of a denial: a reclaim is denied once."""
    return f"deny:{account.reclaim}"


def finalise_request(account: Account) -> str:
    """The name of a payment: a reclaim is paid once."""
    return f"finalise:{account.reclaim}"


def slash_request(executor_key: str, evidence_blake2s: str) -> str:
    """The name of a slash: machine and evidence."""
    return f"slash:{executor_key}:{evidence_blake2s}"


def tao(amount_rao: int) -> str:
    """Rao as TAO, exactly: 5768000000 is 5.768."""
    whole, part = divmod(abs(amount_rao), RAO)
    text = f"{whole}.{part:09d}".rstrip("0").rstrip(".")
    return f"-{text}" if amount_rao < 0 else text


def _check_held(account: Account) -> None:
    if not account.held_rao:
        raise CollateralRefused(f"nothing of {account.executor_key} is asked back")


def _move(
    account: Account,
    request: str,
    kind: MoveKind,
    why: Decision,
    *,
    free_rao: int = 0,
    held_rao: int = 0,
    due_at: datetime | None = None,
    evidence_blake2s: str = "",
) -> CollateralMove:
    return CollateralMove(
        executor_key=account.executor_key,
        number=account.moves + 1,
        request=request,
        kind=kind,
        at=why.at,
        free_rao=free_rao,
        held_rao=held_rao,
        due_at=due_at,
        extrinsic_id=why.extrinsic_id,
        decided_by=why.decided_by,
        reason=why.reason,
        evidence_blake2s=evidence_blake2s,
    )
