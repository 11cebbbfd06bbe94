"""What machine a renter wants, in one line, and back: `2xRTX 4090 vram>=24 price<=1.2 region=EU perf>=0.9`. Pure.

    line      = [count "x"] [model] { condition }
    condition = "vram>=" GiB a card | "price<=" USD an hour for all cards | "region=" name | "perf>=" share of the class
              | "rel>=" share of epochs passed | "machine=" key | "count=" cards | "model=" name

Conditions stand in any order, each once; a model's name may have spaces. Everything else is refused by its word.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from deployments.renting.quantities import micro_usd_of, usd
from tasks.errors import SettingError

MAX_TEXT = 500
MAX_CARDS = 64
_COUNT = re.compile(r"(\d{1,3})\s*[x\N{MULTIPLICATION SIGN}]\s*(.*)\Z", re.ASCII | re.IGNORECASE)
_CONDITION = re.compile(r"([A-Za-z]{1,20})(>=|<=|=|>|<)(.*)\Z", re.ASCII)
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._+-]{0,59}\Z", re.ASCII)
_REGION = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,30}\Z", re.ASCII)
_MACHINE = re.compile(r"[A-Za-z0-9][A-Za-z0-9:._/-]{0,199}\Z", re.ASCII)
_NUMBER = re.compile(r"\d{1,6}(\.\d{1,6})?\Z", re.ASCII)
EXPECTED = 'a line like "2xRTX4090 vram>=24 price<=1.2 region=EU perf>=0.9 rel>=0.99 machine=KEY"'


@dataclass(frozen=True, slots=True)
class Spec:
    """What of a wish can be written in a line; what is empty or 0 is all the same to the renter."""

    count: int = 0
    """0: the whole machine."""
    model: str = ""
    min_vram_gib: float = 0.0
    max_micro_usd_per_hour: int = 0
    region: str = ""
    min_performance: float = 0.0
    min_reliability: float = 0.0
    machine: str = ""


def parse(text: str, key: str = "--spec") -> Spec:
    """The spec of a line; SettingError names the word that does not fit."""
    if len(text) > MAX_TEXT:
        raise SettingError(key, text[:60], f"at most {MAX_TEXT} characters")
    words = text.split()
    named = [word for word in words if not _CONDITION.match(word)]
    if named != words[: len(named)]:
        # A model's name can only stand in front: behind a condition a word is likely half of a mistyped one.
        odd = next(
            word
            for i, word in enumerate(words)
            if not _CONDITION.match(word) and i >= _first_condition(words)
        )
        raise SettingError(key, odd[:60], EXPECTED)
    found, seen = _named(" ".join(named), key), set(_set_by_name(named))
    for word in words[len(named) :]:
        name, operator, value = _split(word)
        reader = _READERS.get((name, operator))
        if reader is None or not value:
            raise SettingError(key, word[:60], EXPECTED)
        field = _FIELDS[name]
        if field in seen:
            raise SettingError(key, word[:60], f"{name} once")
        seen.add(field)
        found = replace(found, **{field: reader(key, word, value)})  # type: ignore[arg-type]  # by its own reader
    return found


def text_of(spec: Spec) -> str:
    """A line that `parse` reads back as the same spec."""
    told = [f"{spec.count or ''}{'x' if spec.count else ''}{spec.model}"] if spec.count or spec.model else []
    told += [f"vram>={_plain(spec.min_vram_gib)}"] if spec.min_vram_gib else []
    told += [f"price<={usd(spec.max_micro_usd_per_hour, 1)}"] if spec.max_micro_usd_per_hour else []
    told += [f"region={spec.region}"] if spec.region else []
    told += [f"perf>={_plain(spec.min_performance)}"] if spec.min_performance else []
    told += [f"rel>={_plain(spec.min_reliability)}"] if spec.min_reliability else []
    told += [f"machine={spec.machine}"] if spec.machine else []
    return " ".join(told)


def squashed(model: str) -> str:
    """A model's name without what people write differently: makers, spaces, dashes, case."""
    plain = re.sub(r"[^a-z0-9]", "", model.lower())
    return plain.removeprefix("nvidia").removeprefix("geforce")


def is_model(model: str, wanted: str) -> bool:
    """Whether a model of the market's list is meant by what somebody typed: some whole words of its name in a row.

    `H100` means `H100 80GB HBM3`, and `4090` a `GeForce RTX 4090`; `L4` is no `L40S`.
    """
    words = [word for word in re.split(r"[^A-Za-z0-9]+", model) if word]
    runs = ("".join(words[i:j]) for i in range(len(words)) for j in range(i + 1, len(words) + 1))
    return not squashed(wanted) or any(squashed(run) == squashed(wanted) for run in runs)


def _first_condition(words: list[str]) -> int:
    return next(i for i, word in enumerate(words) if _CONDITION.match(word))


def _named(text: str, key: str) -> Spec:
    """The count and the model in front of all conditions."""
    counted = _COUNT.match(text)
    count, model = (int(counted[1]), counted[2].strip()) if counted else (0, text)
    if counted and not 1 <= count <= MAX_CARDS:
        raise SettingError(key, text[:60], f"1 to {MAX_CARDS} cards")
    if model and not (_MODEL.match(model) and not _COUNT.match(model)):
        raise SettingError(key, text[:60], EXPECTED)
    return Spec(count=count, model=model)


def _set_by_name(named: list[str]) -> list[str]:
    counted = _COUNT.match(" ".join(named))
    has_model = bool(named) and not (counted and not counted[2].strip())
    return [*(["count"] if counted else []), *(["model"] if has_model else [])]


def _split(word: str) -> tuple[str, str, str]:
    found = _CONDITION.match(word)
    assert found is not None
    return found[1].lower(), found[2], found[3]


def _plain(value: float) -> str:
    return f"{value:.6f}".rstrip("0").rstrip(".")


def _number(key: str, word: str, value: str) -> float:
    if not _NUMBER.match(value):
        raise SettingError(key, word[:60], "a number of at most six decimals")
    return float(value)


def _price(key: str, _word: str, value: str) -> int:
    return micro_usd_of(key, value)


def _cards(key: str, word: str, value: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) < 4 and 1 <= int(value) <= MAX_CARDS):
        raise SettingError(key, word[:60], f"1 to {MAX_CARDS} cards")
    return int(value)


def _shaped(pattern: re.Pattern[str]) -> Callable[[str, str, str], str]:
    def read(key: str, word: str, value: str) -> str:
        if not pattern.match(value):
            raise SettingError(key, word[:60], EXPECTED)
        return value

    return read


_FIELDS: Mapping[str, str] = MappingProxyType(
    {
        "vram": "min_vram_gib",
        "price": "max_micro_usd_per_hour",
        "region": "region",
        "perf": "min_performance",
        "rel": "min_reliability",
        "reliability": "min_reliability",
        "machine": "machine",
        "count": "count",
        "model": "model",
    }
)
_READERS: Mapping[tuple[str, str], Callable[[str, str, str], object]] = MappingProxyType(
    {
        ("vram", ">="): _number,
        ("price", "<="): _price,
        ("region", "="): _shaped(_REGION),
        ("perf", ">="): _number,
        ("rel", ">="): _number,
        ("reliability", ">="): _number,
        ("machine", "="): _shaped(_MACHINE),
        ("count", "="): _cards,
        ("model", "="): _shaped(_MODEL),
    }
)
