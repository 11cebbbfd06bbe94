"""Which idle machines `lium-2026` takes: by base model and shape, by price, by disk."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from tasks.lium import Lium2026Policy

OTHER = ""
"""The base model of caps that hold for all others."""
MANY_SHAPES = 1_000
PRICE_PERCENTILE = 0.9


class Programme(NamedTuple):
    """What the idle programme says of each machine."""

    programme: np.ndarray
    """1 where it takes the machine, else 0."""
    is_listed: np.ndarray
    """By base model and shape."""
    most_usd: np.ndarray
    """What a card may cost an hour; infinite where that is not looked at."""
    disk_bytes: np.ndarray
    """What the machine needs free."""
    bucket: np.ndarray
    """A number for base model and shape."""
    caps: np.ndarray


def programme_of(frame: pd.DataFrame, own: Lium2026Policy) -> Programme:
    """A machine's shape is its count of cards, also where a part of it is leased."""
    base = _base_numbers(frame["model"], own)
    shape = np.minimum(frame["card_count"].to_numpy(), MANY_SHAPES - 1)
    caps, is_shape = _caps(base, shape, own)
    is_listed = (base > 0) & is_shape
    most = _most_usd(frame, own)
    needed = own.idle_disk_share * frame["vram_bytes"].to_numpy()
    cards = np.maximum(frame["card_count"].to_numpy(), 1)
    is_cheap = frame["price_usd_per_hour"].to_numpy() / cards <= most
    has_room = (frame["disk_free_bytes"].to_numpy() >= needed) | (own.idle_disk_share == 0.0)
    return Programme(
        programme=(is_listed & is_cheap & has_room).astype("float64"),
        is_listed=is_listed,
        most_usd=most,
        disk_bytes=needed,
        bucket=base * MANY_SHAPES + shape,
        caps=caps,
    )


def _base_numbers(model: pd.Series[str], own: Lium2026Policy) -> np.ndarray:
    """The number of each machine's base model, from 1; 0 for one that the programme does not list."""
    numbers = {name: at for at, (_, names) in enumerate(own.programme, 1) for name in names}
    return model.map(numbers).fillna(0).to_numpy(dtype="int64")


def _caps(base: np.ndarray, shape: np.ndarray, own: Lium2026Policy) -> tuple[np.ndarray, np.ndarray]:
    """The cap of each machine's bucket, and whether its shape has one: a base model's own goes before that of all."""
    caps, is_shape = np.zeros(len(base), "int64"), np.zeros(len(base), "bool")
    names = {name: at for at, (name, _) in enumerate(own.programme, 1)}
    for name, cards, cap in sorted(own.caps, key=lambda row: row[0] != OTHER):
        meant = (shape == cards) & ((base == names[name]) if name in names else name == OTHER)
        caps[meant], is_shape[meant] = cap, True
    return caps, is_shape


def _most_usd(frame: pd.DataFrame, own: Lium2026Policy) -> np.ndarray:
    """So many times the 90th percentile of what passing machines of the model ask for a card."""
    if own.idle_price_most == 0.0:
        return np.full(len(frame), np.inf)
    card_usd = frame["price_usd_per_hour"] / frame["card_count"].clip(lower=1)
    asked = card_usd.where((frame["passed"] > 0) & (card_usd > 0))
    high = asked.groupby(frame["model_number"]).quantile(PRICE_PERCENTILE)
    most = own.idle_price_most * frame["model_number"].map(high).to_numpy(dtype="float64")
    return np.where(np.isnan(most), np.inf, most)
