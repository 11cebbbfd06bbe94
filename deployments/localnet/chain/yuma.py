"""Yuma consensus, versions 2 and 3, as a pure function in integers.

A validator i with stake s_i gives miner j the share w_ij of its row. With kappa = 1/2:

    consensus_j = the greatest w that validators holding more than 1 - kappa of the stake reach
    clipped_ij  = min(w_ij, consensus_j)
    rank_j      = sum_i s_i clipped_ij          incentive = rank / sum(rank)
    v2: bond_ij = 0.1 col(clipped s)_ij + 0.9 bond_ij,  columns sum to 1
        dividends_i = sum_j bond_ij incentive_j, normalised
    v3: bond_ij = 0.1 clipped_ij + 0.9 bond_ij, a share of 1 each
        dividends_i = s_i sum_j col(bond)_ij incentive_j, normalised

The arithmetic is the pallet's: I32F32, here an int scaled by 2**32, rounding down at each product
and quotient; stake is normalised with 64 fractional bits; what is stored is a u16, truncated.
Version 2 is bit-exact with a real runtime (the vectors in tests/deployments/localnet/test_yuma.py);
version 3 follows the pallet's description.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

BITS = 32
ONE = 1 << BITS
U16_MAX = 65_535

Row = Mapping[int, int]
"""A sparse row: column -> value, zeros left out."""


@dataclass(frozen=True, slots=True)
class Subnet:
    """What an epoch reads of a subnet; every sequence has one entry a uid."""

    stake: Sequence[int]
    """Rao that counts for consensus, zero below the threshold."""
    has_permit: Sequence[bool]
    is_active: Sequence[bool]
    last_update: Sequence[int]
    """Block of the last weights."""
    registered_at: Sequence[int]
    weights: Sequence[Row]
    """u16, as set."""
    bonds: Sequence[Row]
    """u16, as the last epoch stored them."""
    last_epoch_block: int
    owner_uid: int | None = None
    max_validators: int = 64
    kappa: int = 32_767
    """u16 share."""
    bonds_moving_average: int = 900_000
    """Parts of a million that the old bonds keep."""
    bonds_penalty: int = U16_MAX
    """u16 share: how far bonds follow the clipped weights instead of the plain ones."""


@dataclass(frozen=True, slots=True)
class Consensus:
    """What an epoch decides: u16 columns as stored, and the two that pay, at full precision."""

    has_permit: tuple[bool, ...]
    consensus: tuple[int, ...]
    rank: tuple[int, ...]
    trust: tuple[int, ...]
    validator_trust: tuple[int, ...]
    incentive: tuple[int, ...]
    dividends: tuple[int, ...]
    bonds: tuple[dict[int, int], ...]
    stake_share: tuple[int, ...]
    """Scaled by 2**32: active stake, or all stake when nobody is active."""
    incentive_share: tuple[int, ...]
    """Scaled by 2**32."""
    dividend_share: tuple[int, ...]
    """Scaled by 2**32."""


def run_epoch(subnet: Subnet, version: int) -> Consensus:
    """Consensus, incentive, dividends and bonds of one epoch; `version` is 2 or 3."""
    if version not in (2, 3):
        raise ValueError(f"Yuma has the versions 2 and 3, not {version}")
    stake = _stake_shares(subnet.stake)
    active = _active_stake(stake, subnet)
    weights = _row_normalised(_counted_weights(subnet))
    kappa = _div(subnet.kappa, U16_MAX)
    consensus = [_stake_quantile(active, column, ONE - kappa) for column in _columns(weights)]
    clipped = _clipped(weights, consensus)
    ranks = _weighted_sum(clipped, active)
    preranks = _weighted_sum(weights, active)
    incentive = _normalised(ranks)
    bonded = _between(weights, clipped, _div(subnet.bonds_penalty, U16_MAX))
    bonds, dividends = (_bonds_v2 if version == 2 else _bonds_v3)(subnet, bonded, active, incentive)
    permits = _top(stake, subnet)
    return Consensus(
        has_permit=permits,
        consensus=_to_u16(consensus),
        rank=_to_u16(incentive),
        trust=_to_u16(_div(r, p) if p else 0 for r, p in zip(ranks, preranks, strict=True)),
        validator_trust=_to_u16(sum(row.values()) for row in clipped),
        incentive=_to_u16(incentive),
        dividends=_to_u16(dividends),
        bonds=tuple(row if keeps else {} for row, keeps in zip(bonds, permits, strict=True)),
        stake_share=tuple(active if any(active) else stake),
        incentive_share=tuple(incentive),
        dividend_share=tuple(dividends),
    )


# --- stake and permits -----------------------------------------------------------------------------


def _stake_shares(stake: Sequence[int]) -> list[int]:
    """Shares of 1, through 64 fractional bits as the pallet does."""
    total = sum(stake)
    return [((s << 64) // total) >> BITS if total else 0 for s in stake]


def _active_stake(stake: Sequence[int], subnet: Subnet) -> list[int]:
    counted = zip(stake, subnet.is_active, subnet.has_permit, strict=True)
    return _normalised([s if active and permit else 0 for s, active, permit in counted])


def _top(stake: Sequence[int], subnet: Subnet) -> tuple[bool, ...]:
    """New permits: the greatest non-zero stakes, the lower uid first among equals; the owner always."""
    ranked = sorted((uid for uid, s in enumerate(stake) if s), key=lambda uid: (-stake[uid], uid))
    chosen = set(ranked[: subnet.max_validators])
    return tuple(uid in chosen or uid == subnet.owner_uid for uid in range(len(stake)))


# --- weights and consensus -------------------------------------------------------------------------


def _counted_weights(subnet: Subnet) -> list[dict[int, int]]:
    """Rows of permitted validators, without self-weight (but the owner's) and stale targets."""
    return [
        {
            j: value << BITS
            for j, value in row.items()
            if value and (i != j or i == subnet.owner_uid) and subnet.last_update[i] > subnet.registered_at[j]
        }
        if subnet.has_permit[i]
        else {}
        for i, row in enumerate(subnet.weights)
    ]


def _stake_quantile(stake: Sequence[int], scores: Sequence[int], minority: int) -> int:
    """The least score at which the stake of those who score no more exceeds the minority."""
    holders = sorted((score, s) for score, s in zip(scores, stake, strict=True) if s)
    total = sum(s for _, s in holders)
    below = 0
    for score, s in holders:
        below += _div(s, total)
        if below > minority:
            return score
    return holders[-1][0] if holders else 0


def _clipped(weights: Sequence[Row], consensus: Sequence[int]) -> list[dict[int, int]]:
    return [{j: min(v, consensus[j]) for j, v in row.items() if consensus[j]} for row in weights]


def _between(weights: Sequence[Row], clipped: Sequence[Row], share: int) -> list[dict[int, int]]:
    """Weights moved towards the clipped ones by the share."""
    if share == ONE:
        return [dict(row) for row in clipped]
    return [
        {j: v + (((low.get(j, 0) - v) * share) >> BITS) for j, v in row.items()}
        for row, low in zip(weights, clipped, strict=True)
    ]


# --- bonds and dividends ---------------------------------------------------------------------------


def _bonds_v2(
    subnet: Subnet, bonded: Sequence[Row], active: Sequence[int], incentive: Sequence[int]
) -> tuple[list[dict[int, int]], list[int]]:
    """Bonds from stake times weight, columns normalised; stored upscaled to the column's greatest."""
    size = len(active)
    old = _col_normalised([{j: v << BITS for j, v in row.items()} for row in _kept_bonds(subnet)], size)
    bought = [{j: _mul(v, active[i]) for j, v in row.items()} for i, row in enumerate(bonded)]
    bonds = _col_normalised(_moved(_col_normalised(bought, size), old, subnet), size)
    dividends = _normalised([sum(_mul(v, incentive[j]) for j, v in row.items()) for row in bonds])
    top = [max(column, default=0) for column in _columns(bonds)]
    upscaled = ({j: _div(v, top[j]) for j, v in row.items() if top[j]} for row in bonds)
    return [_row_to_u16(row) for row in upscaled], dividends


def _bonds_v3(
    subnet: Subnet, bonded: Sequence[Row], active: Sequence[int], incentive: Sequence[int]
) -> tuple[list[dict[int, int]], list[int]]:
    """Bonds from the weights themselves; stake enters when dividends are paid."""
    old = [{j: _div(v, U16_MAX) for j, v in row.items()} for row in _kept_bonds(subnet)]
    bonds = _moved(bonded, old, subnet)
    shares = _col_normalised(bonds, len(active))
    earned = [sum(_mul(v, incentive[j]) for j, v in row.items()) for row in shares]
    dividends = _normalised([_mul(e, s) for e, s in zip(earned, active, strict=True)])
    return [_row_to_u16(row) for row in bonds], dividends


def _kept_bonds(subnet: Subnet) -> list[dict[int, int]]:
    """Bonds without those to neurons that registered since the last epoch."""
    fresh = {uid for uid, block in enumerate(subnet.registered_at) if block >= subnet.last_epoch_block}
    return [{j: v for j, v in row.items() if v and j not in fresh} for row in subnet.bonds]


def _moved(new: Sequence[Row], old: Sequence[Row], subnet: Subnet) -> list[dict[int, int]]:
    """The moving average of bonds."""
    step = ONE - (((subnet.bonds_moving_average << 64) // 1_000_000) >> BITS)
    rows: list[dict[int, int]] = []
    for fresh, kept in zip(new, old, strict=True):
        row = {j: _mul(step, fresh.get(j, 0)) + _mul(ONE - step, kept.get(j, 0)) for j in {**fresh, **kept}}
        rows.append({j: v for j, v in sorted(row.items()) if v})
    return rows


# --- fixed point -----------------------------------------------------------------------------------


def _mul(a: int, b: int) -> int:
    return a * b >> BITS


def _div(a: int, b: int) -> int:
    return (a << BITS) // b


def _normalised(values: Sequence[int]) -> list[int]:
    total = sum(values)
    return [_div(v, total) if total else 0 for v in values]


def _row_normalised(rows: Iterable[Row]) -> list[dict[int, int]]:
    return [_row_shares(row) for row in rows]


def _row_shares(row: Row) -> dict[int, int]:
    total = sum(row.values())
    return {j: _div(v, total) for j, v in row.items()}


def _col_normalised(rows: Sequence[Row], size: int) -> list[dict[int, int]]:
    totals = [0] * size
    for row in rows:
        for j, v in row.items():
            totals[j] += v
    return [{j: _div(v, totals[j]) for j, v in row.items() if totals[j]} for row in rows]


def _columns(rows: Sequence[Row]) -> list[list[int]]:
    """Dense columns of a square sparse matrix."""
    columns = [[0] * len(rows) for _ in rows]
    for i, row in enumerate(rows):
        for j, v in row.items():
            columns[j][i] = v
    return columns


def _weighted_sum(rows: Sequence[Row], stake: Sequence[int]) -> list[int]:
    totals = [0] * len(rows)
    for row, s in zip(rows, stake, strict=True):
        for j, v in row.items():
            totals[j] += _mul(s, v)
    return totals


def _to_u16(values: Iterable[int]) -> tuple[int, ...]:
    return tuple(min(v * U16_MAX >> BITS, U16_MAX) for v in values)


def _row_to_u16(row: Row) -> dict[int, int]:
    return {j: value for j, value in zip(row, _to_u16(row.values()), strict=True) if value}
