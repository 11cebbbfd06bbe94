"""The price file: rates and token prices with their own date, for where no source is asked or none ever answered.

as_of = 2026-06-29
[tokens]
tao_usd = 200.0
[rates_usd_per_hour]
"H200" = 2.85
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from types import MappingProxyType

from storage.records import ALPHA_TAO, RATE, TAO_USD, TOKEN, Quote
from tasks.errors import SettingError
from tasks.inspection.models import MODELS

FILE, TABLE = "file", "table"
PLAUSIBLE: Mapping[str, tuple[float, float]] = MappingProxyType(
    {TAO_USD: (1.0, 100_000.0), ALPHA_TAO: (1e-9, 10_000.0), RATE: (0.005, 100.0)}
)
"""Least and most of what a token may cost (USD; TAO for alpha), and a card for an hour (USD): whatever says otherwise errs."""
_KEYS = ("as_of", "tokens", "rates_usd_per_hour")


@dataclass(frozen=True, slots=True)
class PriceBook:
    """What the file says."""

    as_of: datetime
    tokens: Mapping[str, float]
    """USD for one TAO, TAO for one alpha."""
    rates_usd_per_hour: Mapping[str, float]
    """By the model's name in our table."""

    def quotes(self) -> tuple[Quote, ...]:
        """A quote for both tokens and for every model of our table; a model that the file leaves out has the table's."""
        tokens = [Quote(TOKEN, name, value, FILE, self.as_of) for name, value in self.tokens.items()]
        return (*tokens, *(self._rate(model.name, model.base_price_usd_per_hour) for model in MODELS))

    def anchors(self) -> dict[str, float]:
        """The rate of every model of our table."""
        return {quote.name: quote.value for quote in self.quotes() if quote.kind == RATE}

    def _rate(self, name: str, of_table: float) -> Quote:
        own = self.rates_usd_per_hour.get(name)
        return Quote(RATE, name, of_table if own is None else own, TABLE if own is None else FILE, self.as_of)


def is_plausible(kind: str, name: str, value: float) -> bool:
    """Whether such a number can be true at all."""
    least, most = PLAUSIBLE[RATE if kind == RATE else name]
    return least <= value <= most


def book_of(text: str, file: str) -> PriceBook:
    """The book in a TOML text; SettingError names the key of what does not fit."""
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise SettingError("price file", file, f"TOML ({error})") from None
    for key in document:
        if key not in _KEYS:
            raise SettingError(f"price file {file}: {key}", "here", "one of " + ", ".join(_KEYS))
    as_of, tokens = _moment(document.get("as_of"), file), _numbers(document, "tokens", file)
    rates = _numbers(document, "rates_usd_per_hour", file)
    missing = [name for name in (TAO_USD, ALPHA_TAO) if name not in tokens]
    if missing:
        raise SettingError(f"price file {file}: tokens.{missing[0]}", "missing", "a price")
    _check_names(tokens, (TAO_USD, ALPHA_TAO), f"price file {file}: tokens")
    _check_names(rates, [model.name for model in MODELS], f"price file {file}: rates_usd_per_hour")
    return PriceBook(as_of, MappingProxyType(tokens), MappingProxyType(rates))


def _moment(value: object, file: str) -> datetime:
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    if isinstance(value, date):
        return datetime.combine(value, time(), UTC)
    raise SettingError(f"price file {file}: as_of", str(value), "a date such as 2026-06-29")


def _numbers(document: Mapping[str, object], section: str, file: str) -> dict[str, float]:
    values = document.get(section, {})
    if not isinstance(values, dict):
        raise SettingError(f"price file {file}: {section}", str(values)[:40], "a table of numbers")
    for name, value in values.items():
        kind = RATE if section != "tokens" else TOKEN
        is_known = kind == RATE or name in PLAUSIBLE
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if is_known and not (is_number and is_plausible(kind, name, value)):
            least, most = PLAUSIBLE[RATE if kind == RATE else name]
            key = f"price file {file}: {section}.{name}"
            raise SettingError(key, str(value)[:40], f"a number from {least:g} to {most:g}")
    return {name: float(value) for name, value in values.items() if isinstance(value, int | float)}


def _check_names(values: Mapping[str, float], known: object, key: str) -> None:
    assert isinstance(known, list | tuple)
    for name in values:
        if name not in known:
            raise SettingError(f"{key}.{name}", "here", "a name of ours: " + ", ".join(known)[:200])
